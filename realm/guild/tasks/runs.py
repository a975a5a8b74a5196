"""The record of task runs: one row each, from which cooldowns are derived, and one event when a run ends."""

from __future__ import annotations

import sqlite3
from typing import Any

from realm.core import events
from realm.core.clock import SYSTEM, Clock, parse_stamp, stamp
from realm.core.ids import new_ulid
from realm.core.store import transaction
from realm.guild.tasks.choice import LastRun


def begin(connection: sqlite3.Connection, task: str, asked_by: str, clock: Clock = SYSTEM) -> str:
    """Record that a task starts and return the id of the run."""
    run = new_ulid()
    with transaction(connection):
        connection.execute(
            "INSERT INTO task_runs(id, task, state, asked_by, started_at) VALUES (?,?,'running',?,?)",
            (run, task, asked_by, stamp(clock.now())),
        )
    return run


def end(
    connection: sqlite3.Connection, run: str, state: str, seconds: float, summary: str, clock: Clock = SYSTEM
) -> None:
    """Record how a run ended, with its event; `state` is `done` or `failed`."""
    with transaction(connection):
        row = connection.execute("SELECT task FROM task_runs WHERE id = ?", (run,)).fetchone()
        connection.execute(
            "UPDATE task_runs SET state = ?, ended_at = ?, seconds = ?, summary = ? WHERE id = ?",
            (state, stamp(clock.now()), round(seconds, 3), summary, run),
        )
        data = {"name": row["task"], "run": run, "state": state, "seconds": round(seconds, 3), "summary": summary}
        events.append(connection, "task.finished", subject=row["task"], data=data, clock=clock)


def end_left(connection: sqlite3.Connection, clock: Clock = SYSTEM) -> int:
    """Mark runs that a process left unfinished as interrupted; only the holder of the task lock may call it."""
    with transaction(connection):
        found = connection.execute(
            "UPDATE task_runs SET state = 'interrupted', ended_at = ?, summary = 'its process ended' WHERE state = 'running'",
            (stamp(clock.now()),),
        )
    return found.rowcount


def last_runs(connection: sqlite3.Connection) -> dict[str, LastRun]:
    """Return the newest run of every task that ever ran."""
    rows = connection.execute("SELECT * FROM task_runs WHERE id IN (SELECT max(id) FROM task_runs GROUP BY task)")
    return {row["task"]: _last(row) for row in rows}


def _last(row: sqlite3.Row) -> LastRun:
    ended = parse_stamp(row["ended_at"]) if row["ended_at"] else None
    return LastRun(row["task"], row["state"], parse_stamp(row["started_at"]), ended, row["summary"])


def recent(connection: sqlite3.Connection, limit: int = 50) -> list[dict[str, Any]]:
    """Return the newest runs, newest first."""
    return [dict(row) for row in connection.execute("SELECT * FROM task_runs ORDER BY id DESC LIMIT ?", (limit,))]


def running(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return the newest run when it has not ended."""
    rows = connection.execute("SELECT * FROM task_runs WHERE state = 'running' ORDER BY id DESC LIMIT 1")
    return [dict(row) for row in rows]
