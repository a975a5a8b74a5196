"""Loading of a hero's folder into memory: safetensors weights, config.json, tokenizer.json; nothing that runs code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer

from realm.armory.template import ChatTemplate
from realm.core.errors import BadInput, Corrupt

UNSAFE = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


@dataclass(frozen=True)
class LoadedHero:
    """A model with its tokenizer and template; `config` is config.json as written."""

    model: torch.nn.Module
    tokenizer: Tokenizer
    template: ChatTemplate
    config: dict[str, Any]


def load_hero(
    folder: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32, attn: str = "sdpa",
    four_bit: bool = False,
) -> LoadedHero:
    """Load a hero from a local folder, in eval mode.

    Raises BadInput for a folder without safetensors (other weight formats can run code) or without config.json and
    tokenizer.json, Corrupt when weights and config do not fit.
    """
    config = read_config(folder)
    tokenizer = load_tokenizer(folder)
    refuse_unsafe(folder)
    model = _load_model(folder, config, dtype, attn, four_bit=four_bit)
    if not four_bit:  # quantised weights are on the GPU since they were read
        model = model.to(torch.device(device))
    model = model.eval()
    return LoadedHero(model, tokenizer, ChatTemplate(tokenizer), config)


def read_config(folder: Path) -> dict[str, Any]:
    """Return config.json; raises BadInput when it is missing, Corrupt when it is not a JSON object."""
    path = folder / "config.json"
    if not path.is_file():
        raise BadInput(f"{folder} has no config.json", hint="a hero's folder is a transformers model folder")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Corrupt(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise Corrupt(f"{path} is not a JSON object")
    return config


def load_tokenizer(folder: Path) -> Tokenizer:
    """Return the folder's tokenizer.json as a tokenizer."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise BadInput(f"{folder} has no tokenizer.json", hint="save the tokenizer with save_pretrained first")
    return Tokenizer.from_file(str(path))


def refuse_unsafe(folder: Path) -> None:
    """Raise BadInput unless the weights are safetensors."""
    if any(folder.glob("*.safetensors")):
        return
    found = sorted(path.name for pattern in UNSAFE for path in folder.glob(pattern))
    raise BadInput(f"{folder} has no safetensors weights (found: {', '.join(found) or 'none'})",
                   hint="convert the weights to safetensors; other formats can run code when loaded")  # fmt: skip


def _load_model(folder: Path, config: dict[str, Any], dtype: torch.dtype, attn: str, *, four_bit: bool) -> torch.nn.Module:
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    known: dict[str, Any] = {
        "dtype": dtype,
        "attn_implementation": attn,
        "local_files_only": True,
        "use_safetensors": True,
    }
    if four_bit:
        from transformers import BitsAndBytesConfig

        known["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.bfloat16
        )
        known["device_map"] = {"": 0}
    try:
        if config.get("model_type") == "qwen3":
            # Imported by its own path: the lazy auto classes import every architecture's table first.
            from transformers.models.qwen3.modeling_qwen3 import Qwen3ForCausalLM

            loaded, report = Qwen3ForCausalLM.from_pretrained(folder, output_loading_info=True, **known)
        else:
            from transformers import AutoModelForCausalLM

            loaded, report = AutoModelForCausalLM.from_pretrained(
                folder, output_loading_info=True, trust_remote_code=False, **known
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise Corrupt(f"{folder.name}: the model cannot be loaded: {error}") from error
    missing = sorted(report["missing_keys"]) + sorted(report["unexpected_keys"])
    if missing:
        raise Corrupt(f"{folder.name}: weights and config do not fit: {', '.join(missing[:5])}")
    model: torch.nn.Module = loaded
    return model
