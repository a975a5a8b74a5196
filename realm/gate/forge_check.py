"""The forge check of the first run: what training needs of this machine, each row good or with what to do."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import psutil

from realm.armory.hero_choice import Machine
from realm.core import durable
from realm.core.errors import NoSpace
from realm.core.paths import Paths

NEWEST_PYTHON = (3, 14)
LEAST_FREE = 1_000_000_000
LEAST_RAM = 3_000_000_000


def this_machine(paths: Paths) -> Machine:
    """Read memory, free disk and the largest GPU of this machine, in bytes."""
    return Machine(psutil.virtual_memory().total, shutil.disk_usage(paths.home).free, largest_gpu())


def largest_gpu() -> int | None:
    """Return the memory of the largest NVIDIA GPU in bytes, None without one."""
    import pynvml

    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return max((int(pynvml.nvmlDeviceGetMemoryInfo(handle).total) for handle in handles), default=None)
    except pynvml.NVMLError:
        return None


def forge_checks(paths: Paths) -> Iterator[dict[str, Any]]:
    """Yield `{"id", "good", "text", "fix"}` for Python, torch, GPU, disk and a write in the base directory."""
    version = sys.version_info[:2]
    shown = ".".join(map(str, sys.version_info[:3]))
    yield _row("python", (3, 11) <= version <= NEWEST_PYTHON, f"Python {shown}", "use Python 3.11 to 3.14")
    missing = [name for name in ("torch", "transformers") if find_spec(name) is None]
    yield _row("torch", not missing, "torch and transformers are installed" if not missing else f"{missing[0]} is missing",
               "install the extra [training]")  # fmt: skip
    machine = this_machine(paths)
    gpu = f"a GPU with {machine.gpu / 1e9:.0f} GB" if machine.gpu else "no NVIDIA GPU; the hero trains on the processor"
    yield _row("gpu", True, gpu, "")
    ram = f"{machine.ram / 1e9:.0f} GB of memory"
    yield _row("memory", machine.ram >= LEAST_RAM, ram, "all services together take about 1.5 GB with a tiny hero")
    yield _row("disk", machine.disk_free >= LEAST_FREE, f"{machine.disk_free / 1e9:.1f} GB of disk free", "free at least 1 GB")
    yield _write_test(paths)


def _write_test(paths: Paths) -> dict[str, Any]:
    """Write, flush and remove a file where state is kept."""
    probe = paths.run / "write-test"
    fix = "give a base directory that can be written, with --home"
    try:
        durable.write_bytes(probe, b"x")
        durable.remove_file(probe)
    except (OSError, NoSpace) as error:
        return _row("write", False, f"the base directory cannot be written: {error}", fix)
    return _row("write", True, "the base directory can be written", fix)


def _row(check: str, good: bool, text: str, fix: str) -> dict[str, Any]:
    return {"id": check, "good": good, "text": text, "fix": "" if good else fix}
