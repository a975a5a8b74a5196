"""A base directory with assets of every type, made of small files; weights are a true safetensors file."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

from realm.core import manifest
from realm.core.paths import Paths
from realm.vault.keeper.finds import Mark

TOKENIZER = b'{"version": "1.0"}' * 300


def tensors(value: int) -> bytes:
    """A safetensors file of one 2 x 2 float32 tensor; format: huggingface.co/docs/safetensors."""
    head = json.dumps({"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}).encode()
    return struct.pack("<Q", len(head)) + head + struct.pack("<4f", *[value] * 4)


def record(step: int, name: str) -> dict[str, object]:
    return {
        "canonical_name": name, "step": step, "timestamp": "2026-01-01T00:00:00.000Z", "hero": "small", "train_loss": 1.5,
        "val_loss": None, "learning_rate": 0.001, "epoch": 1.0, "skill_name": "bin", "skill_level": 1,
        "training_file": None, "parent": None, "generation": 1, "weights_sha256": "0" * 64, "template_hash": "t",
        "tokens": 1, "trained_tokens": 1, "seconds": 1.0, "quests": [],
    }  # fmt: skip


def make_checkpoint(paths: Paths, step: int, value: int | None = None, day: int = 1, tokenizer: bytes = TOKENIZER) -> Path:
    """Write a whole checkpoint folder; `value` is what its weights hold, by default its step."""
    name = f"checkpoint-{step}-202601{day:02}-0000"
    folder = paths.current_model / name
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(tensors(step if value is None else value))
    (folder / "tokenizer.json").write_bytes(tokenizer)
    (folder / "config.json").write_bytes(b'{"hidden_size": 2}')
    (folder / ".ledger.json").write_text(json.dumps(record(step, name)))
    manifest.write_manifest(folder, step, name)
    return folder


def make_model(paths: Paths, name: str = "dio") -> Path:
    folder = paths.models / name
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(tensors(0))
    (folder / "tokenizer.json").write_bytes(TOKENIZER)
    (folder / "hero.json").write_text(json.dumps({"id": name, "name": "DIO", "model": "tiny", "preset": "tiny"}))
    return folder


def fill(paths: Paths) -> None:
    """One asset of every type, two checkpoints."""
    for step in (50, 100):
        make_checkpoint(paths, step)
    make_model(paths, "Qwen3-0.6B")
    (paths.data / "train_syllo_abc.jsonl").write_text('{"messages": []}\n')
    (paths.data / "train_syllo_abc.jsonl.meta.json").write_text('{"generator_id": "sy_skill", "example_count": 1}')
    paths.config.write_text("{}")
    for folder in (paths.snapshots / "2026-01-01", paths.backups / "before"):
        folder.mkdir(parents=True)
        (folder / "realm.db").write_bytes(b"bytes")


def flip(path: Path, position: int = 0, *, quietly: bool = False) -> None:
    """Change one bit; `quietly` leaves size, time and inode as they were, as a rotting disk does."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.chmod(0o644)
    with path.open("r+b") as handle:
        handle.write(bytes(data))
    if quietly:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def mark(path: Path) -> Mark:
    found = path.stat()
    return Mark(found.st_size, found.st_mtime_ns, found.st_ino)
