"""Small writers of facts for tests of the watchtower and the Tavern."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from realm.core import events
from realm.core.clock import FakeClock
from realm.core.store import transaction

NOW = "2026-01-01T00:00:00.000Z"


def add_quest(db: sqlite3.Connection, quest_id: str, state: str = "queued", priority: str = "normal", **more: Any) -> None:
    row = {
        "id": quest_id, "name": f"{quest_id}.jsonl", "file": f"{quest_id}.jsonl", "sha256": "0" * 64, "size": 10,
        "state": state, "priority": priority, "arrived_at": NOW, "changed_at": NOW, **more,
    }  # fmt: skip
    insert(db, "quests", row)


def add_checkpoint(db: sqlite3.Connection, step: int, *, state: str = "present", size: int = 100, **record: Any) -> str:
    name = f"checkpoint-{step}-20260101-0000"
    row = {
        "name": name, "step": step, "state": state, "generation": 1, "weights_sha256": f"{step:064x}",
        "manifest_sha256": "1" * 64, "size": size, "created_at": NOW, "record": json.dumps(record),
    }  # fmt: skip
    insert(db, "checkpoints", row)
    return name


def add_eval(
    db: sqlite3.Connection, step: int, skill: str, level: int, correct: int, n: int, kind: str = "gate", state: str = "done"
) -> None:  # fmt: skip
    finished = db.execute("SELECT coalesce(max(finished), 0) + 1 FROM evals").fetchone()[0]
    row = {
        "id": f"{skill}-{level}-{step}-{kind}", "checkpoint": f"checkpoint-{step}-20260101-0000", "step": step,
        "skill": skill, "level": level, "kind": kind, "state": state, "n": n, "correct": correct, "queued_at": NOW,
        "finished_at": NOW if state == "done" else None, "finished": finished if state == "done" else None,
    }  # fmt: skip
    insert(db, "evals", row)


def add_mastery(db: sqlite3.Connection, skill: str, level: int, step: int) -> None:
    row = {"skill": skill, "level": level, "checkpoint": f"c{step}", "step": step, "at": NOW, "evidence": "{}"}
    insert(db, "masteries", row)


def add_service(db: sqlite3.Connection, name: str, state: str = "up", **more: Any) -> None:
    insert(db, "services", {"name": name, "state": state, "since": NOW, **more})


def insert(db: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    names = ", ".join(row)
    db.execute(f"INSERT INTO {table}({names}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))


def happen(db: sqlite3.Connection, kind: str, clock: FakeClock | None = None, **more: Any) -> int:
    with transaction(db):
        return events.append(db, kind, clock=clock or FakeClock(), **more)


def add_steps(telemetry: sqlite3.Connection, losses: list[tuple[int, float]], at: str = NOW) -> None:
    telemetry.executemany(
        "INSERT INTO steps(step, at, loss, lr, grad_norm, trained_tokens, tokens, seconds, quest) "
        "VALUES (?,?,?,0.001,1.0,10,20,0.1,'q')",
        [(step, at, loss) for step, loss in losses],
    )
