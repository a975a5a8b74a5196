"""What the quest page and the command line show of the board."""

from __future__ import annotations

import sqlite3
from typing import Any

from realm.arena.quests.order import FIGHTING_ORDER
from realm.arena.quests.quest import Quest, from_row
from realm.core.durable import read_projection
from realm.core.paths import PRIORITIES, Paths

SHELVES: dict[str, tuple[str, ...]] = {
    "queued": ("queued",),
    "processing": ("processing",),
    "completed": ("completed",),
    "failed": ("failed", "rejected", "skipped"),
    "deleted": ("deleted",),
}
SHOWN = ("id", "name", "state", "priority", "skill", "level", "rows", "rows_done", "tokens", "size", "arrived_at",
         "changed_at", "attempts", "reason", "kind", "generator", "steps", "checkpoint", "sha256")  # fmt: skip


def quest_view(quest: Quest, rows_per_s: float | None) -> dict[str, Any]:
    """Return a quest for display; `eta_s` counts its own rows at the given speed, null with a reason without one."""
    view: dict[str, Any] = {name: getattr(quest, name) for name in SHOWN}
    left = quest.rows - quest.rows_done
    view["eta_s"] = left / rows_per_s if rows_per_s and quest.state in ("queued", "processing") else None
    if view["eta_s"] is None:
        view["eta_s_reason"] = "no speed was measured yet" if quest.state == "queued" else "it does not wait"
    return view


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many quests lie on every shelf, and how many wait with each priority."""
    by_state = {r["state"]: r["n"] for r in connection.execute("SELECT state, count(*) AS n FROM quests GROUP BY state")}
    found = {shelf: sum(by_state.get(state, 0) for state in states) for shelf, states in SHELVES.items()}
    waiting = connection.execute("SELECT priority, count(*) AS n FROM quests WHERE state = 'queued' GROUP BY priority")
    return {**found, **dict.fromkeys(PRIORITIES, 0), **{r["priority"]: r["n"] for r in waiting}}


def _speed(paths: Paths) -> float | None:
    status = read_projection(paths.status / "training_status.json") or {}
    found = status.get("rows_per_s")
    return float(found) if found else None


def list_quests(
    connection: sqlite3.Connection, paths: Paths, shelf: str, limit: int, before: str | None
) -> dict[str, Any]:
    """Return one page of a shelf: waiting quests in fighting order, ended ones newest first.

    `before` is the `next` of the page before; paging is by key, never by offset.
    """
    states = SHELVES[shelf]
    marks = ",".join("?" * len(states))
    if shelf in ("queued", "processing"):
        key = FIGHTING_ORDER if shelf == "queued" else "printf('%012d', coalesce(claim, 0)) || id"
        compare, direction = ">", "ASC"
    else:
        key, compare, direction = "changed_at || id", "<", "DESC"
    after = f"AND {key} {compare} ?" if before else ""
    rows = connection.execute(
        f"SELECT *, {key} AS page_key FROM quests WHERE state IN ({marks}) {after} ORDER BY {key} {direction} LIMIT ?",
        (*states, *((before,) if before else ()), limit + 1),
    ).fetchall()
    speed = _speed(paths)
    return {
        "rows": [quest_view(from_row(row), speed) for row in rows[:limit]],
        "next": rows[limit - 1]["page_key"] if len(rows) > limit else None,
        "counts": counts(connection),
    }
