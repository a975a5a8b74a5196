"""Rows of transfers: asking twice is asking once, states change by the table or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.core.errors import BadInput, Conflict, Unknown
from realm.core.paths import Paths
from realm.core.store import open_facts
from realm.vault.zones import transfer_rows as rows
from realm.vault.zones.transfer_rows import MOVES, Order, State


@pytest.fixture
def db(empty_home: Paths) -> Iterator[sqlite3.Connection]:
    with closing(open_facts(empty_home)) as connection:
        yield connection


ORDER = Order(asset="checkpoint_5", direction="pull", peer="box")


def test_asking_twice_is_asking_once(db: sqlite3.Connection) -> None:
    first = rows.ask(db, ORDER, "vault")

    assert rows.ask(db, ORDER, "cli").id == first.id
    assert rows.ask(db, ORDER.model_copy(update={"direction": "push"}), "vault").id != first.id
    assert rows.ask(db, ORDER.model_copy(update={"peer_kind": "stronghold", "peer": "nas"}), "vault").id != first.id
    assert len(rows.newest(db)) == 3


def test_a_failed_one_goes_on_as_the_same(db: sqlite3.Connection) -> None:
    first = rows.begin(db, rows.ask(db, ORDER, "vault").id)
    rows.show(db, first.id, bytes_total=100, bytes_done=40, digest="d" * 64)
    rows.move(db, first.id, "failed", reason="cut")

    again = rows.ask(db, ORDER, "cli")
    assert (again.id, again.state, again.runner, again.bytes_done, again.reason) == (first.id, "queued", "cli", 40, "")
    assert rows.begin(db, again.id).attempts == 2


def test_other_bytes_are_another_transfer(db: sqlite3.Connection) -> None:
    first = rows.ask(db, ORDER.model_copy(update={"digest": "a" * 64}), "vault")
    with pytest.raises(Conflict):
        rows.ask(db, ORDER.model_copy(update={"digest": "b" * 64}), "vault")
    rows.move(db, first.id, "failed", reason="x")
    assert rows.ask(db, ORDER.model_copy(update={"digest": "b" * 64}), "vault").id != first.id


def test_a_done_one_stays_done(db: sqlite3.Connection) -> None:
    first = rows.begin(db, rows.ask(db, ORDER, "vault").id)
    rows.move(db, first.id, "done")
    rows.show(db, first.id, bytes_done=1)

    assert rows.get(db, first.id).bytes_done == 0
    assert rows.ask(db, ORDER, "vault").id != first.id


def test_a_runner_takes_its_own_oldest(db: sqlite3.Connection) -> None:
    assert rows.next_for(db, "vault") is None
    for number, runner in enumerate(("branch", "vault", "vault")):
        rows.ask(db, ORDER.model_copy(update={"asset": f"checkpoint_{number}"}), runner)
    found = rows.next_for(db, "vault")
    assert found is not None
    assert found.asset == "checkpoint_1"
    rows.begin(db, found.id)
    assert rows.take_back(db, "branch") == []
    assert rows.take_back(db, "vault") == [found.id]
    assert rows.get(db, found.id).state == "queued"


STATES = get_args(State)


@given(st.lists(st.sampled_from(STATES), max_size=6))
def test_only_moves_of_the_table(asked: list[State]) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.row_factory = sqlite3.Row
    from realm.core.migrations import FACTS

    for step in FACTS:
        step(connection)
    transfer = rows.ask(connection, ORDER, "x")
    for to in asked:
        before = rows.get(connection, transfer.id).state
        if before in MOVES[to]:
            assert rows.move(connection, transfer.id, to).state == to
        else:
            with pytest.raises(Conflict):
                rows.move(connection, transfer.id, to)
            assert rows.get(connection, transfer.id).state == before
    connection.close()


def test_wrong_words(db: sqlite3.Connection) -> None:
    for asset in ("../x", "nonsense_5", ""):
        with pytest.raises((BadInput, Unknown)):
            rows.ask(db, ORDER.model_copy(update={"asset": asset}), "vault")
    with pytest.raises(BadInput):
        rows.ask(db, ORDER.model_copy(update={"peer": "a/b"}), "vault")
    with pytest.raises(Unknown):
        rows.get(db, "nope")
    with pytest.raises(BadInput):
        rows.get(db, "../x")
