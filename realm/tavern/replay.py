"""Replaying a recording into a home of its own, at any speed: the pages then show it as they show a living realm."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from typing import Any

from realm.core import durable
from realm.core.clock import SYSTEM, Clock, parse_stamp, stamp
from realm.core.errors import BadInput
from realm.core.paths import Paths
from realm.core.store import open_facts, open_telemetry, transaction
from realm.tavern.recorder import columns, tables
from realm.tavern.recording import Frame, Header, shift_stamps
from realm.watchtower.gather import DEMO_MARK

STATUS = "status/training_status.json"
# A process number of another machine's past: the replayer stands for all of them.
_PROCESS = {"pid": os.getpid(), "created": None, "instance": ""}


class Replay:
    """Applies frames to a fresh home; `speed` 2.0 makes a recorded minute last half a minute."""

    def __init__(self, paths: Paths, header: Header, speed: float, clock: Clock = SYSTEM) -> None:
        if not 0.1 <= speed <= 1000:
            raise BadInput(f"speed {speed} is not from 0.1 to 1000")
        self._paths = paths
        self._header = header
        self._speed = speed
        self._clock = clock
        self._start = clock.now()
        self._began: datetime = parse_stamp(header.began)
        self._stores = {"facts": open_facts(paths), "telemetry": open_telemetry(paths)}
        self._known = _insertable(self._stores, header)
        self._beat_path = paths.run / "arena.heartbeat"
        mark = {"recorded_at": header.began, "speed": speed, "started_at": stamp(self._start)}
        durable.write_json(paths.home / DEMO_MARK, mark)

    def run(self, frames: Iterator[Frame], wait: Callable[[float], bool]) -> None:
        """Apply every frame when its time comes, until the last one or until `wait` says to stop."""
        begun = self._clock.monotonic()
        for frame in frames:
            while (left := frame.t / self._speed - (self._clock.monotonic() - begun)) > 0:
                self._beat()
                if wait(min(left, 1.0)):
                    return
            self.apply(frame)
        self._end()

    def apply(self, frame: Frame) -> None:
        """Write one frame: the files first, then the rows of each store in one transaction."""
        for name, text in frame.files.items():
            self._write_file(name, text)
        self._beat()
        for store, connection in self._stores.items():
            with transaction(connection):
                connection.execute("PRAGMA defer_foreign_keys=ON")
                for name in (n for n in self._known if n.startswith(f"{store}.")):
                    self._write_rows(connection, name, frame)

    def _write_rows(self, connection: sqlite3.Connection, name: str, frame: Frame) -> None:
        table = name.partition(".")[2]
        recorded, key = self._known[name]
        for gone in frame.gone.get(name, ()):
            where = " AND ".join(f'"{part}" IS ?' for part in key)
            connection.execute(f'DELETE FROM "{table}" WHERE {where}', gone)
        names = ", ".join(f'"{column}"' for column in recorded)
        marks = ", ".join("?" * len(recorded))
        for row in frame.rows.get(name, ()):
            values = [self._moved(value) for value in row]
            if table == "services":
                values = [_PROCESS.get(column, value) for column, value in zip(recorded, values, strict=True)]
            connection.execute(f'INSERT OR REPLACE INTO "{table}" ({names}) VALUES ({marks})', values)

    def _moved(self, value: Any) -> Any:
        return shift_stamps(value, self._began, self._start, self._speed) if isinstance(value, str) else value

    def _write_file(self, name: str, text: str | None) -> None:
        path = self._paths.home / name
        if text is None:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == STATUS:
            durable.write_json_fast(path, json.loads(self._moved(text)) | {"pid": os.getpid(), "instance": ""})
        else:
            durable.write_bytes(path, self._moved(text).encode(), durable=False)

    def _beat(self) -> None:
        now = self._clock.now()
        beat = {"pid": os.getpid(), "instance": "", "monotonic": self._clock.monotonic(), "at": stamp(now), "progress": ""}
        durable.write_json_fast(self._beat_path, beat)

    def _end(self) -> None:
        """Say on the pages that nothing follows."""
        path = self._paths.home / STATUS
        status = durable.read_projection(path) or {}
        durable.write_json_fast(path, status | {"state": "stopped", "state_reason": "the recording ends here"})
        self._beat()

    def close(self) -> None:
        for connection in self._stores.values():
            connection.close()


def _insertable(stores: dict[str, sqlite3.Connection], header: Header) -> dict[str, tuple[list[str], list[str]]]:
    """Return table -> (recorded columns, key); raises BadInput when this version lacks a table or column of the recording."""
    here = {name: key for store, found in stores.items() for name, key in tables(store, found)}
    known = {}
    for name, recorded in header.columns.items():
        missing = [name] if name not in here else [c for c in recorded if c not in columns(stores, name)]
        if missing:
            raise BadInput(f"the recording holds {name} with {missing[0]}, which this version does not know",
                           hint="record it anew with this version: realm tavern record")  # fmt: skip
        known[name] = (recorded, here[name])
    return known


def replay_into(paths: Paths, header: Header, frames: Iterator[Frame], speed: float, wait: Callable[[float], bool]) -> None:
    """Replay a whole recording into an empty home."""
    with closing(Replay(paths, header, speed)) as replay:
        replay.run(frames, wait)
