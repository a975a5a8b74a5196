"""The weaver's rows in the facts database: one row per service, events in the same transaction as the change."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import replace

from realm.core import events
from realm.core.clock import SYSTEM, Clock, stamp
from realm.core.errors import RealmError
from realm.core.logs import get_logger
from realm.core.paths import Paths
from realm.core.store import open_facts, transaction
from realm.weaver.states import Life, State, Tell

log = get_logger("weaver.record")
Row = tuple[str, int | None, float | None, str, int | None, int, int, str]
SAY_AGAIN_S = 60.0
_UPSERT = """INSERT INTO services(name, state, pid, created, instance, port, restarts, fails, reason, since)
    VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT(name) DO UPDATE SET state=excluded.state, pid=excluded.pid,
    created=excluded.created, instance=excluded.instance, port=excluded.port, restarts=excluded.restarts,
    fails=excluded.fails, reason=excluded.reason,
    since=CASE WHEN state=excluded.state AND instance=excluded.instance THEN since ELSE excluded.since END"""


class Record:
    """Writes what changed. When the disk is full or the database busy it keeps the rest and tries again later."""

    def __init__(self, paths: Paths, ports: Mapping[str, int | None], clock: Clock = SYSTEM) -> None:
        self._connection = open_facts(paths)
        self._ports = dict(ports)
        self._clock = clock
        self._rows: dict[str, Row] = {}
        self._unwritten: set[str] = set()
        self._untold: list[Tell] = []
        self._complained = -SAY_AGAIN_S

    def add(self, name: str, port: int | None) -> None:
        """Take in one more service."""
        self._ports[name] = port

    def earlier(self) -> dict[str, sqlite3.Row]:
        """Return the rows an earlier weaver left."""
        return {row["name"]: row for row in self._connection.execute("SELECT * FROM services")}

    def forget_others(self, names: set[str]) -> None:
        """Remove rows of services that this host no longer runs."""
        gone = set(self.earlier()) - names
        with transaction(self._connection):
            for name in gone:
                self._connection.execute("DELETE FROM services WHERE name = ?", (name,))

    def write(self, lives: Iterable[Life], told: Iterable[Tell] = ()) -> None:
        """Write the rows that changed and the events that go with them, in one transaction."""
        for life in lives:
            row = self._row(life)
            if self._rows.get(life.name) != row:
                self._rows[life.name] = row
                self._unwritten.add(life.name)
        self._untold += told
        if self._unwritten or self._untold:
            self._flush()

    def announce(self, life: Life, instance: str) -> None:
        """Write the instance id of a start before its process exists."""
        self.write([replace(life, instance=instance)])

    def _flush(self) -> None:
        try:
            with transaction(self._connection):
                now = stamp(self._clock.now())
                for name in self._unwritten:
                    self._connection.execute(_UPSERT, (name, *self._rows[name], now))
                for tell in self._untold:
                    self._append(tell)
        except (sqlite3.Error, RealmError) as error:
            # The services matter more than their rows; what was not written is written later.
            self._complain(error)
            return
        self._unwritten.clear()
        self._untold.clear()

    def _append(self, tell: Tell) -> None:
        _, pid, _, _, port, restarts, _, _ = self._rows[tell.name]
        data = {"reason": tell.reason, "pid": pid, "port": port, "restarts": restarts}
        events.append(self._connection, tell.kind, subject=tell.name, data=data, clock=self._clock)

    def _complain(self, error: Exception) -> None:
        now = self._clock.monotonic()
        if now - self._complained >= SAY_AGAIN_S:
            self._complained = now
            log.warning("the state of the services cannot be written, it is tried again: %s", error)

    def _row(self, life: Life) -> Row:
        port = self._ports.get(life.name)
        return (
            life.state.value, life.pid, life.created, life.instance, port, life.restarts, life.fails, life.reason
        )

    def close(self) -> None:
        self._connection.close()


def restore(life: Life, row: sqlite3.Row | None, now: float) -> Life:
    """Return a life that goes on where an earlier weaver was cut off; after an orderly end it starts afresh.

    A service that had fallen gets a new chance: starting the weaver again is a person's decision.
    """
    if row is None or row["state"] in (State.STOPPED, State.STOPPING):
        return life
    told_down = row["state"] in (State.BACKOFF, State.FALLEN)
    kept = replace(life, restarts=row["restarts"], told_down=told_down, reason=row["reason"])
    if row["state"] == State.FALLEN or not row["fails"]:
        return kept
    fails = min(row["fails"], life.rules.failed_starts - 1)
    kept = replace(kept, fails=row["fails"], failed_at=(now,) * fails)
    return replace(kept, state=State.BACKOFF) if row["state"] == State.BACKOFF else kept
