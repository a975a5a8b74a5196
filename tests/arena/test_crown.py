"""The champion is the best evaluated checkpoint, and only a strictly better one takes the crown."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from realm.arena.crown import better, by_hand, crown, promote, release, value_of
from realm.core import events
from realm.core.errors import Conflict, Unknown
from realm.core.paths import Paths
from realm.core.store import open_facts, transaction


@pytest.fixture
def facts(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_facts(Paths(tmp_path).ensure())
    yield connection
    connection.close()


def _checkpoint(facts: sqlite3.Connection, step: int, **record: object) -> str:
    name = f"checkpoint-{step}-20260101-0000"
    facts.execute(
        "INSERT INTO checkpoints(name, step, state, generation, weights_sha256, manifest_sha256, size, created_at, record)"
        " VALUES (?,?,'present',1,'w','m',1,'2026-01-01T00:00:00.000Z',?)",
        (name, step, json.dumps(record)),
    )
    return name


def _eval(facts: sqlite3.Connection, name: str, level: int, correct: int, n: int = 20) -> None:
    facts.execute(
        "INSERT INTO evals(id, checkpoint, step, skill, level, kind, state, n, correct, queued_at)"
        " VALUES (?,?,1,'bin',?,'gate','done',?,?,'')",
        (f"{name}-{level}", name, level, n, correct),
    )


def _crown(facts: sqlite3.Connection, name: str, step: int, metric: str = "eval") -> bool:
    with transaction(facts):
        return crown(facts, name, step, metric) is not None


def test_first_evaluated_checkpoint_is_crowned_and_told(facts: sqlite3.Connection) -> None:
    name = _checkpoint(facts, 50)
    assert not _crown(facts, name, 50), "nothing was evaluated yet"

    _eval(facts, name, 1, 4)

    assert _crown(facts, name, 50)
    (event,) = events.latest(facts, 5, "hero.champion")
    assert event["data"]["value"] == pytest.approx(0.2)
    assert event["step"] == 50


def test_equal_does_not_dethrone_and_a_higher_level_counts_more(facts: sqlite3.Connection) -> None:
    first, same, higher = (_checkpoint(facts, step) for step in (50, 100, 150))
    _eval(facts, first, 1, 20)
    _eval(facts, same, 1, 20)
    _eval(facts, higher, 2, 1)

    assert _crown(facts, first, 50)
    assert not _crown(facts, same, 100)
    assert _crown(facts, higher, 150)
    assert not _crown(facts, higher, 150), "the champion does not dethrone itself"


def test_loss_metrics_want_the_smaller_value(facts: sqlite3.Connection) -> None:
    losses = {1: 0.5, 2: 0.6, 3: 0.4}
    first, worse, lower = (_checkpoint(facts, step, val_loss=loss) for step, loss in losses.items())

    assert _crown(facts, first, 1, "val_loss")
    assert not _crown(facts, worse, 2, "val_loss")
    assert _crown(facts, lower, 3, "val_loss")
    assert not better(0.4, 0.4, "val_loss")


def test_unknown_metric_is_an_error(facts: sqlite3.Connection) -> None:
    with pytest.raises(Unknown, match="champion metric"):
        value_of(facts, "x", "beauty")


def test_a_crown_given_by_hand_stays_until_it_is_given_back(facts: sqlite3.Connection) -> None:
    worse, best = _checkpoint(facts, 50), _checkpoint(facts, 100)
    _eval(facts, worse, 1, 10)
    _eval(facts, best, 2, 10)
    assert _crown(facts, best, 100)
    assert promote(facts, worse, "eval").checkpoint == worse
    assert by_hand(facts)
    later = _checkpoint(facts, 150)
    _eval(facts, later, 3, 20)
    assert not _crown(facts, later, 150), "nothing automatic takes it"
    released = release(facts, "eval")
    assert released is not None
    assert released.checkpoint == later
    assert release(facts, "eval") is None
    newest = _checkpoint(facts, 200)
    _eval(facts, newest, 4, 20)
    assert _crown(facts, newest, 200), "automatic again"
    told = [event["step"] for event in events.latest(facts, 10, "hero.champion")]
    assert told == [200, 150, 50, 100]


def test_promoting_twice_is_told_once_and_an_unmeasured_one_is_refused(facts: sqlite3.Connection) -> None:
    name, blank = _checkpoint(facts, 50, train_loss=0.5), _checkpoint(facts, 60)
    for _ in range(2):
        promote(facts, name, "eval")
    [row] = facts.execute("SELECT metric, value, reason FROM champions").fetchall()
    assert (row["metric"], row["value"]) == ("train_loss", 0.5)
    with pytest.raises(Conflict, match="nothing was measured"):
        promote(facts, blank, "eval")
    with pytest.raises(Unknown):
        promote(facts, "checkpoint-1-20260101-0000", "eval")


def test_a_crown_by_hand_ends_with_its_checkpoint(facts: sqlite3.Connection) -> None:
    held, later = _checkpoint(facts, 50, train_loss=0.5), _checkpoint(facts, 100)
    promote(facts, held, "eval")
    facts.execute("UPDATE checkpoints SET state = 'dropped' WHERE name = ?", (held,))
    with pytest.raises(Conflict, match="not kept"):
        promote(facts, held, "eval")
    _eval(facts, later, 1, 5)
    assert _crown(facts, later, 100)
