"""Snapshots: whole checkpoints below `snapshots/`, one a day, and those that must survive when the hero goes back."""

from __future__ import annotations

import re
from pathlib import Path

from realm.core import durable, manifest
from realm.core.clock import SYSTEM, Clock
from realm.core.errors import Conflict
from realm.core.paths import Paths
from realm.vault import ledger
from realm.vault.keeping.archivist import take_folder

KEPT = 7
_DAILY = re.compile(r"daily-([0-9]{8})\Z")


def keep(paths: Paths, folder: Path, name: str) -> Path:
    """Keep a checkpoint's folder as a snapshot, by links where the file system has them, and verify every byte of it.

    One that is there already is left alone. Raises Corrupt when the folder is not whole; then no snapshot is there.
    """
    target = paths.snapshots / name
    if target.is_dir():
        manifest.verify(target)
        return target
    making = durable.new_dir(paths.snapshots, name)
    try:
        take_folder(folder, making / folder.name)
        manifest.verify(making / folder.name)
        durable.commit_dir(making / folder.name, target)
    except Conflict:
        return target
    finally:
        durable.remove_tree(making)
    return target


def keep_daily(paths: Paths, clock: Clock = SYSTEM) -> Path | None:
    """Keep the newest checkpoint as the snapshot of the day, and the last seven of them; None without a checkpoint."""
    found = ledger.folders(paths)
    if not found:
        return None
    kept = keep(paths, found[-1], f"daily-{clock.now():%Y%m%d}")
    for old in sorted(path for path in paths.snapshots.iterdir() if _DAILY.match(path.name))[:-KEPT]:
        durable.remove_tree(old)
    return kept
