"""Making and loading a hero: the same bytes for the same seed, loadable by transformers, nothing that runs code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from realm.armory.hero_loading import load_hero
from realm.armory.hero_presets import HeroPreset, get_preset
from realm.armory.tiny_hero import make_tiny_hero
from realm.core.errors import BadInput, Corrupt


@pytest.fixture(scope="module")
def hero(small_preset: HeroPreset, texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_hero(small_preset, texts, 3, tmp_path_factory.mktemp("heroes") / "a")


def test_the_same_seed_gives_the_same_bytes(hero: Path, small_preset: HeroPreset, texts: list[str], tmp_path: Path):
    again = make_tiny_hero(small_preset, texts, 3, tmp_path / "b")
    other = make_tiny_hero(small_preset, texts, 4, tmp_path / "c")
    for path in sorted(hero.iterdir()):
        assert (again / path.name).read_bytes() == path.read_bytes()
    assert (other / "model.safetensors").read_bytes() != (hero / "model.safetensors").read_bytes()


def test_weights_have_the_spread_of_the_preset(hero: Path, small_preset: HeroPreset):
    weights = load_hero(hero).model.state_dict()
    assert float(weights["model.embed_tokens.weight"].std()) == pytest.approx(0.05, rel=0.05)
    assert float(weights["model.layers.1.mlp.up_proj.weight"].std()) == pytest.approx(0.08, rel=0.1)
    assert bool((weights["model.norm.weight"] == 1).all())


def test_transformers_loads_the_folder_and_renders_the_same_frame(hero: Path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded = load_hero(hero)
    tokenizer = AutoTokenizer.from_pretrained(hero)
    row = [{"role": "user", "content": "Compute: add(①, ①)"}, {"role": "assistant", "content": "①⓪"}]
    assert tokenizer.apply_chat_template(row, tokenize=True, return_dict=False) == loaded.template.render(row).ids
    prompt = tokenizer.apply_chat_template(row[:1], tokenize=True, add_generation_prompt=True, return_dict=False)
    assert prompt == loaded.template.render(row[:1], add_generation_prompt=True).ids
    assert tokenizer.eos_token_id == loaded.template.end_id
    model = AutoModelForCausalLM.from_pretrained(hero)
    ids = torch.tensor([prompt])
    assert torch.equal(model(ids).logits, loaded.model(ids).logits)


def test_only_safetensors_are_loaded(hero: Path, tmp_path: Path):
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((hero / name).read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(BadInput, match=r"pytorch_model\.bin"):
        load_hero(tmp_path)


def test_a_folder_without_config_or_tokenizer_is_refused(hero: Path, tmp_path: Path):
    with pytest.raises(BadInput, match=r"config\.json"):
        load_hero(tmp_path)
    (tmp_path / "config.json").write_bytes((hero / "config.json").read_bytes())
    with pytest.raises(BadInput, match=r"tokenizer\.json"):
        load_hero(tmp_path)


@pytest.mark.parametrize("change", [{"num_hidden_layers": 3}, {"num_hidden_layers": 1}, {"hidden_size": 64}])
def test_weights_that_do_not_fit_the_config_are_corrupt(hero: Path, tmp_path: Path, change: dict[str, int]):
    for path in hero.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((hero / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(Corrupt):
        load_hero(tmp_path)


def test_a_truncated_file_is_corrupt(hero: Path, tmp_path: Path):
    for path in hero.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.safetensors").write_bytes((hero / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(Corrupt):
        load_hero(tmp_path)


def test_a_preset_that_is_loaded_cannot_be_made(tmp_path: Path):
    with pytest.raises(BadInput, match="dio"):
        make_tiny_hero(get_preset("dio"), ["x"], 0, tmp_path)
