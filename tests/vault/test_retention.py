"""Retention: what is protected never goes, the cap holds or says by how much it does not, and a crash loses nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ledger import make

from realm.core.clock import FakeClock
from realm.core.paths import Paths
from realm.core.store import open_facts
from realm.vault import ledger
from realm.vault.keeping import retention
from realm.vault.keeping.retention import Candidate, Keep, apply, plan, protected_names

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Candidate], dict[str, str], Keep]:
    count = draw(st.integers(0, 25))
    steps = draw(st.lists(st.integers(1, 10_000), min_size=count, max_size=count, unique=True))
    minutes = draw(st.lists(st.integers(-600, 60_000), min_size=count, max_size=count))
    sizes = draw(st.lists(st.integers(1, 100), min_size=count, max_size=count))
    losses = draw(st.lists(st.one_of(st.just({}), st.fixed_dictionaries({"a": st.integers(-9, 9), "b": st.integers(-9, 9)})),
                           min_size=count, max_size=count))  # fmt: skip
    found = [Candidate(f"c{step}", step, NOW - timedelta(minutes=age), size, loss)
             for step, age, size, loss in zip(steps, minutes, sizes, losses, strict=True)]  # fmt: skip
    names = draw(st.lists(st.sampled_from([c.name for c in found] or ["none"]), max_size=6))
    keep = Keep(draw(st.integers(1, 6)), draw(st.integers(0, 30)), draw(st.integers(0, 30)), draw(st.integers(1, 1500)),
                draw(st.integers(0, 6)), draw(st.booleans()))  # fmt: skip
    return found, dict.fromkeys(names, "because"), keep


@settings(max_examples=300, deadline=None)
@given(histories())
def test_any_history(history: tuple[list[Candidate], dict[str, str], Keep]) -> None:
    found, protected, keep = history
    decided = plan(found, protected, keep, NOW)
    names = {c.name for c in found}
    sizes = {c.name: c.size for c in found}
    assert set(decided.kept) | set(decided.dropped) == names
    assert not set(decided.kept) & set(decided.dropped)
    assert not set(decided.dropped) & set(protected)
    total = sum(sizes[name] for name in decided.kept)
    assert decided.over == max(0, total - keep.max_bytes)
    if decided.over:
        assert set(decided.kept) == names & set(protected), "over the cap only when nothing else could go"
    if sum(sizes.values()) <= keep.max_bytes:
        newest = sorted(found, key=lambda c: -c.step)[: keep.newest]
        assert {c.name for c in newest} <= set(decided.kept)
        measured = [c for c in found if c.metrics]
        for metric in ("a", "b") if keep.best and measured else ():
            most = max(c.metrics[metric] for c in measured)
            assert any(c.metrics[metric] == most for c in measured if c.name in decided.kept)
    assert all(decided.kept.values())
    assert all(decided.dropped.values())
    left = [c for c in found if c.name in decided.kept]
    assert plan(left, protected, keep, NOW).dropped == {}, "a second look drops nothing more"
    assert plan(list(reversed(found)), protected, keep, NOW) == decided


def test_one_an_hour_and_one_a_day_stay() -> None:
    found = [Candidate(f"c{n}", n, NOW - timedelta(minutes=20 * (300 - n)), 1) for n in range(1, 301)]
    decided = plan(found, {}, Keep(2, 6, 3, 10**9), NOW)
    ages = sorted((300 - int(name[1:])) * 20 for name in decided.kept)
    assert ages[:2] == [0, 20]
    assert len([age for age in ages if age <= 360]) in (7, 8)
    assert max(ages) <= 3 * 24 * 60


def test_one_a_week_and_the_best_of_each_metric_stay() -> None:
    found = [Candidate(f"c{n}", n, NOW - timedelta(days=60 - n), 1, {"loss": float(n == 4)}) for n in range(1, 61)]
    decided = plan(found, {}, Keep(1, 0, 0, 10**9, weeks=4, best=True), NOW)
    assert decided.kept["c4"] == "best loss"
    weeks = [name for name, why in decided.kept.items() if why == "last of its week"]
    assert len(weeks) == 4
    assert set(decided.kept) == {"c4", "c60", *weeks}


def test_the_cap_drops_the_oldest_first() -> None:
    found = [Candidate(f"c{n}", n, NOW, 10) for n in range(1, 7)]
    decided = plan(found, {"c1": "champion"}, Keep(6, 0, 0, 35), NOW)
    assert set(decided.kept) == {"c1", "c5", "c6"}
    assert decided.dropped["c2"] == "over the size cap"
    assert plan(found, {"c1": "champion"}, Keep(6, 0, 0, 5), NOW).over == 5


@pytest.fixture
def facts(empty_home: Paths) -> Iterator[Any]:
    with closing(open_facts(empty_home)) as connection:
        for step in range(1, 8):
            make(empty_home, step, parent=f"checkpoint-{step - 1}-20260101-0000" if step > 1 else None)
        ledger.adopt(empty_home, connection)
        connection.execute("UPDATE checkpoints SET pinned = 1 WHERE step = 2")
        connection.execute("INSERT INTO champions(at, checkpoint, step, metric, value, reason) VALUES"
                           " ('','checkpoint-3-20260101-0000',3,'eval',1,'')")  # fmt: skip
        connection.execute("INSERT INTO evals(id, checkpoint, step, skill, level, kind, state, queued_at) VALUES"
                           " ('e','checkpoint-4-20260101-0000',4,'bin',1,'gate','queued','')")  # fmt: skip
        yield connection


KEEP = Keep(1, 0, 0, 10**9)


def steps(paths: Paths) -> list[int]:
    return [ledger.extract_step(folder.name) for folder in ledger.folders(paths)]


def test_latest_champion_pinned_and_awaited_stay(empty_home: Paths, facts: Any) -> None:
    assert {ledger.extract_step(name) for name in protected_names(facts)} == {2, 3, 4, 7}
    decided = apply(empty_home, facts, KEEP, FakeClock(NOW))
    assert {ledger.extract_step(name) for name in decided.dropped} == {1, 5, 6}
    assert steps(empty_home) == [2, 3, 4, 7]
    assert sorted(record.step for record in ledger.dropped_records(empty_home)) == [1, 5, 6]
    told = facts.execute("SELECT count(*) FROM events WHERE kind = 'checkpoint.dropped'").fetchone()[0]
    assert told == 3
    assert apply(empty_home, facts, KEEP, FakeClock(NOW)).dropped == {}


@pytest.mark.parametrize("moment", ["keep_sidecar", "drop_from_index", "remove_tree"])
def test_a_crash_at_any_point_is_finished_by_the_next_look(
    empty_home: Paths, facts: Any, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(retention if moment == "remove_tree" else ledger, moment, die)
        with pytest.raises(KeyboardInterrupt):
            apply(empty_home, facts, KEEP, FakeClock(NOW))
    assert {2, 3, 4, 7} <= set(steps(empty_home))
    ledger.adopt(empty_home, facts)
    apply(empty_home, facts, KEEP, FakeClock(NOW))
    assert steps(empty_home) == [2, 3, 4, 7]


def test_a_folder_that_was_deleted_by_hand_is_noted(empty_home: Paths, facts: Any) -> None:
    shutil.rmtree(empty_home.current_model / "checkpoint-1-20260101-0000")
    apply(empty_home, facts, KEEP, FakeClock(NOW))
    assert steps(empty_home) == [2, 3, 4, 7]
    state = facts.execute("SELECT state FROM checkpoints WHERE step = 1").fetchone()["state"]
    assert state == "dropped"


def test_an_eval_of_a_dropped_checkpoint_is_dropped_with_the_reason(empty_home: Paths, facts: Any) -> None:
    facts.execute("UPDATE evals SET checkpoint = 'checkpoint-5-20260101-0000'")
    record = ledger.indexed(facts, "checkpoint-5-20260101-0000")
    ledger.drop_from_index(facts, record, "test")
    row = facts.execute("SELECT state, reason FROM evals").fetchone()
    assert row["state"] == "dropped"
    assert "test" in row["reason"]
    assert isinstance(empty_home.home, Path)
