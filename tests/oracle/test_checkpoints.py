from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from realm.core.errors import BadInput, Conflict, Corrupt, Unknown
from realm.core.manifest import write_manifest
from realm.oracle.checkpoints import find_source, list_sources, read_verified, step_of
from tests.oracle.conftest import Home


@pytest.mark.parametrize(("name", "step"), [
    ("checkpoint-100-20261122-1200", 100), ("checkpoint-0-20261122-1200", 0), ("checkpoint-100", None),
    ("checkpoint-0100-20261122-1200", None), ("checkpoint-100-20261122-1200-x", None), (".checkpoint-5-20261122-1200.tmp", None),
    ("checkpoint--5-20261122-1200", None), ("checkpoint-1e3-20261122-1200", None),
])  # fmt: skip
def test_only_canonical_names_have_a_step(name: str, step: int | None) -> None:
    assert step_of(name) == step


def test_steps_are_numbers_and_exact(home: Home) -> None:
    for step in (100, 99, 1000):
        home.add(step)
    assert list(list_sources(home.paths)) == [0, 99, 100, 1000]
    assert find_source(home.paths, 100).folder.name == "checkpoint-100-20261122-1200"
    with pytest.raises(Unknown, match="step 10") as caught:
        find_source(home.paths, 10)
    assert "0, 99, 100, 1000" in caught.value.hint


def test_the_later_folder_of_a_step_counts(home: Home) -> None:
    home.add(5, "20261122-1300")
    home.add(5, "20261122-1200")
    assert find_source(home.paths, 5).model_path == "models/current_model/checkpoint-5-20261122-1300"


def test_step_zero_is_the_hero_of_the_config(home: Home) -> None:
    shutil.copytree(home.base, home.paths.models / "other")
    facts = json.loads((home.base / "hero.json").read_text()) | {"id": "other"}
    (home.paths.models / "other" / "hero.json").write_text(json.dumps(facts))
    with pytest.raises(BadInput, match="2 heroes"):
        list_sources(home.paths)
    home.paths.config.write_text(json.dumps({"hero": "other"}))
    assert list_sources(home.paths)[0].model_path == "models/other"
    home.paths.config.write_text(json.dumps({"hero": "gone"}))
    with pytest.raises(Unknown, match="gone"):
        list_sources(home.paths)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "hero.json"])
def test_one_changed_bit_is_corrupt(home: Home, name: str) -> None:
    folder = home.add(3)
    assert read_verified(find_source(home.paths, 3)).model == folder.name
    flip(folder / name)
    with pytest.raises(Corrupt, match=name):
        read_verified(find_source(home.paths, 3))


def test_a_truncated_file_is_corrupt(home: Home) -> None:
    path = home.add(3) / "model.safetensors"
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(Corrupt, match="bytes"):
        read_verified(find_source(home.paths, 3))


def test_the_manifest_must_be_of_this_step_and_folder(home: Home) -> None:
    folder = home.add(3)
    write_manifest(folder, 30, folder.name)
    with pytest.raises(Corrupt, match="step 30"):
        read_verified(find_source(home.paths, 3))
    write_manifest(folder, 3, "checkpoint-3-20200101-0000")
    with pytest.raises(Corrupt, match="belongs to"):
        read_verified(find_source(home.paths, 3))
    (folder / "manifest.json").unlink()
    with pytest.raises(Corrupt, match="no manifest"):
        read_verified(find_source(home.paths, 3))


def test_a_link_is_not_followed(home: Home, tmp_path: Path) -> None:
    weights = home.add(3) / "model.safetensors"
    weights.rename(tmp_path / "outside")
    weights.symlink_to(tmp_path / "outside")
    with pytest.raises(Corrupt, match="link"):
        read_verified(find_source(home.paths, 3))


def test_a_folder_dropped_meanwhile_is_unknown(home: Home) -> None:
    folder = home.add(3)
    source = find_source(home.paths, 3)
    (folder / "model.safetensors").unlink()
    with pytest.raises(Unknown, match="dropped"):
        read_verified(source)


def test_the_loaded_digest_is_of_the_bytes_and_the_files_are_not_read_again(home: Home) -> None:
    from realm.oracle.mind import open_mind

    folder = home.add(3)
    read = read_verified(find_source(home.paths, 3))
    shutil.rmtree(folder)
    mind = open_mind(read)
    assert (mind.step, mind.model, mind.hero) == (3, folder.name, "tiny")
    assert mind.answer([[{"role": "user", "content": "add"}]], max_new_tokens=2)[0].tokens in (1, 2)


def test_a_hero_trained_with_another_template_is_refused(home: Home) -> None:
    from realm.oracle.mind import open_mind

    def foreign(folder: Path) -> None:
        (folder / ".ledger.json").write_text(json.dumps({"template_hash": "0" * 64}))

    home.add(3, change=foreign)
    with pytest.raises(Conflict, match="template"):
        open_mind(read_verified(find_source(home.paths, 3)))


def test_bytes_that_are_no_model_are_corrupt(home: Home) -> None:
    from realm.oracle.mind import open_mind

    home.add(3, change=lambda folder: (folder / "model.safetensors").write_bytes(b"not safetensors at all"))
    with pytest.raises(Corrupt, match="safetensors"):
        open_mind(read_verified(find_source(home.paths, 3)))
    home.add(4, change=lambda folder: (folder / "config.json").write_text('{"model_type": "qwen3"}'))
    with pytest.raises(Corrupt, match=r"config\.json"):
        open_mind(read_verified(find_source(home.paths, 4)))


@pytest.mark.slow
def test_any_causal_model_with_a_chatml_tokenizer_can_be_loaded(home: Home) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import GPT2Config, GPT2LMHeadModel

    from realm.oracle.mind import open_mind

    def become_gpt2(folder: Path) -> None:
        size = json.loads((folder / "config.json").read_text())["vocab_size"]
        config = GPT2Config(vocab_size=size, n_positions=128, n_embd=32, n_layer=2, n_head=2, bos_token_id=None, eos_token_id=2)
        torch.manual_seed(1)
        weights = GPT2LMHeadModel(config).state_dict()
        del weights["lm_head.weight"]
        save_file({name: weight.contiguous() for name, weight in weights.items()}, folder / "model.safetensors")
        (folder / "config.json").write_text(config.to_json_string())

    home.add(8, change=become_gpt2)
    mind = open_mind(read_verified(find_source(home.paths, 8)))
    rows = [[{"role": "user", "content": text}] for text in ("add", "a longer message")]
    together = mind.answer(rows, max_new_tokens=5)
    assert together == [mind.answer([row], max_new_tokens=5)[0] for row in rows]
    assert mind.nbytes > 100_000

    def lose_a_weight(folder: Path) -> None:
        become_gpt2(folder)
        from safetensors.torch import load_file

        weights = load_file(folder / "model.safetensors")
        del weights["transformer.h.1.ln_1.weight"]
        save_file(weights, folder / "model.safetensors")

    home.add(9, change=lose_a_weight)
    with pytest.raises(Corrupt, match="ln_1"):
        open_mind(read_verified(find_source(home.paths, 9)))


def test_half_precision_weights_are_computed_in_fp32_on_a_processor(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from realm.oracle.mind import open_mind

    def halve(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        save_file({name: weight.to(torch.bfloat16) for name, weight in weights.items()}, folder / "model.safetensors")

    monkeypatch.setenv("REALM_ORACLE_DEVICE", "cpu")
    folder = home.add(6, change=halve)
    mind = open_mind(read_verified(find_source(home.paths, 6)))
    assert mind.nbytes == pytest.approx(2 * (folder / "model.safetensors").stat().st_size, rel=0.05)
    assert mind.answer([[{"role": "user", "content": "add"}]], max_new_tokens=3)[0].tokens <= 3
