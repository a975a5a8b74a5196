"""Faults while training: a row that poisons a step is named, and kills at random steps leave the same bits."""

from __future__ import annotations

import random
import shutil
from typing import Any

import pytest
from fight_kit import Battle, battle, kinds, once_each, put, quest_named
from quest_files import configure, digests
from safetensors.torch import load_file

from realm.arena.battle import leave
from realm.arena.formation.tensors import MicroBatch
from realm.core.paths import Paths
from realm.vault import ledger

POISONED = 6  # row of the quest


def poison_row(one: Battle, quest: str) -> None:
    """Make the loss of one row of a quest NaN, wherever it is batched."""
    stepper = one.arena.stepper
    real = stepper.loss_sum

    def loss_sum(micro: MicroBatch) -> Any:
        fought = quest_named(one.paths, quest).state == "processing"
        return real(micro) * float("nan") if fought and POISONED in micro.indices else real(micro)

    stepper.loss_sum = loss_sum  # type: ignore[method-assign]


@pytest.mark.parametrize("batching", ["buckets", "packing"])
def test_a_row_with_a_loss_that_is_no_number_is_named_and_the_next_quest_trains(home: Paths, batching: str) -> None:
    configure(home, threads=1, training={"batching": batching})
    put(home, "bad.jsonl", 20, priority="high")
    put(home, "good.jsonl", 12, start=500)
    with battle(home) as one:
        real = one.arena.stepper.step
        started: list[int] = []

        def step(rows: Any) -> Any:
            if not started:  # the trial before battle has to be through
                poison_row(one, "bad.jsonl")
            started.append(one.arena.step)
            return real(rows)

        one.arena.stepper.step = step  # type: ignore[method-assign]
        one.fight()
    bad = quest_named(home, "bad.jsonl")
    assert (bad.state, bad.attempts) == ("failed", 3)
    assert f"row {POISONED} alone" in bad.reason
    assert quest_named(home, "good.jsonl").state == "completed"
    kept = bad.rows_done // 4
    assert 0 <= kept < 5
    assert ledger.extract_step(ledger.folders(home)[-1].name) == kept + 3
    for folder in ledger.folders(home):
        for name in ("model", "raw", "optimizer"):
            assert all(tensor.isfinite().all() for tensor in load_file(folder / f"{name}.safetensors").values())
    assert kinds(home).count("battle.failed") == 3


@pytest.mark.parametrize("training", [
    {"batching": "packing", "matrices": "muon", "ema_decay": 0.9},
    {"batching": "buckets", "matrices": "adamw", "ema_decay": None},
    {"batching": "packing", "adapter": {"kind": "lora", "rank": 4}},
], ids=["packing-muon-ema", "buckets-adamw", "packing-lora"])
def test_twenty_steps_with_ten_deaths_are_twenty_steps(home: Paths, tmp_path: Any, training: dict[str, Any]) -> None:
    """Ten starts that are thrown away at random steps without saving: what kill -9 leaves, in one process."""
    configure(home, threads=1, training={"save_steps": 3, **training})
    quest = put(home, "a.jsonl", 80)
    shutil.copytree(home.home, tmp_path / "twin")
    twin = Paths(tmp_path / "twin")
    with battle(twin) as straight:
        straight.fight()
    draw, deaths = random.Random(7), 0
    while deaths < 10:
        one = Battle(home)
        at = min(one.arena.step + draw.randint(1, 5), 19)

        class Death(BaseException):
            pass

        def die() -> None:
            raise Death

        one.at(at, die)
        try:
            one.fight()
        except Death:
            deaths += 1
        finally:
            leave(one.arena)
    with battle(home) as last:
        last.fight()
        assert last.arena.step == 20
    assert digests(ledger.folders(home)[-1]) == digests(ledger.folders(twin)[-1])
    once_each(home, quest)
