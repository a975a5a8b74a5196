"""The quest board: where a quest is, is the folder it lies in; a claim is a rename, and every move is one event.

The file moves first, the row follows in the same call; after a crash between the two `reconcile` lets the folder win.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realm.arena import validation
from realm.arena.quest import (
    MAX_ATTEMPTS,
    Quest,
    check_move,
    check_priority,
    file_name,
    folder_of,
    from_row,
    get_quest,
    quest_path,
    sidecar_of,
    skill_in_name,
)
from realm.arena.yardstick import Yardstick, yardstick_of
from realm.core import durable, events
from realm.core.clock import SYSTEM, Clock, stamp
from realm.core.errors import Conflict
from realm.core.ids import new_ulid
from realm.core.paths import PRIORITIES, Paths
from realm.core.store import transaction


@dataclass(frozen=True)
class Provenance:
    """Where rows come from; becomes the sidecar beside the file."""

    generator_id: str | None = None
    generator_version: str | None = None
    generated_at: str | None = None
    params: dict[str, Any] | None = None
    source: str = "inbox"
    kind: str = "dropped"
    skill: str | None = None
    level: int | None = None


def sidecar(name: str, origin: Provenance, found: validation.Survey, now: str, extra: dict[str, Any]) -> dict[str, Any]:
    """Return the sidecar of an accepted file, in the field names of the format."""
    return {
        "name": name,
        "generator_id": origin.generator_id,
        "generator_version": origin.generator_version,
        "generated_at": origin.generated_at,
        "example_count": found.rows,
        "params": origin.params or {},
        "validated_at": now,
        "validator_versions": {validation.VALIDATOR_NAME: validation.VALIDATOR_VERSION},
        "validation_passed": True,
        "validation_errors": [],
        "validation_warnings": [],
        "source": origin.source,
        "extra": {"kind": origin.kind, "sha256": found.sha256, "tokens": found.tokens, "longest_row": found.longest, **extra},
    }


def submit_rows(
    paths: Paths,
    connection: sqlite3.Connection,
    rows: Sequence[dict[str, Any]],
    *,
    name: str,
    priority: str,
    kind: str,
    skill: str,
    level: int,
    generator_id: str,
    generator_version: str,
    params: dict[str, Any],
    yardstick: Yardstick | None = None,
    clock: Clock = SYSTEM,
) -> str:
    """Validate rows made in memory, store them as a quest and return its id; raises RowError naming a bad row."""
    by = yardstick or yardstick_of(paths)
    lines = [(json.dumps(row, ensure_ascii=False) + "\n").encode() for row in rows]
    found, checked = validation.survey(lines, by.measure, by.max_length)
    origin = Provenance(generator_id, generator_version, stamp(clock.now()), params, "data flow", kind, skill, level)
    spool = paths.home / "queue" / f".{new_ulid()}.tmp"
    durable.write_bytes(spool, b"".join(checked))
    return place(paths, connection, spool, found, name=name, priority=priority, origin=origin, clock=clock)


def place(
    paths: Paths,
    connection: sqlite3.Connection,
    spool: Path,
    found: validation.Survey,
    *,
    name: str,
    priority: str,
    origin: Provenance,
    arrival: str | None = None,
    clock: Clock = SYSTEM,
) -> str:
    """Move a validated spool file onto the board and record it; returns the quest id."""
    check_priority(priority)
    quest_id, now = new_ulid(), stamp(clock.now())
    target = paths.queue(priority) / file_name(quest_id, name)
    named = skill_in_name(name)
    only = next(iter(found.skills)) if len(found.skills) == 1 else named
    skill, level = origin.skill or only[0], origin.level if origin.level is not None else only[1]
    extra = {"skill": skill, "level": level, "priority": priority}
    durable.write_json(sidecar_of(target), sidecar(name, origin, found, now, extra))
    durable.move(spool, target)
    with transaction(connection):
        connection.execute(
            "INSERT INTO quests(id, name, file, sha256, size, state, priority, rows, tokens, skill, level, kind, generator,"
            " arrived_at, changed_at, arrival) VALUES (?,?,?,?,?,'queued',?,?,?,?,?,?,?,?,?,?)",
            (quest_id, name, target.name, found.sha256, found.size, priority, found.rows, found.tokens, skill, level,
             origin.kind, origin.generator_id, now, now, arrival),
        )  # fmt: skip
        data = {"name": name, "rows": found.rows, "tokens": found.tokens, "priority": priority, "skill": skill}
        events.append(connection, "queue.added", subject=quest_id, data={**data, "level": level}, clock=clock)
    return quest_id


def _move_files(paths: Paths, quest: Quest, state: str, priority: str) -> None:
    source = quest_path(paths, quest)
    target = folder_of(paths, state, priority) / quest.file
    if source == target:
        return
    if sidecar_of(source).exists():
        durable.rename_noreplace(sidecar_of(source), sidecar_of(target))
    durable.move(source, target)


def change(
    paths: Paths,
    connection: sqlite3.Connection,
    quest: Quest,
    state: str,
    event: str,
    *,
    reason: str = "",
    step: int | None = None,
    data: dict[str, Any] | None = None,
    columns: dict[str, Any] | None = None,
    clock: Clock = SYSTEM,
) -> Quest:
    """Move a quest to another state: files first, then row and event together; raises Conflict for a forbidden move.

    `columns` are further fields of the row that change with it.
    """
    check_move(quest, state)
    _move_files(paths, quest, state, quest.priority)
    fields = {**(columns or {}), "state": state, "reason": reason, "changed_at": stamp(clock.now())}
    assignments = ", ".join(f"{name} = ?" for name in fields)
    with transaction(connection):
        updated = connection.execute(
            f"UPDATE quests SET {assignments} WHERE id = ? AND state = ?", (*fields.values(), quest.id, quest.state)
        )
        if updated.rowcount != 1:
            raise Conflict(f"quest {quest.name} was changed by someone else meanwhile", hint="look again and repeat")
        told = {"name": quest.name, "skill": quest.skill, "level": quest.level, "rows": quest.rows, **(data or {})}
        if reason:
            told["reason"] = reason
        events.append(connection, event, subject=quest.id, step=step, data=told, clock=clock)
    return get_quest(connection, quest.id)


def next_quest(connection: sqlite3.Connection) -> Quest | None:
    """Return the quest that would be claimed next: high, normal, low, the oldest of each first."""
    order = " ".join(f"WHEN '{name}' THEN {place}" for place, name in enumerate(PRIORITIES))
    row = connection.execute(
        f"SELECT * FROM quests WHERE state = 'queued' ORDER BY CASE priority {order} END, id LIMIT 1"
    ).fetchone()
    return from_row(row) if row else None


def claim(paths: Paths, connection: sqlite3.Connection, *, step: int, clock: Clock = SYSTEM) -> Quest | None:
    """Take the next quest by renaming it into processing/; returns None when none waits.

    `claim` numbers rise, so that a restart after a crash takes the same quests in the same order.
    """
    quest = next_quest(connection)
    if quest is None:
        return None
    number = int(connection.execute("SELECT coalesce(max(claim), 0) + 1 FROM quests").fetchone()[0])
    columns = {"claim": number, "attempts": quest.attempts + 1}
    return change(paths, connection, quest, "processing", "queue.claimed", step=step, clock=clock, columns=columns)


def processing(connection: sqlite3.Connection) -> list[Quest]:
    """Return the claimed quests that no committed checkpoint contains wholly, in the order of their claim."""
    rows = connection.execute("SELECT * FROM quests WHERE state = 'processing' ORDER BY claim")
    return [from_row(row) for row in rows]


def set_aside(
    paths: Paths, connection: sqlite3.Connection, quest: Quest, reason: str, *, step: int, clock: Clock = SYSTEM
) -> Quest:
    """After an error: back to the board while attempts are left, then into failed/."""
    if quest.attempts < MAX_ATTEMPTS:
        again = f"attempt {quest.attempts} of {MAX_ATTEMPTS} failed: {reason}"
        return change(paths, connection, quest, "queued", "queue.restored", reason=again, step=step, clock=clock)
    return change(paths, connection, quest, "failed", "queue.failed", reason=reason, step=step, clock=clock)


def set_priority(paths: Paths, connection: sqlite3.Connection, quest_id: str, priority: str) -> Quest:
    """Move a waiting quest to another priority; raises Conflict when it does not wait."""
    quest = get_quest(connection, quest_id)
    check_priority(priority)
    if quest.state != "queued":
        raise Conflict(f"quest {quest.name} is {quest.state}, only waiting quests have a changeable priority")
    if quest.priority == priority:
        return quest
    _move_files(paths, quest, "queued", priority)
    with transaction(connection):
        connection.execute(
            "UPDATE quests SET priority = ?, changed_at = ? WHERE id = ?", (priority, stamp(SYSTEM.now()), quest_id)
        )
        events.append(connection, "queue.priority", subject=quest_id,
                      data={"name": quest.name, "priority": priority, "before": quest.priority})  # fmt: skip
    return get_quest(connection, quest_id)


def delete(paths: Paths, connection: sqlite3.Connection, quest_id: str) -> Quest:
    """Move a quest to the trash; `undelete` brings it back."""
    quest = get_quest(connection, quest_id)
    columns = {"state_before": quest.state}
    return change(paths, connection, quest, "deleted", "queue.deleted", reason=quest.reason, columns=columns)


def undelete(paths: Paths, connection: sqlite3.Connection, quest_id: str) -> Quest:
    """Bring a deleted quest back to where it was; raises Conflict when it is not deleted."""
    quest = get_quest(connection, quest_id)
    if quest.state != "deleted" or quest.state_before is None:
        raise Conflict(f"quest {quest.name} is {quest.state}, not deleted")
    return change(paths, connection, quest, quest.state_before, "queue.restored", reason=quest.reason)


def retry(paths: Paths, connection: sqlite3.Connection, quest_id: str) -> Quest:
    """Put a failed or skipped quest back on the board with fresh attempts; it goes on at its cursor."""
    quest = get_quest(connection, quest_id)
    if quest.state == "rejected":
        raise Conflict(
            f"quest {quest.name} was refused: {quest.reason}", hint="correct the file and drop it again"
        )
    return change(paths, connection, quest, "queued", "queue.restored", columns={"attempts": 0})


def read_rows(paths: Paths, quest: Quest, limit: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield a quest's rows in file order; raises RowError when the file was damaged after it was accepted."""
    number = 0
    with quest_path(paths, quest).open("rb") as handle:
        for line in handle:
            if not line.strip():
                continue
            number += 1
            if limit is not None and number > limit:
                return
            yield validation.parse_row(line, number)
