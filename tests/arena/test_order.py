"""The player's order of the waiting quests is the order in which they are claimed."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.arena.quests import order
from realm.arena.quests.board_view import list_quests
from realm.core.errors import Conflict, Unknown
from realm.core.paths import Paths
from realm.core.store import open_facts

AT = "2026-01-01T00:00:00.000Z"
LETTERS = "abcdefgh"


def fill(connection: sqlite3.Connection, priorities: str = "nnnnnnnn") -> None:
    names = {"n": "normal", "h": "high", "l": "low"}
    for letter, priority in zip(LETTERS, priorities, strict=False):
        connection.execute(
            "INSERT INTO quests(id,name,file,sha256,size,state,priority,arrived_at,changed_at)"
            " VALUES (?,?,?,'0',1,'queued',?,?,?)",
            (letter, letter, letter, names[priority], AT, AT),
        )


def listed(paths: Paths, connection: sqlite3.Connection) -> str:
    return "".join(row["id"] for row in list_quests(connection, paths, "queued", 50, None)["rows"])


def test_a_quest_changes_places_with_its_neighbour_of_the_same_priority(empty_home: Paths) -> None:
    with closing(open_facts(empty_home)) as facts:
        fill(facts, "nhnl")
        order.move(facts, "c", "up")
        assert listed(empty_home, facts) == "bcad"
        assert order.next_quest(facts).id == "b"  # type: ignore[union-attr]
        order.move(facts, "c", "down")
        assert listed(empty_home, facts) == "bacd"


def test_the_ends_of_a_priority_the_unknown_and_the_claimed_do_not_move(empty_home: Paths) -> None:
    with closing(open_facts(empty_home)) as facts:
        fill(facts, "nhn")
        for quest, direction in (("a", "up"), ("c", "down"), ("b", "up"), ("b", "down")):
            with pytest.raises(Conflict):
                order.move(facts, quest, direction)
        with pytest.raises(Unknown):
            order.move(facts, "z", "up")
        with pytest.raises(Unknown):
            order.move(facts, "a", "sideways")
        facts.execute("UPDATE quests SET state = 'processing' WHERE id = 'a'")
        with pytest.raises(Conflict):
            order.move(facts, "a", "down")


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(LETTERS[:5]), st.sampled_from(["up", "down"])), max_size=25))
def test_moves_are_those_of_a_list(moves: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = Paths(Path(folder)).ensure()
        with closing(open_facts(paths)) as facts:
            fill(facts, "nnnnn")
            wanted = list(LETTERS[:5])
            for quest, direction in moves:
                at = wanted.index(quest)
                to = at - 1 if direction == "up" else at + 1
                if 0 <= to < len(wanted):
                    order.move(facts, quest, direction)
                    wanted[at], wanted[to] = wanted[to], wanted[at]
            assert listed(paths, facts) == "".join(wanted)
            assert order.next_quest(facts).id == wanted[0]  # type: ignore[union-attr]
