"""The optimiser step: right loss, right gradient, refusal of non-finite steps, exact resume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from realm.arena.formation.batching import plan_batches
from realm.arena.formation.rows import EncodedRow, NothingTrained, form_quest
from realm.arena.stepper import NonFinite, Stepper, fix_numerics
from realm.armory.hero_loading import LoadedHero
from realm.armory.hero_presets import HeroPreset
from realm.core.errors import BadInput, Corrupt

Make = Callable[..., Stepper]


@pytest.fixture(scope="module", autouse=True)
def _fixed():
    threads = torch.get_num_threads()
    fix_numerics(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def make(new_hero: Callable[[], LoadedHero], small_preset: HeroPreset) -> Make:
    def build(*, lean: bool = True, **change: Any) -> Stepper:
        hero = new_hero()
        training = small_preset.training.model_copy(update=change)
        return Stepper(hero.model, training, hero.template.pad_id, allow_lean=lean)

    return build


@pytest.fixture(scope="module")
def rows(loaded: LoadedHero, conversations: list[Any]) -> list[EncodedRow]:
    return form_quest(conversations, loaded.template, 256).rows


def snapshot(stepper: Stepper) -> list[torch.Tensor]:
    return [p.detach().clone() for p in stepper.model.parameters()]


def gradient(stepper: Stepper) -> torch.Tensor:
    return torch.cat([buffer.grads.flatten() for buffer in stepper.optimiser.buffers])


@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize("batching", ["buckets", "packing"])
def test_the_loss_is_the_plain_one_over_trained_tokens(
    make: Make, rows: list[EncodedRow], loaded: LoadedHero, lean: bool, batching: str
):
    total, count = 0.0, 0
    for row in rows[:12]:
        with torch.no_grad():
            logits = loaded.model(torch.tensor([row.ids])).logits[0]
        labels = torch.tensor([i if t else -100 for i, t in zip(row.ids, row.trained, strict=True)])
        total += float(functional.cross_entropy(logits[:-1], labels[1:], reduction="sum"))
        count += sum(row.trained)
    stepper = make(lean=lean, batching=batching)
    assert stepper.validation_loss(rows[:12]) == pytest.approx(total / count, rel=1e-5)
    result = stepper.step(rows[:12])
    assert result.loss == pytest.approx(total / count, rel=1e-5)
    assert (result.trained_tokens, result.step) == (count, 1)
    assert result.total_tokens == sum(len(row) for row in rows[:12])
    assert result.rows == tuple(range(12))


@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize("batching", ["buckets", "packing"])
def test_micro_batches_give_the_gradient_of_one_large_batch(make: Make, rows: list[EncodedRow], batching: str, lean: bool):
    one, many = make(batch_size=24), make(batch_size=3, batching=batching, lean=lean, max_length=128)
    results = [stepper.step(rows[:24]) for stepper in (one, many)]
    assert results[0].loss == pytest.approx(results[1].loss, rel=1e-6)
    difference = (gradient(one) - gradient(many)).norm() / gradient(one).norm()
    assert float(difference) <= 1e-6


@pytest.mark.parametrize("lean", [True, False])
def test_the_distance_of_two_gradients_is_that_of_their_copies(make: Make, rows: list[EncodedRow], lean: bool):
    stepper = make(lean=lean)
    stepper.step(rows[:8])
    before = snapshot(stepper)
    whole, halves = [stepper.lay(rows[:8])], [stepper.lay(rows[:4]), stepper.lay(rows[4:8])]
    assert 0 < stepper.gradient_distance(whole, halves) <= 1e-6
    other = [stepper.lay(rows[8:12])]
    stepper.try_step(whole)
    first = gradient(stepper)
    stepper.try_step(other)
    apart = float((first - gradient(stepper)).norm() / first.norm())
    assert stepper.gradient_distance(whole, other) == pytest.approx(apart, rel=1e-5)
    assert all(map(torch.equal, before, snapshot(stepper)))


def test_gradient_checkpointing_gives_the_same_gradient(make: Make, rows: list[EncodedRow]):
    plain, checkpointed = make(lean=False), make(lean=False, gradient_checkpointing=True)
    assert plain.step(rows[:8]).loss == pytest.approx(checkpointed.step(rows[:8]).loss, rel=1e-6)
    assert torch.allclose(gradient(plain), gradient(checkpointed), atol=1e-6)


def test_bf16_trains_fp32_weights_in_bf16_arithmetic(make: Make, rows: list[EncodedRow]):
    full, half = make(), make(precision="bf16")
    assert half.lean is None
    first, second = full.step(rows[:8]), half.step(rows[:8])
    assert second.loss != first.loss
    assert second.loss == pytest.approx(first.loss, rel=0.02)
    assert all(p.dtype is torch.float32 for p in half.model.parameters())


@pytest.mark.parametrize("plain", [True, False])
def test_logits_in_parts_give_the_same_gradient(
    make: Make, rows: list[EncodedRow], monkeypatch: pytest.MonkeyPatch, plain: bool
):
    whole, parts = make(), make()
    assert parts.plain_head
    parts.plain_head = plain
    first = whole.step(rows[:8])
    monkeypatch.setattr("realm.arena.stepper.LOGITS_AT_ONCE", 2000)
    assert parts.validation_loss(rows[:8]) > 0
    second = parts.step(rows[:8])
    assert first.loss == pytest.approx(second.loss, rel=1e-6)
    assert torch.allclose(gradient(whole), gradient(parts), atol=1e-6)


@pytest.mark.parametrize("matrices", ["muon", "adamw"])
@pytest.mark.parametrize("ema", [0.9, None])
def test_twenty_steps_equal_ten_saved_loaded_and_ten(
    make: Make, rows: list[EncodedRow], tmp_path: Path, matrices: str, ema: float | None
):
    steps = [step for seed in (1, 2) for step in plan_batches([len(r) for r in rows], 7, seed)][:20]
    straight, first, second = (make(matrices=matrices, ema_decay=ema) for _ in range(3))
    for step in steps:
        straight.step([rows[n] for n in step])
    for step in steps[:10]:
        first.step([rows[n] for n in step])
    for name, tensors in zip(("weights", "raw", "optimiser"), first.state_tensors(), strict=True):
        if tensors is not None:
            save_file(tensors, tmp_path / name)
    raw = load_file(tmp_path / "raw") if (tmp_path / "raw").exists() else None
    assert (raw is None) is (ema is None)
    second.load_state(load_file(tmp_path / "weights"), raw, load_file(tmp_path / "optimiser"))
    for step in steps[10:]:
        result = second.step([rows[n] for n in step])
    assert result.step == 20
    for mine, theirs in zip(straight.state_tensors(), second.state_tensors(), strict=True):
        assert (mine is None) is (theirs is None)
        if mine is not None and theirs is not None:
            assert mine.keys() == theirs.keys()
            assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_served_weights_are_the_average_and_training_weights_come_back(make: Make, rows: list[EncodedRow]):
    stepper = make(ema_decay=0.9)
    for _ in range(3):
        stepper.step(rows[:8])
    own = snapshot(stepper)
    weights, raw, _ = stepper.state_tensors()
    assert raw is not None
    with stepper.served() as model:
        assert all(torch.equal(p, weights[name]) for name, p in model.named_parameters())
        assert not model.training
    assert all(torch.equal(a, b) for a, b in zip(own, stepper.model.parameters(), strict=True))
    assert all(torch.equal(p, raw[name]) for name, p in stepper.model.named_parameters())


def test_weights_without_optimiser_state_start_a_new_life(make: Make, rows: list[EncodedRow]):
    old, new = make(ema_decay=0.9), make(ema_decay=0.9)
    old.step(rows[:8])
    weights, _, _ = old.state_tensors()
    new.load_state(weights, None, None)
    assert new.step(rows[:8]).step == 1
    with pytest.raises(Corrupt):
        new.load_state({}, None, None)


@pytest.mark.parametrize("matrices", ["muon", "adamw"])
def test_a_non_finite_step_touches_nothing_and_names_its_rows(make: Make, rows: list[EncodedRow], matrices: str):
    stepper = make(matrices=matrices)
    stepper.step(rows[:8])
    target = dict(stepper.model.named_parameters())["model.norm.weight"]
    kept = float(target.detach()[0])
    with torch.no_grad():
        target[0] = float("nan")
    before, state = snapshot(stepper), stepper.optimiser.state()
    with pytest.raises(NonFinite, match="rows 3, 4, 5") as caught:
        stepper.step(rows[3:6])
    assert caught.value.facts["rows"] == [3, 4, 5]
    assert all(
        torch.equal(
            a,
            b,
        )
        or torch.isnan(a).any()
        for a, b in zip(before, snapshot(stepper), strict=True)
    )
    assert all(torch.equal(tensor, stepper.optimiser.state()[name]) for name, tensor in state.items())
    with torch.no_grad():
        target[0] = kept
    assert stepper.step(rows[:8]).step == 2


def test_an_exploding_gradient_is_non_finite(make: Make, rows: list[EncodedRow]):
    stepper = make()
    before = snapshot(stepper)
    with torch.no_grad():
        dict(stepper.model.named_parameters())["model.norm.weight"].fill_(float("inf"))
    with pytest.raises(NonFinite):
        stepper.step(rows[:4])
    unchanged = [p for name, p in stepper.model.named_parameters() if name != "model.norm.weight"]
    held = [
        t for (name, _), t in zip(stepper.model.named_parameters(), before, strict=True) if name != "model.norm.weight"
    ]
    assert all(torch.equal(a, b) for a, b in zip(held, unchanged, strict=True))


@pytest.mark.parametrize("matrices", ["muon", "adamw"])
def test_a_learning_rate_of_zero_changes_nothing(make: Make, rows: list[EncodedRow], matrices: str):
    stepper = make(matrices=matrices, learning_rate=0.0, muon_learning_rate=0.0)
    before = snapshot(stepper)
    for _ in range(3):
        stepper.step(rows[:8])
    assert all(torch.equal(a, b) for a, b in zip(before, stepper.model.parameters(), strict=True))
    stepper.optimiser.swap_average()
    assert all(torch.allclose(a, b, rtol=0, atol=1e-7) for a, b in zip(before, stepper.model.parameters(), strict=True))


def test_large_gradients_are_clipped(make: Make, rows: list[EncodedRow]):
    stepper = make(clip=0.01)
    assert stepper.step(rows[:8]).grad_norm > 0.01
    assert float(gradient(stepper).norm()) == pytest.approx(0.01, rel=1e-4)


def test_a_batch_without_labels_or_rows_is_refused_before_anything_changes(make: Make, rows: list[EncodedRow]):
    stepper = make()
    before = snapshot(stepper)
    with pytest.raises(NothingTrained, match="rows 0"):
        stepper.step([EncodedRow(rows[0].ids, [False] * len(rows[0]), 0)])
    with pytest.raises(BadInput):
        stepper.step([])
    assert all(torch.equal(a, b) for a, b in zip(before, stepper.model.parameters(), strict=True))


def test_training_lowers_the_loss(make: Make, rows: list[EncodedRow]):
    stepper = make()
    losses = [stepper.step(rows[n % 4 * 16 : n % 4 * 16 + 16]).loss for n in range(40)]
    assert losses[-1] < losses[0] / 3
