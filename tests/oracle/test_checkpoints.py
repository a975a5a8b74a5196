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
