"""Low-rank adapters through peft: attached to a loaded hero, merged into its weights for serving.

A checkpoint stays whole: model.safetensors holds the merged weights under the model's own names, raw.safetensors the
adapter's matrices. Training goes on from the base hero's frozen weights and the adapter, so it is repeated bit for bit.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from realm.armory.hero_presets import Adapter
from realm.core.errors import BadInput, Unavailable

TARGETS = {
    "attention": ("q_proj", "v_proj"),
    "linear": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
}
BASE = ".base_layer."


def require(adapter: Adapter, device: str) -> None:
    """Raise Unavailable naming what an adapter needs and this installation lacks."""
    if adapter.kind == "none":
        return
    if find_spec("peft") is None:
        raise Unavailable(f"training.adapter.kind {adapter.kind} needs the package peft",
                          hint="pip install 'realm-of-training[adapters]'")  # fmt: skip
    if adapter.kind == "qlora" and device != "cuda":
        raise Unavailable("training.adapter.kind qlora needs an NVIDIA GPU", hint="realm config set training.adapter.kind lora")
    if adapter.kind == "qlora" and find_spec("bitsandbytes") is None:
        raise Unavailable("training.adapter.kind qlora needs the package bitsandbytes",
                          hint="pip install 'realm-of-training[four-bit]'")  # fmt: skip


def attach(model: nn.Module, adapter: Adapter) -> nn.Module:
    """Freeze a model and put adapters beside its matrices, in place; their first weights come from torch's generator.

    Raises BadInput when the model has none of the matrices.
    """
    if adapter.kind == "none":
        return model
    from peft import LoraConfig, inject_adapter_in_model

    names = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    targets = [name for name in TARGETS[adapter.targets] if name in names]
    if not targets:
        raise BadInput(f"the model has no matrix for an adapter (looked for {', '.join(TARGETS[adapter.targets])})",
                       hint="training.adapter.kind none trains any causal LM")  # fmt: skip
    config = LoraConfig(r=adapter.rank, lora_alpha=adapter.alpha, target_modules=targets, lora_dropout=0.0, bias="none")
    injected: nn.Module = inject_adapter_in_model(config, model)
    return injected


def adapted(model: nn.Module) -> bool:
    return any(hasattr(module, "lora_A") for module in model.modules())


def plain_name(name: str) -> str:
    """Return a frozen weight's name in the model without adapters."""
    return name.replace(BASE, ".")


def merged_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the model's own names → weights with the adapters added in, as a model without adapters holds them."""
    modules: list[tuple[str, Any]] = [(name, part) for name, part in model.named_modules() if hasattr(part, "lora_A")]
    layers = {f"{name}{BASE}weight": part for name, part in modules}
    found = {}
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".lora_" in name:
                continue
            layer = layers.get(name)
            whole = weight if layer is None else _dense(weight) + layer.get_delta_weight("default")
            found[plain_name(name)] = whole.detach().clone(memory_format=torch.contiguous_format)
    return found


def _dense(weight: torch.Tensor) -> torch.Tensor:
    """Return a weight as numbers; 4-bit ones are expanded."""
    if getattr(weight, "quant_state", None) is None:
        return weight
    from bitsandbytes.functional import dequantize_4bit

    whole: torch.Tensor = dequantize_4bit(weight.data, weight.quant_state)  # type: ignore[attr-defined]
    return whole.float()
