"""What only the store knew (events, gates, decisions, crowns, runs, receipts), taken over from a store that can be read."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from realm.core.store import transaction

TABLES = ("events", "gates", "decisions", "champions", "task_runs", "facts", "leases", "receipts", "deaths")


def readable(path: Path, version: int) -> bool:
    """Say whether a database is whole and of this schema version."""
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as old:
            whole = [row[0] for row in old.execute("PRAGMA integrity_check(1)")] == ["ok"]
            return whole and int(old.execute("PRAGMA user_version").fetchone()[0]) == version
    except sqlite3.DatabaseError:
        return False


def salvage(facts: sqlite3.Connection, old: Path) -> dict[str, int]:
    """Copy the rows of TABLES and the pins of checkpoints from `old`; returns table -> rows, empty when it cannot be read.

    Rows that exist already stay as they are.
    """
    version = int(facts.execute("PRAGMA user_version").fetchone()[0])
    if not readable(old, version):
        return {}
    facts.execute("ATTACH DATABASE ? AS old", (str(old),))
    try:
        with transaction(facts):
            taken = {
                table: facts.execute(f"INSERT OR IGNORE INTO main.{table} SELECT * FROM old.{table}").rowcount for table in TABLES
            }
            facts.execute("UPDATE checkpoints SET pinned = 1 WHERE name IN (SELECT name FROM old.checkpoints WHERE pinned = 1)")
    finally:
        facts.execute("DETACH DATABASE old")
    return taken
