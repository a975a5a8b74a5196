"""A checkpoint folder: complete or not there, readable again bit for bit, and never anything but safetensors and JSON."""

from __future__ import annotations

import errno
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from realm.arena import checkpoint_io
from realm.arena.checkpoint_io import Weights, read_state, read_weights, restore_rng, rng_states, write_checkpoint
from realm.core import durable, manifest
from realm.core.errors import Corrupt, NoSpace
from realm.vault import ledger

NAME = "checkpoint-7-20260101-0000"
RECORD: dict[str, Any] = {
    "step": 7, "timestamp": "2026-01-01T00:00:00.000Z", "hero": "dio", "train_loss": 1.0, "val_loss": None,
    "learning_rate": 0.1, "epoch": 1.0, "skill_name": None, "skill_level": None, "training_file": None, "parent": None,
    "generation": 1, "template_hash": "x", "tokens": 1, "trained_tokens": 1, "seconds": 1.0, "quests": [],
}  # fmt: skip


def weights() -> Weights:
    torch.manual_seed(3)
    return Weights({"a": torch.randn(4, 5)}, {"a": torch.randn(4, 5)}, {"steps": torch.tensor(7), "m/a": torch.randn(4, 5)})


def write(parent: Path, base: Path) -> Path:
    return write_checkpoint(parent, NAME, base, weights(), {"format": checkpoint_io.STATE_FORMAT, "step": 7}, RECORD)[0]


@pytest.fixture
def base(small_home: Path) -> Path:
    return small_home / "models" / "dio"


def test_written_and_read_again(tmp_path: Path, base: Path) -> None:
    folder = write(tmp_path, base)
    found, expected = read_weights(folder), weights()
    for mine, theirs in ((found.served, expected.served), (found.raw, expected.raw), (found.optimiser, expected.optimiser)):
        assert mine is not None
        assert theirs is not None
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    told = manifest.verify(folder)
    record = ledger.read_record(folder / ledger.SIDECAR)
    assert told["weights_sha256"] == record.weights_sha256 == told["files"]["model.safetensors"]["sha256"]
    assert set(told["files"]) == {p.name for p in folder.iterdir()} - {manifest.NAME}
    assert read_state(folder)["step"] == 7
    assert [p.name for p in tmp_path.iterdir()] == [NAME]


def test_the_same_weights_give_the_same_bytes(tmp_path: Path, base: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    for parent in folders:
        parent.mkdir()
        write(parent, base)
    for name in ("model.safetensors", "raw.safetensors", "optimizer.safetensors"):
        assert (folders[0] / NAME / name).read_bytes() == (folders[1] / NAME / name).read_bytes()


@pytest.mark.parametrize("moment", ["save_file", "write_json_fast", "copy_file", "write_json", "commit_dir"])
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, base: Path, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        with durable.disk_errors(tmp_path):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint_io if moment == "save_file" else durable, moment, full)
    with pytest.raises(NoSpace):
        write(tmp_path, base)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_checkpoint_is_never_replaced(tmp_path: Path, base: Path) -> None:
    folder = write(tmp_path, base)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(durable.Conflict):
        write(tmp_path, base)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "realm.state/9"}', "\0"])
def test_a_state_that_is_none_is_corrupt(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(Corrupt):
        read_state(tmp_path)
    (tmp_path / "state.json").unlink()
    with pytest.raises(Corrupt):
        read_state(tmp_path)


def test_random_sources_survive_json() -> None:
    random.seed(5)
    torch.manual_seed(5)
    random.gauss(0, 1)
    saved = json.loads(json.dumps(rng_states()))
    expected = (random.random(), random.gauss(0, 1), torch.randn(4).tolist())
    random.seed(6)
    torch.manual_seed(6)
    restore_rng(saved)
    assert (random.random(), random.gauss(0, 1), torch.randn(4).tolist()) == expected
