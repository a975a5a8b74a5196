"""The saver's own promises: one save at a time, each outcome told once, finish repeated changes nothing."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
import torch
from fight_kit import battle, kinds, put, quest_named
from quest_files import configure

from realm.arena import saver as module
from realm.arena.checkpoint_io import Weights
from realm.arena.saver import Poisoned, Snapshot, finish, refuse_poisoned
from realm.arena.saves import snapshot
from realm.core.paths import Paths
from realm.core.store import open_facts
from realm.vault import ledger


def test_a_save_waits_for_the_one_before_and_each_outcome_comes_once(home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(home, threads=1)
    put(home, "a.jsonl", 20)
    gate, running = threading.Event(), []
    real = module.write_checkpoint

    def slow(*args: Any) -> Any:
        running.append(threading.current_thread().name)
        assert len(running) == 1, "two saves at once"
        gate.wait(10)
        running.pop()
        return real(*args)

    with battle(home) as one:
        one.fight(max_steps=1)
        saver, first = one.arena.saver, snapshot(one.arena)
        monkeypatch.setattr(module, "write_checkpoint", slow)
        told = {**first.record}
        assert saver.start(replace(first, step=2, record={**told, "step": 2})) is None
        assert saver.busy
        assert saver.take() is None
        gate.set()
        before = saver.start(replace(first, step=3, record={**told, "step": 3}))
        assert before is not None
        assert before.record is not None
        assert before.record.step == 2
        last = saver.wait()
        assert last is not None
        assert last.record is not None
        assert saver.wait() is None
    assert [ledger.extract_step(folder.name) for folder in ledger.folders(home)] == [1, 2, 3]


def test_what_nobody_expected_reaches_the_training_thread(home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    put(home, "a.jsonl", 20)

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    with battle(home) as one:
        monkeypatch.setattr(module, "write_checkpoint", broken)
        with pytest.raises(ZeroDivisionError):
            one.fight()
        one.arena.saver._crash = None


@pytest.mark.parametrize("group", ["served", "raw", "optimiser"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_one_number_that_is_not_finite_is_enough(group: str, value: float) -> None:
    good = {"w": torch.zeros(100), "steps": torch.tensor(3)}
    bad = {"w": torch.zeros(100).index_fill(0, torch.tensor([57]), value), "steps": torch.tensor(3)}
    groups = {name: bad if name == group else good for name in ("served", "raw", "optimiser")}
    with pytest.raises(Poisoned, match="step 7: w holds"):
        refuse_poisoned(Snapshot(7, Weights(**groups), {}, {}, {}))
    refuse_poisoned(Snapshot(7, Weights(good, None, good), {}, {}, {}))


def test_finishing_twice_changes_nothing(home: Paths) -> None:
    put(home, "a.jsonl", 12)
    with battle(home) as one:
        one.fight()
    folder = ledger.folders(home)[-1]
    before = kinds(home)
    asked: list[str] = []
    with closing(open_facts(home)) as facts:
        record = ledger.read_record(folder / ledger.SIDECAR)
        finish(home, facts, record, folder, {}, lambda _c, name, _s: asked.append(name), one.arena.clock)
    assert kinds(home) == before
    assert asked == []
    assert quest_named(home, "a.jsonl").state == "completed"


def test_levels_are_told_once_each(home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEPS_PER_LEVEL", 3)
    configure(home, threads=1, training={"save_steps": 4})
    put(home, "a.jsonl", 40)
    with battle(home) as one:
        one.fight(max_steps=5)
    with battle(home) as two:
        two.fight()
    with closing(open_facts(home)) as facts:
        told = [row["step"] for row in facts.execute("SELECT step FROM events WHERE kind = 'hero.level_up' ORDER BY seq")]
    assert told == [3, 6, 9]


def test_a_failing_clean_up_does_not_spoil_the_save(home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    put(home, "a.jsonl", 12)

    def refuse(*_: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    with battle(home) as one:
        monkeypatch.setattr(module.retention, "apply", refuse)
        one.fight()
        assert one.arena.saved_step == 3
        assert one.arena.progress.status["save_error"] is None
