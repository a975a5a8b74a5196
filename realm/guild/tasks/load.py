"""How busy the machine is: the GPU's use where there is one, else the processor's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil

WINDOW_S = 1.0


@dataclass(frozen=True)
class Load:
    """Use of a device in percent, and which device was looked at."""

    device: str
    percent: float


Probe = Callable[[], Load]


def gpu_load(name: str | None = None) -> Load | None:
    """Return the use of the first NVIDIA GPU, or of the first whose name contains `name`; None when there is none."""
    import pynvml

    try:
        pynvml.nvmlInit()
        for number in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(number)
            found = str(pynvml.nvmlDeviceGetName(handle))
            if name is None or name.lower() in found.lower():
                return Load(found, float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu))
    except pynvml.NVMLError:
        return None
    return None


def machine_load(gpu: str | None = None) -> Load:
    """Return the GPU's load, else the processor's over one second."""
    return gpu_load(gpu) or Load("cpu", psutil.cpu_percent(interval=WINDOW_S))


def device_stats() -> list[dict[str, Any]]:
    """Return use and memory (bytes) of the processor and of every NVIDIA GPU; `percent` of the processor since the last call."""
    import pynvml

    memory = psutil.virtual_memory()
    found: list[dict[str, Any]] = [{"device": "cpu", "kind": "cpu", "percent": psutil.cpu_percent(interval=None),
                                    "memory_used": memory.used, "memory_total": memory.total}]  # fmt: skip
    try:
        pynvml.nvmlInit()
        for number in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(number)
            held = pynvml.nvmlDeviceGetMemoryInfo(handle)
            found.append({
                "device": str(pynvml.nvmlDeviceGetName(handle)), "kind": "gpu",
                "percent": float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu),
                "memory_used": int(held.used), "memory_total": int(held.total),
            })  # fmt: skip
    except pynvml.NVMLError:
        return found
    return found
