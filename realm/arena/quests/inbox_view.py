"""What lies in the inbox and why it was not taken yet, for the quest page."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from realm.arena.quests import intake
from realm.core.paths import Paths

SHOWN = 50


def reason_of(path: Path) -> str:
    """Say why a file of the inbox still waits; looks at it without changing or following anything."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return "not a plain file: it is set aside in a moment"
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return f"it cannot be looked at: {error.strerror}"
    try:
        if intake.being_written(descriptor):
            return "a process still has it open for writing"
    finally:
        os.close(descriptor)
    return f"it is taken once it has not changed for {intake.SETTLE_S:g} seconds"


def inbox_view(paths: Paths, limit: int = SHOWN) -> list[dict[str, str]]:
    """Return name and reason of the first `limit` files that wait."""
    found = intake.waiting_files(paths.inbox)
    rows: list[dict[str, str]] = []
    for path in found:
        if len(rows) == limit:
            break
        rows.append({"name": intake.shown(path.relative_to(paths.inbox).as_posix()), "reason": reason_of(path)})
    return rows
