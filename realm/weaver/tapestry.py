"""The tapestry: what runs on a base directory, read from the store and checked against the machine; changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import psutil

from realm.core.daemon import lock_holder
from realm.core.paths import Paths
from realm.core.store import read_facts
from realm.weaver.orphans import carries
from realm.weaver.services import Service
from realm.weaver.states import State

COLUMNS = ("service", "state", "port", "pid", "since", "restarts", "reason")


@dataclass(frozen=True)
class Strand:
    """One line of the tapestry."""

    service: str
    state: str
    port: int | None = None
    pid: int | None = None
    since: str | None = None
    restarts: int = 0
    reason: str = ""
    instance: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def weaver_pid(paths: Paths) -> int | None:
    """Return the process id of the weaver of this base directory, or None."""
    return lock_holder(paths, "weaver")


def read_rows(paths: Paths) -> list[Strand]:
    """Return the recorded rows as they are; none for a base directory without a store."""
    if not paths.facts_db.is_file():
        return []
    connection = read_facts(paths)
    try:
        # A weaver that starts at this moment has created the file but not its tables yet.
        if not connection.execute("PRAGMA user_version").fetchone()[0]:
            return []
        return [_strand(row) for row in connection.execute("SELECT * FROM services")]
    finally:
        connection.close()


def _strand(row: sqlite3.Row) -> Strand:
    return Strand(
        row["name"], row["state"], row["port"], row["pid"], row["since"], row["restarts"], row["reason"],
        row["instance"] or "",
    )


def read_tapestry(paths: Paths, services: Iterable[Service]) -> list[Strand]:
    """Return one line per service in starting order: those of this host's plan, then others a weaver started.

    A recorded process that is gone is not shown as alive.
    """
    rows = {row.service: row for row in read_rows(paths)}
    weaver = weaver_pid(paths) is not None
    planned = [rows.pop(each.name, Strand(each.name, State.STOPPED, each.port)) for each in services]
    others = list(rows.values()) if weaver else [row for row in rows.values() if is_alive(row, paths)]
    return [checked(row, paths, weaver=weaver) for row in [*planned, *others]]


def checked(row: Strand, paths: Paths, *, weaver: bool) -> Strand:
    """Correct a recorded row by what the machine shows."""
    if row.pid is None:
        claims = row.state not in (State.STOPPED, State.FALLEN)
        return row if weaver or not claims else replace(row, state=State.STOPPED, reason="no weaver runs")
    if not is_alive(row, paths):
        told = "it has ended, the weaver is about to act" if weaver else "its weaver ended without stopping it"
        return replace(row, state=State.STOPPED, pid=None, reason=told)
    return row if weaver else replace(row, reason="left over from a weaver that ended; `realm down` ends it")


def is_alive(row: Strand, paths: Paths) -> bool:
    """Say whether the recorded process is still the one that was started."""
    if row.pid is None:
        return False
    try:
        return carries(psutil.Process(row.pid), paths, {row.instance})
    except psutil.Error:
        return False


def render(strands: Iterable[Strand]) -> str:
    """Return the tapestry as a plain table."""
    lines = [COLUMNS, *(_cells(strand) for strand in strands)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def _cells(strand: Strand) -> tuple[str, ...]:
    values = (strand.service, strand.state, strand.port, strand.pid, strand.since, strand.restarts, strand.reason)
    return tuple("-" if value is None or value == "" else str(value) for value in values)
