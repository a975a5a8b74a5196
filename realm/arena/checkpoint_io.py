"""Writing and reading the files of a checkpoint: safetensors and JSON only, complete or not there at all.

Files: model.safetensors (what is served), raw.safetensors (training weights, with EMA), optimizer.safetensors, state.json
(`realm.state/1`: step, cursors, RNG states, configuration, versions), the hero's config and tokenizer, `.ledger.json`,
and manifest.json, written last. The folder is assembled under a hidden name and renamed when everything is on disk.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file

from realm.arena.tensor_file import TensorFile
from realm.core import durable, manifest
from realm.core.errors import Corrupt
from realm.core.ids import sha256_file
from realm.core.version import version
from realm.vault.ledger import SIDECAR, Record

STATE = "state.json"
STATE_FORMAT = "realm.state/1"
RAW, OPTIMISER = "raw.safetensors", "optimizer.safetensors"
HERO_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "hero.json")

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Weights:
    """Tensors of one moment: served weights, training weights when they differ, optimiser state."""

    served: Tensors
    raw: Tensors | None
    optimiser: Tensors


def rng_states() -> dict[str, Any]:
    """Return the states of the global random sources as JSON values."""
    kind, numbers, gauss = random.getstate()
    return {
        "python": [kind, list(numbers), gauss],
        "torch": base64.b64encode(torch.get_rng_state().numpy().tobytes()).decode(),
    }


def restore_rng(states: dict[str, Any]) -> None:
    """Set the global random sources to saved states."""
    kind, numbers, gauss = states["python"]
    random.setstate((kind, tuple(numbers), gauss))
    data = bytearray(base64.b64decode(states["torch"]))
    torch.set_rng_state(torch.frombuffer(data, dtype=torch.uint8))


def versions() -> dict[str, str]:
    """Return what a bit-exact repetition depends on."""
    processes = os.environ.get("WORLD_SIZE", "1")
    return {
        **({"processes": processes} if processes != "1" else {}),
        "realm": version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "machine": platform.machine(),
        "threads": str(torch.get_num_threads()),
    }


def write_tensors(folder: Path, weights: Weights) -> None:
    """Write the tensor files of a checkpoint into a folder that is being made; raises NoSpace."""
    with durable.disk_errors(folder):
        save_file(dict(weights.served), folder / manifest.WEIGHTS, {"format": "pt"})
        if weights.raw is not None:
            save_file(dict(weights.raw), folder / RAW, {"format": "pt"})
        save_file(dict(weights.optimiser), folder / OPTIMISER)


def write_checkpoint(
    parent: Path, name: str, base: Path, weights: Weights, state: dict[str, Any], record: dict[str, Any]
) -> tuple[Path, Record]:
    """Write a whole checkpoint and return its folder and record; raises NoSpace with nothing left behind.

    `record` lacks `weights_sha256`, which is taken from the bytes written.
    """
    folder = durable.new_dir(parent, name)
    try:
        write_tensors(folder, weights)
        durable.write_json_fast(folder / STATE, state)
        for file in HERO_FILES:
            if (base / file).is_file():
                durable.copy_file(base / file, folder / file)
        with durable.flushing(folder):
            digest = sha256_file(folder / manifest.WEIGHTS)
            complete = Record(**record, canonical_name=name, weights_sha256=digest)
            durable.write_json(folder / SIDECAR, json.loads(complete.model_dump_json()))
            manifest.write_manifest(folder, complete.step, name, weights_sha256=digest)
        durable.commit_dir(folder, parent / name)
    except BaseException:
        if folder.exists():
            durable.remove_tree(folder)
        raise
    return parent / name, complete


def read_state(folder: Path) -> dict[str, Any]:
    """Return state.json of a checkpoint; raises Corrupt when it is missing or of another format."""
    path = folder / STATE
    try:
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Corrupt(f"{folder.name}/{STATE} cannot be read: {error}") from error
    found = state.get("format") if isinstance(state, dict) else None
    if found != STATE_FORMAT:
        raise Corrupt(f"{folder.name}/{STATE} has format {found!r}, this version reads {STATE_FORMAT}")
    return state


def read_weights(folder: Path) -> Weights:
    """Return the tensors of a checkpoint whose manifest was verified; each is read when it is asked for."""
    raw = folder / RAW
    return Weights(
        TensorFile(folder / manifest.WEIGHTS), TensorFile(raw) if raw.exists() else None, TensorFile(folder / OPTIMISER)
    )
