"""Hashing files at a bounded share of a core, noticing one that changes meanwhile."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from realm.core.errors import Unavailable
from realm.vault.keeper.asset_files import BLOCK, safe_open
from realm.vault.keeper.finds import Mark, mark_of

# Called after every block with its bytes; it waits as long as its rule says.
Pace = Callable[[int], None]


def full_speed(_bytes: int) -> None:
    """Wait for nothing."""


class Share:
    """Keeps a thread at a share of one core: after `spent` seconds of its processor time it waits spent * (1/share - 1)."""

    def __init__(self, share: float, wait: Callable[[float], object], spent: Callable[[], float] = time.thread_time) -> None:
        self._rest = 1 / share - 1
        self._wait = wait
        self._spent = spent
        self._last = spent()

    def __call__(self, _bytes: int) -> None:
        if (used := self._spent() - self._last) > 0.005:
            self._wait(used * self._rest)
            self._last = self._spent()


def hash_file(root: Path, relative: str, pace: Pace = full_speed) -> tuple[str, Mark]:
    """Return the SHA-256 of a file below `root` and the mark it had throughout.

    Raises Unavailable when it was written meanwhile, Unknown when it is gone, Corrupt when it is no plain file.
    """
    digest = hashlib.sha256()
    with safe_open(root, relative) as handle:
        before = mark_of(os.fstat(handle.fileno()))
        while block := handle.read(BLOCK):
            digest.update(block)
            pace(len(block))
        if mark_of(os.fstat(handle.fileno())) != before:
            raise Unavailable(f"{relative} is being written", hint="it is looked at the next time")
    return digest.hexdigest(), before
