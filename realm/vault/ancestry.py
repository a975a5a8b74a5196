"""The ancestry of weights: the line of parents of a checkpoint, dropped ones included, and the quests on it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from realm.core.errors import Corrupt
from realm.core.paths import Paths
from realm.vault import ledger
from realm.vault.ledger import Record


@dataclass(frozen=True)
class Ingredient:
    """What weights contain of one quest: `trained` rows of `rows`, in the checkpoints `first` to `last`."""

    quest: str
    name: str
    sha256: str
    generator: str | None
    skill: str | None
    level: int | None
    rows: int
    trained: int
    first: int
    last: int
    complete: bool


def find_checkpoint(connection: sqlite3.Connection, asked: str) -> str:
    """Return the name of a checkpoint given by name or by step; a step names the present one, else the newest dropped.

    Raises Unknown or BadInput.
    """
    if not asked.isdigit():
        ledger.extract_step(asked)
        return ledger.indexed(connection, asked).canonical_name
    row = connection.execute(
        "SELECT name FROM checkpoints WHERE step = ? ORDER BY state = 'present' DESC, created_at DESC LIMIT 1", (int(asked),)
    ).fetchone()
    return str(row["name"]) if row else ledger.Ledger(connection).get(int(asked)).canonical_name


def line_of(paths: Paths, connection: sqlite3.Connection, name: str) -> list[Record]:
    """Return a checkpoint and its parents, oldest first, from the index and from the sidecars that dropped ones left.

    Raises Unknown for the checkpoint itself, Corrupt when a parent left no record: then nobody can say what it contained.
    """
    line = [ledger.indexed(connection, name)]
    left = {record.canonical_name: record for record in ledger.dropped_records(paths)}
    seen = {name}
    while parent := line[-1].parent:
        if parent in seen:
            raise Corrupt(f"{parent} is its own ancestor", hint="run realm doctor")
        seen.add(parent)
        line.append(_parent(connection, left, line[-1].canonical_name, parent))
    return line[::-1]


def _parent(connection: sqlite3.Connection, left: Mapping[str, Record], child: str, parent: str) -> Record:
    row = connection.execute("SELECT record FROM checkpoints WHERE name = ?", (parent,)).fetchone()
    if row is not None:
        return Record.model_validate_json(row["record"])
    if parent in left:
        return left[parent]
    raise Corrupt(f"{parent}, the parent of {child}, left no sidecar", hint="its part of the lineage is lost")


def made_of(line: Iterable[Record]) -> list[Ingredient]:
    """Return the quests of a line of records in the order they were trained; parts of one quest are added up. Pure."""
    found: dict[str, Ingredient] = {}
    for record in line:
        for part in record.quests:
            share = (part.to_step - part.from_step) / max(1, part.steps)
            before = found.get(part.quest)
            trained = (before.trained if before else 0) + round(part.rows * share)
            found[part.quest] = Ingredient(
                quest=part.quest, name=part.name, sha256=part.sha256, generator=part.generator, skill=part.skill,
                level=part.level, rows=part.rows, trained=part.rows if part.complete else min(trained, part.rows),
                first=before.first if before else record.step, last=record.step, complete=part.complete,
            )  # fmt: skip
    return list(found.values())
