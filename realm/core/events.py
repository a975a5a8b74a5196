"""The append-only log of what happened; every append shares the transaction of the change it reports."""

from __future__ import annotations

import json
import sqlite3
from typing import Any, TypedDict

from realm.core.clock import SYSTEM, Clock, stamp
from realm.core.errors import unknown_name


class Event(TypedDict):
    """One row of the log; `seq` orders it, `at` is for display."""

    seq: int
    at: str
    kind: str
    subject: str
    step: int | None
    data: dict[str, Any]


EVENT_KINDS: dict[str, str] = {
    "queue.added": "a quest was accepted on the board",
    "queue.rejected": "an arriving file was refused; data.reason says why",
    "queue.claimed": "the arena took a quest",
    "queue.completed": "every row of a quest is contained in a committed checkpoint",
    "queue.failed": "a quest was set aside after an error; data.reason says why",
    "queue.skipped": "the player ended a quest early; it can be retried from its cursor",
    "queue.deleted": "a quest was moved to the trash",
    "queue.restored": "a deleted or failed quest went back to the board",
    "queue.moved": "a waiting quest changed places with its neighbour of the same priority",
    "queue.priority": "a quest changed priority",
    "queue.low": "fewer quests wait than the data flow wants",
    "queue.empty": "no quest waits",
    "data.generating": "the curriculum asked a skill for rows; data has the decision",
    "data.generated": "the rows became a quest",
    "battle.started": "the arena began a quest",
    "battle.paused": "training holds at a step boundary",
    "battle.resumed": "training goes on",
    "battle.stopped": "training was stopped by the player; the state is saved",
    "battle.failed": "training stopped by an error; data.reason says why",
    "battle.best_loss": "the smoothed loss is the lowest of this quest",
    "battle.loss_spike": "a loss far above the recent ones",
    "checkpoint.saved": "a checkpoint was committed",
    "checkpoint.evaluated": "one eval of a checkpoint finished",
    "checkpoint.dropped": "retention or the player removed a checkpoint; its sidecar is kept",
    "checkpoint.restored": "a deleted checkpoint was brought back from the trash",
    "checkpoint.pinned": "the player pinned or unpinned a checkpoint; data.pinned says which",
    "hero.created": "a base hero was made or registered",
    "hero.level_up": "1,000 more optimiser steps",
    "hero.champion": "a checkpoint became the best by the champion metric",
    "skill.mastered": "a level passed the gate; data has the evidence",
    "skill.set_aside": "a skill's server stays away or sends what is wrong; the curriculum goes on without it",
    "skill.returned": "a skill that was set aside sends right problems again and takes part",
    "skill.rusty": "a mastered level failed its retention probe",
    "school.started": "a school began with the newest checkpoint; data has its exams",
    "school.finished": "a school ended: data has the exams before and after, or the reason why nothing was saved",
    "sparring.finished": "a sparring session wrote its quest",
    "task.finished": "a task of the task master ended",
    "asset.registered": "the vault learned of an asset",
    "asset.copied": "a verified copy of an asset exists in another place",
    "asset.dropped": "a copy of an asset was removed, is gone, or was quarantined; data.state and data.reason say which",
    "asset.healed": "a damaged copy got its bytes back from a verified one; data has the files and the sources",
    "service.up": "a service answered for the first time since its start",
    "service.down": "a service ended or stopped answering",
    "service.mended": "the weaver restarted a service and it answers",
    "service.fallen": "a service keeps dying; the weaver gave up until asked",
    "settings.changed": "config.json or the schedule changed",
    "patrol.failed": "a health check failed",
    "transfer.started": "an asset sets out to or from a zone or stronghold",
    "transfer.progress": "a quarter more of a transfer's bytes is verified there; data.done of data.total",
    "transfer.done": "a transfer ended with every byte verified",
    "transfer.failed": "a transfer ended early; data.reason says why, asked for again it goes on",
    "transfer.cancelled": "the player ended a transfer; asked for again it goes on",
    "backup.made": "a backup was made and proved by a restore into a scratch folder",
    "backup.restored": "parts of a backup were put back; the state before is a backup itself",
    "backup.dropped": "an old backup was let go",
    "chronicle.entry": "a checkpoint was given a name in the chronicle",
    "chronicle.restored": "the hero goes on from a version of the chronicle",
    "hero.exported": "the hero was written in another format; data has the proof",
    "store.set_aside": "the telemetry database was damaged: it was set aside and begins anew",
    "achievement.unlocked": "an achievement was earned; data has the evidence",
}


def append(
    connection: sqlite3.Connection,
    kind: str,
    *,
    subject: str = "",
    step: int | None = None,
    data: dict[str, Any] | None = None,
    clock: Clock = SYSTEM,
) -> int:
    """Append an event inside the caller's transaction and return its seq; raises Unknown for an unknown kind."""
    if kind not in EVENT_KINDS:
        raise unknown_name("event kind", kind, list(EVENT_KINDS))
    cursor = connection.execute(
        "INSERT INTO events(at, kind, subject, step, data) VALUES (?,?,?,?,?)",
        (stamp(clock.now()), kind, subject, step, json.dumps(data or {}, ensure_ascii=False)),
    )
    return int(cursor.lastrowid or 0)


def _event(row: sqlite3.Row) -> Event:
    return Event(
        seq=row["seq"], at=row["at"], kind=row["kind"], subject=row["subject"], step=row["step"],
        data=json.loads(row["data"]),
    )


def since(connection: sqlite3.Connection, seq: int, limit: int = 500) -> list[Event]:
    """Return up to `limit` events after `seq`, oldest first."""
    rows = connection.execute("SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit))
    return [_event(row) for row in rows]


def latest(
    connection: sqlite3.Connection, limit: int, kind: str | None = None, *, but: tuple[str, str] | None = None
) -> list[Event]:
    """Return the newest events, newest first, optionally of one kind; `but` leaves out (kind, subject) by GLOB."""
    where, args = ("kind = ?", [kind]) if kind else ("1", [])
    if but is not None:
        where, args = f"{where} AND NOT (kind GLOB ? AND subject GLOB ?)", [*args, *but]
    rows = connection.execute(f"SELECT * FROM events WHERE {where} ORDER BY seq DESC LIMIT ?", [*args, limit])
    return [_event(row) for row in rows]


def cursor(connection: sqlite3.Connection) -> int:
    """Return the seq of the newest event, 0 when there is none."""
    return int(connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0])
