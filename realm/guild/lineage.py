"""Lineage: who made the quests, who judged them, and how it went; from quest rows and the sidecars beside the files.

A quest counts as refused when its state is `rejected` (before it was deleted, if it was), else as accepted. A refused
upload leaves no quest; it is counted from its event.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from realm.core.errors import Corrupt
from realm.core.paths import BOARD_FOLDERS, Paths

SIDECAR_END = ".jsonl.meta.json"
BY_HAND = "by hand"  # a file without a sidecar that names a generator
NOT_RECORDED = "not recorded"  # a refusal that named no validator
REASONS = 3


@dataclass(frozen=True)
class Provenance:
    """What a quest's sidecar says of its origin and its judges; empty for a quest without one."""

    generator: str | None = None
    generator_version: str | None = None
    validators: Mapping[str, str] = field(default_factory=dict)
    refused_by: str | None = None


@dataclass(frozen=True)
class Judged:
    """One quest as lineage sees it."""

    quest: str
    refused: bool
    rows: int
    reason: str
    at: str
    origin: Provenance


@dataclass
class _Tally:
    accepted: int = 0
    refused: int = 0
    rows: int = 0
    last_at: str = ""
    versions: set[str] = field(default_factory=set)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, one: Judged, *, refused: bool) -> None:
        self.last_at = max(self.last_at, one.at)
        if refused:
            self.refused += 1
            self.reasons[general(one.reason)] += 1
        else:
            self.accepted += 1
            self.rows += 0 if one.refused else one.rows


def general(reason: str) -> str:
    """Return a reason without the number of its row, so that equal faults are counted together."""
    head, colon, rest = reason.partition(": ")
    return rest if colon and head.startswith("row ") and head[4:].isdigit() else reason


def read_provenance(path: Path) -> Provenance:
    """Read a sidecar; raises Corrupt when it is not an object."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"the sidecar {path.name} is not JSON: {error}", hint="run realm doctor") from error
    if not isinstance(found, dict):
        raise Corrupt(f"the sidecar {path.name} is not an object", hint="run realm doctor")
    validators = found.get("validator_versions")
    judge = found.get("validation_rejected")
    return Provenance(
        generator=_text(found.get("generator_id")),
        generator_version=_text(found.get("generator_version")),
        validators={str(k): str(v) for k, v in validators.items()} if isinstance(validators, dict) else {},
        refused_by=_text(judge.get("validator")) if isinstance(judge, dict) else None,
    )


def _text(value: object) -> str | None:
    return str(value) if value else None


class LineageTracker:
    """Reads the board's sidecars once each and tallies quests by generator and by validator."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._known: dict[str, Provenance] = {}

    def provenance(self) -> Mapping[str, Provenance]:
        """Return quest id -> provenance, for every sidecar on the board and in the trash."""
        for folder in (*map(self._paths.queue, BOARD_FOLDERS), self._paths.trash):
            for path in folder.glob(f"*{SIDECAR_END}") if folder.is_dir() else ():
                quest = path.name.split(".", 1)[0]
                if quest not in self._known:
                    try:
                        self._known[quest] = read_provenance(path)
                    except FileNotFoundError:
                        continue  # its quest was moved just now; the next look finds it
        return self._known

    def judged(self, connection: sqlite3.Connection) -> list[Judged]:
        """Return every quest of the store, oldest first, then every refused upload, with what is known of its origin."""
        rows = connection.execute(
            "SELECT id, state, state_before, rows, reason, generator, arrived_at FROM quests ORDER BY id"
        ).fetchall()
        known = self.provenance()
        found = [_judged(row, known.get(row["id"])) for row in rows]
        uploads = connection.execute("SELECT at, data FROM events WHERE kind = 'queue.rejected' AND subject = '' ORDER BY seq")
        return found + [_upload(row) for row in uploads]

    def report(self, connection: sqlite3.Connection) -> dict[str, Any]:
        """Return both tallies and the answers to the two questions a player has."""
        return report(self.judged(connection))


def _judged(row: sqlite3.Row, origin: Provenance | None) -> Judged:
    state = row["state_before"] if row["state"] == "deleted" and row["state_before"] else row["state"]
    found = origin or Provenance(generator=row["generator"])
    return Judged(row["id"], state == "rejected", row["rows"], row["reason"], row["arrived_at"], found)


def _upload(row: sqlite3.Row) -> Judged:
    told = json.loads(row["data"])
    judge, version = told.get("validator"), str(told.get("validator_version"))
    origin = Provenance(validators={judge: version} if judge else {}, refused_by=judge)
    return Judged("", True, 0, str(told.get("reason", "")), row["at"], origin)


def by_generator(quests: Iterable[Judged]) -> list[dict[str, Any]]:
    """Return one row per generator, the most refused first. Pure."""
    tallies: dict[str, _Tally] = {}
    for one in quests:
        tally = tallies.setdefault(one.origin.generator or BY_HAND, _Tally())
        tally.add(one, refused=one.refused)
        if one.origin.generator_version:
            tally.versions.add(one.origin.generator_version)
    return _rows(tallies, "generator")


def by_validator(quests: Iterable[Judged]) -> list[dict[str, Any]]:
    """Return one row per validator, the most refusing first; it refused only what it says it refused. Pure."""
    tallies: dict[str, _Tally] = {}
    for one in quests:
        judge = one.origin.refused_by or (NOT_RECORDED if one.refused else None)
        for name in {*one.origin.validators, *([judge] if judge else [])}:
            tally = tallies.setdefault(name, _Tally())
            tally.add(one, refused=name == judge)
            if version := one.origin.validators.get(name):
                tally.versions.add(version)
    return _rows(tallies, "validator")


def _rows(tallies: Mapping[str, _Tally], key: str) -> list[dict[str, Any]]:
    rows = []
    for name, tally in tallies.items():
        n = tally.accepted + tally.refused
        reasons = [{"reason": text, "count": count} for text, count in tally.reasons.most_common(REASONS)]
        rows.append({
            key: name, "versions": sorted(tally.versions), "accepted": tally.accepted, "refused": tally.refused, "n": n,
            "refused_share": round(tally.refused / n, 4), "rows": tally.rows, "reasons": reasons, "last_at": tally.last_at,
        })  # fmt: skip
    return sorted(rows, key=lambda row: (-row["refused"], -row["refused_share"], row[key]))


def report(quests: Sequence[Judged]) -> dict[str, Any]:
    """Return `{"generators", "validators", "most_rejected_generator", "most_aggressive_validator", ...}`. Pure.

    Most rejected is counted in refused quests, most aggressive is the largest refused share of what was judged.
    """
    generators, validators = by_generator(quests), by_validator(quests)
    refusing = [row for row in validators if row["refused"] and row["validator"] != NOT_RECORDED]
    fierce = max(refusing, key=lambda row: (row["refused_share"], row["refused"]), default=None)
    worst = generators[0] if generators and generators[0]["refused"] else None
    none = "no quest was refused yet" if quests else "no quest has arrived yet"
    return {
        "quests": len(quests),
        "refused": sum(one.refused for one in quests),
        "most_rejected_generator": worst["generator"] if worst else None,
        "most_rejected_generator_reason": _answer(worst, "quests it made") if worst else none,
        "most_aggressive_validator": fierce["validator"] if fierce else None,
        "most_aggressive_validator_reason": _answer(fierce, "quests it judged") if fierce else none,
        "generators": generators,
        "validators": validators,
    }


def _answer(row: Mapping[str, Any], of: str) -> str:
    return f"{row['refused']} of {row['n']} {of} were refused"
