"""Freed memory stays with the training process: glibc otherwise hands every large tensor back and faults it in anew.

Without this a step of the tiny hero takes ten thousand page faults, a tenth of its time. Source: mallopt(3).
"""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8  # names of malloc.h
KEPT = 2**30  # bytes of free memory at the end of the heap that are kept
LARGEST = 2**28  # bytes of a tensor that comes from the heap; a larger one is mapped and given back

# The steps of a larger hero are long enough for page faults not to matter, and what it frees should go back.
MOST_WEIGHT_BYTES = 2**26


def keep_for(hero: Path) -> bool:
    """Keep freed memory where the weights in a hero's folder are few; says whether it is kept."""
    return sum(file.stat().st_size for file in hero.glob("*.safetensors")) <= MOST_WEIGHT_BYTES and keep_freed_memory()


def keep_freed_memory() -> bool:
    """Tell glibc to keep what is freed, in one heap for all threads; False where there is no glibc to tell."""
    if platform.libc_ver()[0] != "glibc":
        return False
    tell = ctypes.CDLL(None).mallopt
    return all(tell(name, value) for name, value in ((ARENA_MAX, 1), (MMAP_THRESHOLD, LARGEST), (TRIM_THRESHOLD, KEPT)))
