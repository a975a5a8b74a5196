"""Bringing a pretrained hero into the home: from a local Hugging Face folder or from the hub; safetensors only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from realm.core.durable import copy_file
from realm.core.errors import BadInput, Unavailable

TEXT_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json")
NEEDED = ("config.json", "tokenizer.json", "model.safetensors")


def copy_folder(source: Path, target: Path) -> None:
    """Copy a causal LM's files; raises BadInput naming what the folder lacks."""
    missing = [name for name in NEEDED if not (source / name).is_file()]
    if missing:
        sharded = (source / "model.safetensors.index.json").is_file()
        hint = "merge its shards into one model.safetensors" if sharded else "give a folder saved by save_pretrained"
        raise BadInput(f"{source} lacks {', '.join(missing)}", hint=hint)
    config = _read_json(source / "config.json")
    if config.get("auto_map"):
        raise BadInput(f"{source} needs code of its own to load (auto_map)", hint="only architectures of transformers")
    for name in (*TEXT_FILES, "model.safetensors"):
        if (source / name).is_file():
            copy_file(source / name, target / name)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not JSON: {error}", hint="give a folder saved by save_pretrained") from error
    if not isinstance(found, dict):
        raise BadInput(f"{path} is not a JSON object", hint="give a folder saved by save_pretrained")
    return found


def fetch_hub(repository: str, target: Path) -> None:
    """Fetch a model from the hub and copy it; raises Unavailable when the hub cannot be reached."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        found = snapshot_download(repository, allow_patterns=[*TEXT_FILES, "*.safetensors"])
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise Unavailable(
            f"{repository} cannot be fetched: {type(error).__name__}",
            hint="check the network, or give a local folder: realm hero create --base FOLDER; without a GPU: --preset tiny",
        ) from error
    copy_folder(Path(found), target)
