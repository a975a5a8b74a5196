"""Named versions are protected, compared, and gone back to without losing what is protected."""

from __future__ import annotations

from contextlib import closing

import pytest
from test_ledger import make
from vault_kit import add_eval

from realm.core.clock import FakeClock
from realm.core.daemon import single_instance
from realm.core.errors import BadInput, Conflict, Corrupt, Unknown
from realm.core.paths import Paths
from realm.core.store import open_facts
from realm.vault import ledger
from realm.vault.keeping import care, chronicle, snapshots
from realm.vault.keeping.retention import Keep, apply, protected_names


@pytest.fixture
def line(home: Paths) -> Paths:
    for step in (5, 10, 15, 20):
        make(home, step)
    with closing(open_facts(home)) as facts:
        ledger.adopt(home, facts)
    return home


def name_of(home: Paths, step: int) -> str:
    return next(folder.name for folder in ledger.folders(home) if ledger.extract_step(folder.name) == step)


def test_a_named_version_is_never_dropped(line: Paths) -> None:
    with closing(open_facts(line)) as facts:
        made = chronicle.write(facts, "first-words", "5", why="it answers", notes="brief")
        assert (made.step, made.checkpoint) == (5, name_of(line, 5))
        assert protected_names(facts)[made.checkpoint] == "in the chronicle"
        assert set(apply(line, facts, Keep(1, 0, 0, 1)).kept) == {made.checkpoint, name_of(line, 20)}
        assert chronicle.list_versions(facts) == [made] == [chronicle.get(facts, "first-words")]
        with pytest.raises(Conflict):
            chronicle.write(facts, "first-words", "20", why="")
        with pytest.raises(Unknown, match="checkpoint"):
            chronicle.write(facts, "other", "99", why="")
        with pytest.raises(BadInput):
            chronicle.write(facts, "../x", "20", why="")
        chronicle.strike(facts, "first-words")
        assert made.checkpoint not in protected_names(facts)


def test_what_was_measured_is_kept_and_compared(line: Paths) -> None:
    with closing(open_facts(line)) as facts:
        for step, right in ((5, 3), (20, 17)):
            found = add_eval(facts, step, 1, right)
            facts.execute("UPDATE evals SET checkpoint = ? WHERE id = ?", (name_of(line, step), found))
        one = chronicle.write(facts, "one", "5", why="")
        two = chronicle.write(facts, "two", "20", why="")
        assert one.measured["evals"] == {"bin L1 gate": "3/20"}
        found = chronicle.diff(line, facts, "one", "two")
        assert found["steps"] == 15
        assert found["evals"] == [{"eval": "bin L1 gate", "from": "3/20", "to": "17/20"}]
        assert two.checkpoint == name_of(line, 20)


def test_going_back_keeps_what_is_protected(line: Paths) -> None:
    later = name_of(line, 20)
    with closing(open_facts(line)) as facts:
        chronicle.write(facts, "good", "10", why="")
        care.set_pinned(facts, later, True)
        with pytest.raises(BadInput):
            chronicle.restore(line, facts, "good", "11")
        with single_instance(line, "arena"), pytest.raises(Conflict):
            chronicle.restore(line, facts, "good", "10")
        gone = chronicle.restore(line, facts, "good", "10")
    assert gone == [later, next(name for name in gone if "-15-" in name)]
    assert [ledger.extract_step(folder.name) for folder in ledger.folders(line)] == [5, 10]
    assert (line.snapshots / later / "model.safetensors").is_file()
    assert (line.trash / later).is_dir()


def test_a_damaged_version_is_not_gone_back_to(line: Paths) -> None:
    with closing(open_facts(line)) as facts:
        made = chronicle.write(facts, "bad", "10", why="")
        weights = line.current_model / made.checkpoint / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"?")
        with pytest.raises(Corrupt):
            chronicle.restore(line, facts, "bad", "10")
    assert len(ledger.folders(line)) == 4


def test_one_snapshot_a_day_and_seven_of_them(line: Paths, empty_home: Paths) -> None:
    clock = FakeClock()
    assert snapshots.keep_daily(Paths(empty_home.home / "none").ensure(), clock) is None
    for _ in range(9):
        kept = snapshots.keep_daily(line, clock)
        assert kept == snapshots.keep_daily(line, clock)
        clock.advance(86_400)
    assert sorted(path.name for path in line.snapshots.iterdir()) == [f"daily-202601{day:02}" for day in range(3, 10)]
