"""LoRA: what is trained and what is frozen, merged weights served, exact resume, clear refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from realm.arena import adapters
from realm.arena.formation.rows import EncodedRow, form_quest
from realm.arena.stepper import Stepper, fix_numerics
from realm.armory.hero_loading import LoadedHero
from realm.armory.hero_presets import Adapter, HeroPreset
from realm.core.errors import BadInput, Unavailable

LORA = Adapter(kind="lora", rank=4, alpha=8)


@pytest.fixture(scope="module", autouse=True)
def _fixed():
    threads = torch.get_num_threads()
    fix_numerics(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def make(new_hero: Callable[[], LoadedHero], small_preset: HeroPreset) -> Callable[..., Stepper]:
    def build(adapter: Adapter = LORA, **change: Any) -> Stepper:
        torch.manual_seed(5)
        hero = new_hero()
        training = small_preset.training.model_copy(update={"adapter": adapter, **change})
        return Stepper(adapters.attach(hero.model, adapter), training, hero.template.pad_id)

    return build


@pytest.fixture(scope="module")
def rows(loaded: LoadedHero, conversations: list[Any]) -> list[EncodedRow]:
    return form_quest(conversations, loaded.template, 256).rows


def test_only_the_adapter_is_trained(make: Callable[..., Stepper], rows: list[EncodedRow], loaded: LoadedHero):
    stepper = make(ema_decay=None)
    assert stepper.lean is None
    assert all(".lora_" in name for buffer in stepper.optimiser.buffers for name in buffer.names)
    first = stepper.step(rows[:8]).loss
    for _ in range(15):
        last = stepper.step(rows[:8]).loss
    assert last < first
    base = dict(loaded.model.named_parameters())
    frozen = {n: p for n, p in stepper.model.named_parameters() if ".lora_" not in n}
    assert {adapters.plain_name(name) for name in frozen} == set(base)
    assert all(torch.equal(weight, base[adapters.plain_name(name)]) for name, weight in frozen.items())


@pytest.mark.parametrize("ema", [None, 0.9])
def test_merged_weights_answer_as_the_adapted_model(
    make: Callable[..., Stepper], rows: list[EncodedRow], new_hero: Callable[[], LoadedHero], ema: float | None
):
    stepper = make(ema_decay=ema)
    for _ in range(3):
        stepper.step(rows[:8])
    served, raw, _ = stepper.state_tensors()
    plain = new_hero().model
    assert set(served) == {name for name, _ in plain.named_parameters()}
    plain.load_state_dict(served, strict=False)
    ids = torch.tensor([rows[0].ids])
    with torch.no_grad(), stepper.served() as model:
        assert torch.allclose(plain(ids).logits, model(ids).logits, atol=1e-5)
    assert raw is not None
    assert all(".lora_" in name for name in raw)


@pytest.mark.parametrize("ema", [None, 0.9])
def test_ten_steps_equal_five_saved_loaded_and_five(
    make: Callable[..., Stepper], rows: list[EncodedRow], tmp_path: Path, ema: float | None
):
    steps = [rows[n : n + 7] for n in range(0, 70, 7)][:10]
    straight, first = make(ema_decay=ema), make(ema_decay=ema)
    for step in steps:
        straight.step(step)
    for step in steps[:5]:
        first.step(step)
    served, raw, state = first.state_tensors()
    assert raw is not None
    for name, tensors in (("served", served), ("raw", raw), ("state", state)):
        save_file(tensors, tmp_path / name)
    second = make(ema_decay=ema)
    for parameter in (p for p in second.model.parameters() if p.requires_grad):
        parameter.data.normal_()  # whatever it began with, the saved adapter replaces it
    second.load_state(*(load_file(tmp_path / name) for name in ("served", "raw", "state")))
    for step in steps[5:]:
        second.step(step)
    for one, other in zip(straight.state_tensors(), second.state_tensors(), strict=True):
        assert one is not None
        assert other is not None
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_attention_targets_are_query_and_value_alone(make: Callable[..., Stepper]):
    stepper = make(LORA.model_copy(update={"targets": "attention"}))
    found = {name.split(".lora_")[0].rsplit(".", 1)[-1] for buffer in stepper.optimiser.buffers for name in buffer.names}
    assert found == {"q_proj", "v_proj"}


def test_what_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch):
    adapters.require(Adapter(), "cpu")
    adapters.require(LORA, "cpu")
    with pytest.raises(Unavailable, match="qlora needs an NVIDIA GPU"):
        adapters.require(Adapter(kind="qlora"), "cpu")
    monkeypatch.setattr(adapters, "find_spec", lambda name: None if name == "bitsandbytes" else object())
    with pytest.raises(Unavailable, match="needs the package bitsandbytes"):
        adapters.require(Adapter(kind="qlora"), "cuda")
    monkeypatch.setattr(adapters, "find_spec", lambda name: None)
    with pytest.raises(Unavailable, match="needs the package peft"):
        adapters.require(LORA, "cpu")


def test_a_model_without_these_matrices_is_refused():
    with pytest.raises(BadInput, match="no matrix for an adapter"):
        adapters.attach(torch.nn.Sequential(torch.nn.Linear(2, 2)), LORA)
