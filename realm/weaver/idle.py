"""Whether the realm has nothing left to do (`realm up --until-idle`)."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from realm.arena.quests.intake import waiting
from realm.core.paths import Paths
from realm.core.store import read_facts

# A finished quest queues its evals and a taken file its quest within this time.
QUIET_S = 4.0
# Files that nobody takes although everything else is done do not keep the realm up for ever.
UNTAKEN_S = 60.0


@dataclass(frozen=True)
class Work:
    """What is left: quests and evals in the store, names in the inbox."""

    quests: int = 0
    evals: int = 0
    files: tuple[str, ...] = ()

    def __str__(self) -> str:
        counts = {"quests": self.quests, "evals": self.evals, "files in the inbox": len(self.files)}
        return ", ".join(f"{number} {what}" for what, number in counts.items() if number) or "nothing"


@dataclass(frozen=True)
class Quiet:
    """Since when nothing has been left, and since when nothing but the same inbox files (monotonic seconds)."""

    nothing_since: float | None = None
    files_since: float | None = None
    files: tuple[str, ...] = ()


def work_left(paths: Paths) -> Work:
    """Count what waits or is under way."""
    connection = read_facts(paths)
    try:
        quests = _count(connection, "SELECT count(*) FROM quests WHERE state IN ('queued', 'processing')")
        evals = _count(connection, "SELECT count(*) FROM evals WHERE state = 'queued'")
    finally:
        connection.close()
    return Work(quests, evals, tuple(waiting(paths)))


def _count(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])


def settle(quiet: Quiet, work: Work, now: float) -> tuple[Quiet, bool]:
    """Return the new quiet and whether the realm may end. Pure."""
    if work.quests or work.evals:
        return Quiet(), False
    if not work.files:
        since = now if quiet.nothing_since is None else quiet.nothing_since
        return Quiet(nothing_since=since), now - since >= QUIET_S
    unchanged = quiet.files == work.files and quiet.files_since is not None
    since = quiet.files_since if unchanged and quiet.files_since is not None else now
    return Quiet(files_since=since, files=work.files), now - since >= UNTAKEN_S
