"""status/checkpoint_ledger.json: equal to the ledger, written when something changed, at most once a second, quickly."""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent)]

from vault_kit import add_row, name_of  # noqa: E402

from realm.core import durable  # noqa: E402
from realm.core.clock import FakeClock  # noqa: E402
from realm.core.errors import NoSpace  # noqa: E402
from realm.core.paths import Paths  # noqa: E402
from realm.core.store import open_facts  # noqa: E402
from realm.vault import ledger_index  # noqa: E402
from realm.vault.ledger_index import project  # noqa: E402


@pytest.fixture
def db(empty_home: Paths) -> Iterator[sqlite3.Connection]:
    with closing(open_facts(empty_home)) as connection:
        yield connection


def steps(paths: Paths) -> list[int]:
    return [entry["step"] for entry in json.loads((paths.status / ledger_index.FILE).read_text())["checkpoints"]]


def test_it_follows_the_ledger_at_most_once_a_second(empty_home: Paths, db: sqlite3.Connection) -> None:
    clock = FakeClock()
    assert project(empty_home, db, clock)
    assert steps(empty_home) == []
    add_row(db, 10, train_loss=0.5, val_loss=None, skill_name="bin")
    assert not project(empty_home, db, clock), "too early"
    clock.advance(1)
    assert project(empty_home, db, clock)
    clock.advance(5)
    assert not project(empty_home, db, clock), "nothing changed"
    assert not project(empty_home, db, clock, force=True)
    db.execute("UPDATE checkpoints SET pinned = 1")
    assert project(empty_home, db, clock, force=True), "an order does not wait"
    [entry] = json.loads((empty_home.status / ledger_index.FILE).read_text())["checkpoints"]
    assert entry == {"canonical_name": name_of(10), "step": 10, "train_loss": 0.5, "val_loss": None, "skill_name": "bin",
                     "size": 100, "pinned": True}  # fmt: skip
    (empty_home.status / ledger_index.FILE).unlink()
    assert project(empty_home, db, clock, force=True), "one that was removed comes back"


def test_a_full_disk_undoes_nothing(empty_home: Paths, db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise NoSpace("full")

    with monkeypatch.context() as patch:
        patch.setattr(ledger_index, "write_bytes", full)
        assert not project(empty_home, db, FakeClock())
    assert project(empty_home, db, FakeClock())
    assert durable.read_projection(empty_home.status / ledger_index.FILE)


def test_thousands_of_records_are_cheap(empty_home: Paths, db: sqlite3.Connection) -> None:
    db.execute("BEGIN")
    for step in range(1, 5001):
        add_row(db, step, train_loss=1 / step, training_file="x" * 60)
    db.execute("COMMIT")
    begin = time.perf_counter()
    project(empty_home, db, FakeClock())
    assert time.perf_counter() - begin < 1.0
    assert len(steps(empty_home)) == 5000
