"""Bringing in a pretrained hero: what a folder must hold, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from realm.armory.base_folder import copy_folder, fetch_hub
from realm.core.errors import BadInput, Unavailable
from realm.core.paths import Paths


@pytest.fixture
def source(small_home: Path, tmp_path: Path) -> Path:
    shutil.copytree(small_home / "models" / "dio", tmp_path / "source")
    return tmp_path / "source"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def test_only_what_a_model_needs_is_copied(source: Path, target: Path) -> None:
    (source / "evil.py").write_text("raise SystemExit")
    (source / "pytorch_model.bin").write_bytes(b"x")
    copy_folder(source, target)
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= {p.name for p in target.iterdir()}
    assert not {"evil.py", "pytorch_model.bin", "manifest.json", "hero.json"} & {p.name for p in target.iterdir()}
    assert (target / "model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_what_is_missing_is_named(source: Path, target: Path, name: str) -> None:
    (source / name).unlink()
    with pytest.raises(BadInput, match=name):
        copy_folder(source, target)
    assert list(target.iterdir()) == []


def test_shards_are_named(source: Path, target: Path) -> None:
    (source / "model.safetensors").rename(source / "model.safetensors.index.json")
    with pytest.raises(BadInput, match="shards"):
        copy_folder(source, target)


@pytest.mark.parametrize("data", [b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_broken_config_is_bad_input(source: Path, target: Path, data: bytes) -> None:
    (source / "config.json").write_bytes(data)
    with pytest.raises(BadInput, match=r"config\.json"):
        copy_folder(source, target)


def test_a_model_that_brings_code_is_refused(source: Path, target: Path) -> None:
    (source / "config.json").write_text('{"auto_map": {"AutoModel": "evil.Evil"}}')
    with pytest.raises(BadInput, match="auto_map"):
        copy_folder(source, target)


def test_weights_that_are_none_leave_no_hero(home: Paths, source: Path) -> None:
    from realm.gate.founding import create_hero

    (source / "model.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(BadInput, match="safetensors"):
        create_hero(home, str(source), "other", name=None, seed=0)
    assert sorted(p.name for p in home.models.iterdir()) == ["current_model", "dio"]


def test_no_hub_is_said_with_what_to_do(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def gone(*_: object, **__: object) -> str:
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", gone)
    with pytest.raises(Unavailable, match="give a local folder"):
        fetch_hub("someone/something", target)
