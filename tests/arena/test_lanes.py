"""Micro-batches computed at once: the gradient of one, the same bits every time, errors that leave nothing changed."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from realm.arena import kept_memory
from realm.arena import lanes as lanes_module
from realm.arena.formation.batching import LONG_ROW, split_lanes
from realm.arena.formation.rows import EncodedRow
from realm.arena.formation.tensors import MicroBatch
from realm.arena.lanes import LEAST_WORK, Lanes
from realm.arena.stepper import NonFinite, Stepper, fix_numerics
from realm.armory.hero_loading import LoadedHero
from realm.armory.hero_presets import HeroPreset

Make = Callable[..., Stepper]


@pytest.fixture(scope="module", autouse=True)
def _restored() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def make(new_hero: Callable[[], LoadedHero], small_preset: HeroPreset, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setattr(lanes_module, "LEAST_WORK", 2**18)  # so that these small steps are divided

    def build(threads: int, **change: Any) -> Stepper:
        fix_numerics(threads)
        hero = new_hero()
        return Stepper(hero.model, small_preset.training.model_copy(update=change), hero.template.pad_id)

    return build


def rows_of(count: int, seed: int) -> list[EncodedRow]:
    source = random.Random(seed)
    lengths = [source.randrange(8, 60) for _ in range(count)]
    return [
        EncodedRow([source.randrange(3, 100) for _ in range(length)], [n >= length // 2 for n in range(length)], number)
        for number, length in enumerate(lengths)
    ]


def gradients(stepper: Stepper) -> torch.Tensor:
    return torch.cat([buffer.grads.flatten() for buffer in stepper.optimiser.buffers])


def weights(stepper: Stepper) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in stepper.model.parameters()])


@pytest.mark.parametrize("batch_size", [64, 5])
@pytest.mark.parametrize("threads", [2, 3])
def test_lanes_give_the_gradient_of_one(make: Make, threads: int, batch_size: int) -> None:
    rows = rows_of(40, 1)
    one, many = make(1, batch_size=64), make(threads, batch_size=batch_size)
    assert one.lanes is None
    assert many.lanes is not None
    assert len(many.micro_batches(rows)) >= threads
    alone, together = one.step(rows), many.step(rows)
    assert together.loss == pytest.approx(alone.loss, rel=1e-6)
    assert float((gradients(one) - gradients(many)).norm() / gradients(one).norm()) <= 1e-6
    assert torch.get_num_threads() == threads


def test_lanes_repeat_bit_for_bit_and_go_on_exactly(make: Make) -> None:
    """Five steps twice, and three with a second stepper that goes on with the state of the first."""
    steps = [rows_of(40, seed) for seed in range(5)]
    first, second = make(2), make(2)
    losses = [[stepper.step(rows).loss for rows in steps] for stepper in (first, second)]
    assert losses[0] == losses[1]
    assert torch.equal(weights(first), weights(second))
    begun = make(2)
    for rows in steps[:2]:
        begun.step(rows)
    resumed = make(2)
    resumed.load_state(*begun.state_tensors())
    assert [resumed.step(rows).loss for rows in steps[2:]] == losses[0][2:]
    assert torch.equal(weights(first), weights(resumed))


def test_a_step_without_finite_loss_changes_nothing(make: Make) -> None:
    stepper = make(2)
    with torch.no_grad():
        stepper.model.get_input_embeddings().weight[77] = float("nan")  # type: ignore[operator]
    rows = [*rows_of(40, 2), EncodedRow([5, 77, 6, 7], [False, False, True, True], 40)]
    rows = [row for row in rows if 77 not in row.ids or row.index == 40]
    before = weights(stepper)
    with pytest.raises(NonFinite):
        stepper.step(rows)
    assert torch.equal(weights(stepper).nan_to_num(9.0), before.nan_to_num(9.0))


@pytest.mark.parametrize("broken", [0, 1])
def test_an_error_in_a_lane_is_raised_when_all_have_ended(make: Make, broken: int) -> None:
    stepper = make(2)
    micros = stepper.micro_batches(rows_of(40, 3))
    ended: list[int] = []

    def loss_of(micro: MicroBatch) -> torch.Tensor:
        number = next(n for n, one in enumerate(micros) if one is micro)
        if number == broken:
            raise MemoryError("refused")
        ended.append(number)
        return stepper.loss_sum(micro)

    with pytest.raises(MemoryError, match="refused"):
        Lanes(2, 64).add_gradients(loss_of, micros[:2], stepper.trained)
    assert ended == [1 - broken]
    assert torch.get_num_threads() == 2
    assert not gradients(stepper).any()


def test_few_tokens_and_large_heroes_are_not_shared(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    stepper, few = make(2), rows_of(2, 4)
    assert len(stepper.micro_batches(few)) == 1
    seen: list[int] = []
    real = stepper.backward_of

    def noted(micro: MicroBatch, trained: int) -> float:
        seen.append(torch.get_num_threads())
        return real(micro, trained)

    monkeypatch.setattr(stepper, "backward_of", noted)
    stepper.step(few)
    assert (seen, torch.get_num_threads()) == ([1], 2)
    monkeypatch.setattr("realm.arena.stepper.MOST_WEIGHTS", 1000)
    assert make(2).lanes is None


@pytest.mark.parametrize(
    ("hidden", "tokens", "lanes"), [(64, 1500, 1), (64, 2048, 2), (128, 500, 1), (128, 512, 2), (256, 256, 4)]
)
def test_wider_heroes_divide_smaller_steps(hidden: int, tokens: int, lanes: int) -> None:
    assert Lanes(4, hidden).worth(tokens) == lanes
    assert hidden**2 * tokens / lanes >= LEAST_WORK or lanes == 1


@given(
    st.lists(st.integers(2, 300), min_size=1, max_size=80), st.integers(1, 40), st.integers(100, 3000), st.integers(1, 5)
)
def test_a_cut_for_lanes_is_a_partition_of_equal_shares(lengths: list[int], size: int, tokens: int, lanes: int) -> None:
    parts = [part for part in split_lanes(lengths, size, tokens, lanes) if part]
    assert sorted(row for part in parts for row in part) == list(range(len(lengths)))
    assert all(len(part) <= size for part in parts)
    cost = [sum(lengths[row] * (1 + lengths[row] / LONG_ROW) for row in part) for part in parts]
    longest = max(lengths) * (1 + max(lengths) / LONG_ROW)
    assert max(cost) <= sum(cost) / lanes + longest


FAULTS = """
import resource, sys
from realm.arena.kept_memory import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    raise SystemExit("no glibc")
def turn():
    held = [bytearray(24 << 20) for _ in range(3)]
for _ in range(3): turn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10): turn()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_freed_memory_is_used_again_without_page_faults() -> None:
    def faults(how: str) -> int:
        ran = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
        return int(ran.stdout)

    assert faults("keep") < 1000 < faults("plain")


def test_a_large_hero_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_memory, "keep_freed_memory", lambda: True)
    with (tmp_path / "model.safetensors").open("wb") as weights:
        weights.truncate(kept_memory.MOST_WEIGHT_BYTES)
    assert kept_memory.keep_for(tmp_path)
    with (tmp_path / "model-2.safetensors").open("wb") as weights:
        weights.truncate(1)
    assert not kept_memory.keep_for(tmp_path)
