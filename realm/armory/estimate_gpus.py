"""GPU presets of the estimate: memory and dense peak rates as NVIDIA's data sheets give them."""

from __future__ import annotations

from typing import NamedTuple


class Gpu(NamedTuple):
    """`memory` in bytes; rates in 10^12 operations a second, 16-bit tensor cores with fp32 accumulation, without sparsity."""

    id: str
    name: str
    memory: int
    tflops_16bit: float
    tflops_fp32: float


GPUS = (
    Gpu("rtx4090", "GeForce RTX 4090", 24 * 2**30, 165.2, 82.6),
    Gpu("rtx3090", "GeForce RTX 3090", 24 * 2**30, 71.0, 35.6),
    Gpu("rtx4080", "GeForce RTX 4080", 16 * 2**30, 97.5, 48.7),
    Gpu("rtx4070", "GeForce RTX 4070", 12 * 2**30, 58.3, 29.1),
)
