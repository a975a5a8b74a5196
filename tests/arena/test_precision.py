"""The choice of precision and the scaled loss of fp16."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from realm.arena.formation.rows import form_quest
from realm.arena.precision import FIRST_SCALE, LossScale, choose_precision, cpu_has_bf16
from realm.arena.stepper import NonFinite, Stepper
from realm.armory.hero_loading import LoadedHero
from realm.armory.hero_presets import HeroPreset
from realm.core.errors import Unavailable


@pytest.mark.parametrize(
    ("wanted", "device", "bf16", "found"),
    [
        ("auto", "cpu", True, "fp32"), ("auto", "cuda", True, "bf16"), ("auto", "cuda", False, "fp32"),
        ("bf16", "cpu", True, "bf16"), ("fp32", "cuda", True, "fp32"), ("fp16", "cuda", False, "fp16"),
    ],
)  # fmt: skip
def test_the_choice(wanted: str, device: str, bf16: bool, found: str):
    assert choose_precision(wanted, device, bf16=bf16) == found


@pytest.mark.parametrize(("wanted", "device"), [("bf16", "cpu"), ("bf16", "cuda"), ("fp16", "cpu")])
def test_what_the_hardware_lacks_is_refused(wanted: str, device: str):
    with pytest.raises(Unavailable, match=wanted):
        choose_precision(wanted, device, bf16=False)


def test_flags_of_the_processor_are_read(tmp_path: Path):
    path = tmp_path / "cpuinfo"
    path.write_text("model name: x\nflags\t\t: fpu avx512_bf16 avx2\n")
    assert cpu_has_bf16(path)
    path.write_text("flags\t\t: fpu avx512_bf16_not avx2\n")
    assert not cpu_has_bf16(path)
    assert not cpu_has_bf16(tmp_path / "none")


@pytest.fixture
def scaled(new_hero: Callable[[], LoadedHero], small_preset: HeroPreset) -> Stepper:
    """A stepper in fp32 with a scaled loss: the scale alone is looked at."""
    hero = new_hero()
    stepper = Stepper(hero.model, small_preset.training, hero.template.pad_id)
    stepper.scale = LossScale()
    return stepper


def test_a_scaled_loss_gives_the_same_step(
    scaled: Stepper, new_hero: Callable[[], LoadedHero], small_preset: HeroPreset, conversations: list[Any]
):
    hero = new_hero()
    plain = Stepper(hero.model, small_preset.training, hero.template.pad_id)
    rows = form_quest(conversations, hero.template, 256).rows[:8]
    one, other = plain.step(rows), scaled.step(rows)
    assert (one.loss, one.grad_norm) == pytest.approx((other.loss, other.grad_norm), rel=1e-6)
    for a, b in zip(plain.model.parameters(), scaled.model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_an_overflow_repeats_the_step_with_half_the_scale(scaled: Stepper, loaded: LoadedHero, conversations: list[Any]):
    rows = form_quest(conversations, loaded.template, 256).rows[:8]
    assert scaled.scale is not None
    scaled.scale.factor = 2.0**200  # no fp32 number is that large: the gradients are infinite
    result = scaled.step(rows)
    assert result.step == 1
    assert 2.0**100 < scaled.scale.factor < 2.0**130
    assert scaled.scale.good == 1


def test_a_loss_that_is_not_finite_is_refused_whatever_the_scale(scaled: Stepper, loaded: LoadedHero, conversations: list[Any]):
    rows = form_quest(conversations, loaded.template, 256).rows[:8]
    with torch.no_grad():
        next(iter(scaled.model.parameters())).fill_(float("nan"))
    with pytest.raises(NonFinite):
        scaled.step(rows)


def test_the_scale_is_part_of_the_state(scaled: Stepper, loaded: LoadedHero, conversations: list[Any]):
    assert scaled.scale is not None
    scaled.scale.overflowed()
    scaled.scale.went_well()
    served, raw, state = scaled.state_tensors()
    scaled.scale = LossScale()
    scaled.load_state(served, raw, state)
    assert (scaled.scale.factor, scaled.scale.good) == (FIRST_SCALE / 2, 1)
