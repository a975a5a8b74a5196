"""The arithmetic of a battle: which precision the hardware has, and the scaled loss that fp16 needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch

from realm.core.errors import Unavailable

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
CPUINFO = Path("/proc/cpuinfo")
CPU_BF16 = ("avx512_bf16", "amx_bf16", "bf16")  # flags of x86, and Features of ARM
FIRST_SCALE, SMALLEST_SCALE, GROW_AFTER = 2.0**16, 2.0**-14, 2000


def cpu_has_bf16(cpuinfo: Path = CPUINFO) -> bool:
    """Say whether the processor multiplies bf16 itself; without that bf16 is emulated, about a hundred times slower."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith(("flags", "Features"))), [])
    return any(flag in flags for flag in CPU_BF16)


def has_bf16(device: str) -> bool:
    """Say whether a device computes in bf16 without emulation."""
    return bool(torch.cuda.is_bf16_supported(including_emulation=False)) if device == "cuda" else cpu_has_bf16()


def choose_precision(wanted: str, device: str, *, bf16: bool | None = None) -> Precision:
    """Return the precision to train in; `auto` is bf16 on a GPU that has it, else fp32.

    Raises Unavailable for one that was named and is not there: bf16 without hardware for it, fp16 on a CPU.
    """
    there = has_bf16(device) if bf16 is None else bf16
    if wanted == "auto":
        return "bf16" if device == "cuda" and there else "fp32"
    if wanted == "bf16":
        if not there:
            raise Unavailable(f"config.json asks for bf16, this {device} has no bf16 arithmetic",
                              hint="realm config set training.precision auto")  # fmt: skip
        return "bf16"
    if wanted == "fp16":
        if device != "cuda":
            raise Unavailable("config.json asks for fp16, which is trained on a GPU only",
                              hint="realm config set training.precision auto")  # fmt: skip
        return "fp16"
    return "fp32"


class LossScale:
    """The factor on an fp16 loss that keeps small gradients above zero: halved on overflow, doubled after many good steps.

    Source: Micikevicius et al., "Mixed precision training" (2018).
    """

    def __init__(self) -> None:
        self.factor, self.good = FIRST_SCALE, 0

    def overflowed(self) -> bool:
        """Halve the factor after gradients that are not finite; False when it cannot be halved any more."""
        self.factor, self.good = self.factor / 2, 0
        return self.factor >= SMALLEST_SCALE

    def went_well(self) -> None:
        self.good += 1
        if self.good == GROW_AFTER:
            self.factor, self.good = self.factor * 2, 0

    def state(self) -> dict[str, torch.Tensor]:
        return {"loss_scale": torch.tensor([self.factor, float(self.good)], dtype=torch.float64)}

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        if "loss_scale" in state:
            self.factor, self.good = float(state["loss_scale"][0]), int(state["loss_scale"][1])
