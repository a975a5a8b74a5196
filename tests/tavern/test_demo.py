from __future__ import annotations

import asyncio
import gzip
import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import realm_facts as write
from tavern_scene import CARDS, MakeApp, client_of

from realm.core import events
from realm.core.clock import FakeClock, stamp
from realm.core.errors import BadInput
from realm.core.paths import Paths
from realm.core.store import read_facts, transaction
from realm.tavern.demo import demo_home, refuse_changes, replaying
from realm.tavern.recorder import record
from realm.tavern.recording import Frame, Header, may_hold, read_recording, shift_stamps, write_recording
from realm.tavern.replay import Replay
from realm.watchtower import Watchtower

TABLES = ("quests", "events", "services", "checkpoints", "evals")


def table(paths: Paths, name: str) -> list[dict[str, Any]]:
    connection = read_facts(paths)
    try:
        return [dict(row) for row in connection.execute(f"SELECT * FROM {name} ORDER BY 1")]
    finally:
        connection.close()


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    moved = ("at", "since", "pid", "created", "instance")
    return [{k: v for k, v in row.items() if k not in moved and not k.endswith("_at")} for row in rows]


class Life:
    """A realm that goes on while it is recorded: one change a look."""

    def __init__(self, paths: Paths, db: sqlite3.Connection, clock: FakeClock) -> None:
        self._paths, self._db, self._clock, self._changes = paths, db, clock, [self.first, self.second, self.third]

    def wait(self, seconds: float) -> bool:
        self._clock.advance(seconds)
        if not self._changes:
            return True
        self._changes.pop(0)()
        return False

    def first(self) -> None:
        write.add_quest(self._db, "q1", "queued")
        (self._paths.status / "training_status.json").write_text(json.dumps({"state": "training", "pid": 1, "step": 7}))

    def second(self) -> None:
        with transaction(self._db):
            self._db.execute("UPDATE quests SET state = 'completed' WHERE id = 'q1'")
            events.append(self._db, "queue.completed", subject="q1", clock=self._clock)

    def third(self) -> None:
        write.add_quest(self._db, "q2", "queued")
        with transaction(self._db):
            self._db.execute("DELETE FROM quests WHERE id = 'q1'")


@pytest.fixture
def recording(paths: Paths, db: sqlite3.Connection, clock: FakeClock, tmp_path: Path) -> Path:
    paths.config.write_text('{"hero": "dio"}')
    (paths.models / "dio").mkdir()
    (paths.models / "dio" / "hero.json").write_text('{"name": "DIO"}')
    (paths.models / "dio" / "model.safetensors").write_text("weights are never recorded")
    header, frames = record(paths, 60, Life(paths, db, clock).wait, clock)
    write_recording(tmp_path / "run.gz", header, frames)
    return tmp_path / "run.gz"


@pytest.fixture
def stage(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "stage").ensure()


def replay(recording: Path, stage: Paths, clock: FakeClock, speed: float = 1.0, until: float = 1e9) -> list[float]:
    header, frames = read_recording(recording)
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        clock.advance(seconds)
        return sum(waits) > until

    made = Replay(stage, header, speed, clock)
    try:
        made.run(frames, wait)
    finally:
        made.close()
    return waits


def test_what_is_replayed_is_what_was_recorded(recording: Path, paths: Paths, stage: Paths) -> None:
    replay(recording, stage, FakeClock())
    for name in TABLES:
        assert without_times(table(stage, name)) == without_times(table(paths, name)), name
    assert [row["id"] for row in table(stage, "quests")] == ["q2"]
    assert table(stage, "events")
    assert json.loads((stage.home / "models/dio/hero.json").read_text()) == {"name": "DIO"}
    assert not (stage.home / "models/dio/model.safetensors").exists()


def test_a_moment_in_between_shows_the_realm_of_that_moment(recording: Path, stage: Paths) -> None:
    replay(recording, stage, FakeClock(), until=2.5)
    assert [(row["id"], row["state"]) for row in table(stage, "quests")] == [("q1", "completed")]
    status = json.loads((stage.status / "training_status.json").read_text())
    assert status["step"] == 7
    assert status["state"] == "training"


def test_speed_shortens_the_waiting(recording: Path, stage: Paths) -> None:
    assert sum(replay(recording, stage, FakeClock(), speed=4.0)) == pytest.approx(3 / 4, abs=0.01)


def test_the_end_is_said(recording: Path, stage: Paths) -> None:
    replay(recording, stage, FakeClock())
    assert json.loads((stage.status / "training_status.json").read_text())["state_reason"] == "the recording ends here"


def test_times_move_to_the_replays_clock(recording: Path, stage: Paths) -> None:
    later = FakeClock()
    later.advance(1e6)
    began = later.now()
    replay(recording, stage, later)
    newest = table(stage, "events")[-1]["at"]
    assert began <= datetime.fromisoformat(newest.replace("Z", "+00:00")) <= later.now()


def test_what_came_before_the_recording_keeps_its_age() -> None:
    began, start = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)
    old, new = stamp(began - timedelta(hours=2)), stamp(began + timedelta(seconds=60))
    text = f'{{"saved": "{old}", "now": "{new}"}}'
    moved = json.loads(shift_stamps(text, began, start, 4.0))
    assert moved == {"saved": stamp(start - timedelta(hours=2)), "now": stamp(start + timedelta(seconds=15))}


@pytest.mark.parametrize("name", ["../x.json", "/etc/passwd", "store/realm.db", "models/a/model.safetensors", "status/../x"])
def test_a_recording_writes_no_other_files(name: str, tmp_path: Path) -> None:
    assert not may_hold(name)
    write_recording(tmp_path / "bad.gz", Header("2026-01-01T00:00:00Z", {}), [Frame(0, files={name: "x"})])
    _, frames = read_recording(tmp_path / "bad.gz")
    with pytest.raises(BadInput, match="no recording may hold"):
        list(frames)


@pytest.mark.parametrize("body", [b"", b"plain", *map(gzip.compress, (b"", b"[1]\n", b'{"format": "x"}\n'))])
def test_what_is_no_recording_is_refused(body: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.gz").write_bytes(body)
    with pytest.raises(BadInput):
        read_recording(tmp_path / "bad.gz")


def test_a_recording_of_another_schema_is_refused(stage: Paths) -> None:
    with pytest.raises(BadInput, match=r"facts\.dragons"):
        Replay(stage, Header("2026-01-01T00:00:00Z", {"facts.dragons": ["id"]}), 1.0)


def test_the_snapshot_says_that_it_is_a_demo(recording: Path, stage: Paths, tower: Watchtower) -> None:
    assert tower.snapshot()["demo"] is None
    now = FakeClock()
    replay(recording, stage, now)
    shown = Watchtower(stage, CARDS, clock=now)
    try:
        assert shown.snapshot()["demo"]["speed"] == 1.0
        assert shown.snapshot()["battle"]["state"] == "stopped"
    finally:
        shown.close()


def test_a_demo_changes_nothing(make: MakeApp) -> None:
    app = make()
    refuse_changes(app)

    async def scene() -> tuple[httpx.Response, ...]:
        async with client_of(app) as client:
            refused = await client.post("/oracle/chat", json={"message": "hi", "host": "box", "step": 1})
            foreign = await client.post("/oracle/chat", json={}, headers={"origin": "http://evil.example"})
            return refused, foreign, await client.get("/api/snapshot"), await client.post("/api/ack", json={"cursor": 0})

    refused, foreign, seen, noted = asyncio.run(scene())
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "refused")
    assert "content-security-policy" in refused.headers
    assert foreign.status_code == 403
    assert "demo" not in foreign.text  # the guard stands in front
    assert (seen.status_code, noted.status_code) == (200, 200)


def test_a_demo_leaves_nothing_behind(recording: Path) -> None:
    with demo_home() as home, replaying(home, recording, 1000.0):
        assert json.loads(home.hosts.read_text())["hosts"]["local"]["services"] == {"tavern": {"port": 8888}}
        folder = home.home.parent
    assert not folder.exists()
