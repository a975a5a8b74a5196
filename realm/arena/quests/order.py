"""The order in which waiting quests are fought: priority, then the place the player gave, else age."""

from __future__ import annotations

import sqlite3

from realm.arena.quests.quest import Quest, from_row, get_quest
from realm.core import events
from realm.core.clock import SYSTEM, Clock
from realm.core.errors import Conflict, unknown_name
from realm.core.paths import PRIORITIES
from realm.core.store import transaction

_RANKS = " ".join(f"WHEN '{name}' THEN {place}" for place, name in enumerate(PRIORITIES))
# Ids rise with age and are unique, so places that are only ever exchanged stay unique and new arrivals come last.
PLACE = "coalesce(place, id)"
FIGHTING_ORDER = f"(CASE priority {_RANKS} END) || {PLACE}"
_NEIGHBOUR = {"up": ("<", "DESC"), "down": (">", "ASC")}


def next_quest(connection: sqlite3.Connection) -> Quest | None:
    """Return the quest that would be claimed next."""
    row = connection.execute(f"SELECT * FROM quests WHERE state = 'queued' ORDER BY {FIGHTING_ORDER} LIMIT 1").fetchone()
    return from_row(row) if row else None


def move(connection: sqlite3.Connection, quest_id: str, direction: str, clock: Clock = SYSTEM) -> Quest:
    """Exchange the places of a waiting quest and its neighbour of the same priority.

    Raises Conflict when it does not wait, or is the first or last of its priority already.
    """
    if direction not in _NEIGHBOUR:
        raise unknown_name("direction", direction, list(_NEIGHBOUR))
    compare, order = _NEIGHBOUR[direction]
    with transaction(connection):
        quest = get_quest(connection, quest_id)
        if quest.state != "queued":
            raise Conflict(f"quest {quest.name} is {quest.state}, only waiting quests have a place")
        mine = quest.place or quest.id
        other = connection.execute(
            f"SELECT id, {PLACE} AS at FROM quests WHERE state = 'queued' AND priority = ? AND {PLACE} {compare} ?"
            f" ORDER BY {PLACE} {order} LIMIT 1", (quest.priority, mine),
        ).fetchone()  # fmt: skip
        if other is None:
            end = "first" if direction == "up" else "last"
            raise Conflict(f"quest {quest.name} is the {end} of priority {quest.priority}", hint="change its priority")
        connection.execute("UPDATE quests SET place = ? WHERE id = ?", (other["at"], quest_id))
        connection.execute("UPDATE quests SET place = ? WHERE id = ?", (mine, other["id"]))
        events.append(connection, "queue.moved", subject=quest_id, data={"name": quest.name, "direction": direction}, clock=clock)
    return get_quest(connection, quest_id)
