"""A quest: one training file on the board, its states and the moves between them."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from realm.core.errors import Conflict, unknown_name
from realm.core.ids import is_ulid
from realm.core.paths import PRIORITIES, Paths

# state -> states it may change to
MOVES: dict[str, frozenset[str]] = {
    "queued": frozenset({"processing", "deleted", "failed"}),
    "processing": frozenset({"completed", "failed", "skipped", "queued"}),
    "completed": frozenset({"deleted", "processing"}),
    "failed": frozenset({"queued", "deleted"}),
    "rejected": frozenset({"queued", "deleted"}),
    "skipped": frozenset({"queued", "deleted"}),
    "deleted": frozenset({"queued", "failed", "rejected", "skipped", "completed"}),
}
_FOLDER = {"processing": "processing", "completed": "recently_completed", "failed": "failed", "rejected": "failed",
           "skipped": "failed"}  # fmt: skip
MAX_ATTEMPTS = 3
_NAMED = re.compile(r"^(?:train|sparring)_([a-z][a-z0-9]*)_(?:level|L)(\d+)_")


@dataclass(frozen=True)
class Quest:
    """One row of the quests table."""

    id: str
    name: str
    file: str
    sha256: str
    size: int
    state: str
    priority: str
    rows: int
    rows_done: int
    steps: int | None
    tokens: int | None
    skill: str | None
    level: int | None
    kind: str
    generator: str | None
    attempts: int
    reason: str
    arrived_at: str
    changed_at: str
    claim: int | None
    checkpoint: str | None
    state_before: str | None
    arrival: str | None
    place: str | None


def from_row(row: sqlite3.Row) -> Quest:
    return Quest(**{name: row[name] for name in Quest.__dataclass_fields__})


def get_quest(connection: sqlite3.Connection, quest_id: str) -> Quest:
    """Return a quest by its exact id; raises Unknown."""
    row = connection.execute("SELECT * FROM quests WHERE id = ?", (quest_id,)).fetchone()
    if row is None:
        raise unknown_name("quest", quest_id, [])
    return from_row(row)


def folder_of(paths: Paths, state: str, priority: str) -> Path:
    """Return the folder where a quest of that state lies."""
    if state == "deleted":
        return paths.trash
    return paths.queue(priority if state == "queued" else _FOLDER[state])


def quest_path(paths: Paths, quest: Quest) -> Path:
    return folder_of(paths, quest.state, quest.priority) / quest.file


def sidecar_of(path: Path) -> Path:
    """Return the provenance file that travels beside a training file."""
    return path.with_name(path.name + ".meta.json")


def file_name(quest_id: str, label: str) -> str:
    """Return the name of a quest's file: its id (sorts by arrival), then the label a person gave it, made harmless."""
    stem = label.removesuffix(".jsonl")
    harmless = re.sub(r"[^A-Za-z0-9._-]", "_", stem).lstrip(".-")[:100] or "quest"
    return f"{quest_id}.{harmless}.jsonl"


def id_of_file(name: str) -> str | None:
    """Return the quest id in a board file's name, or None for a file that someone put there by hand."""
    head = name.split(".", 1)[0]
    return head if is_ulid(head) and name.endswith(".jsonl") else None


def skill_in_name(name: str) -> tuple[str | None, int | None]:
    """Return skill and level when the name follows `train_{skill}_level{L}_...` or `sparring_{skill}_L{level}_...`."""
    found = _NAMED.match(name)
    return (found[1], int(found[2])) if found else (None, None)


def check_move(quest: Quest, target: str) -> None:
    """Raise Conflict when a quest may not change to `target`."""
    if target not in MOVES[quest.state]:
        raise Conflict(
            f"quest {quest.name} is {quest.state}, it cannot become {target}",
            hint=f"from {quest.state}: {', '.join(sorted(MOVES[quest.state])) or 'nothing'}",
        )


def check_priority(priority: str) -> str:
    if priority not in PRIORITIES:
        raise unknown_name("priority", priority, list(PRIORITIES))
    return priority
