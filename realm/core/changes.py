"""Which rows of the facts database changed, noted by triggers in the transaction of the change, for the journal to follow.

Every table is followed unless NOT_FOLLOWED says why not; a change is the table, the primary key and a random mark.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# table -> why nothing is lost without it
NOT_FOLLOWED = {
    "changes": "the notes themselves",
    "services": "states of processes; the weaver writes them anew",
    "replies": "answers for repeated requests, of use for minutes",
    "assets": "the catalogue: found again by a scan of the places it names",
    "asset_manifests": "as the assets",
    "locations": "as the assets",
    "scanned_files": "digests of files that did not change; read anew",
}
_KEYS = ("k1", "k2", "k3", "k4")
_BEGUN = ""  # the table of the note that says: what was there before it was not noted


@dataclass(frozen=True)
class Place:
    """A place in the line of changes: its number and the mark of its row; (0, 0) is before the first."""

    seq: int
    mark: int


@dataclass(frozen=True)
class Change:
    """One noted change: which row of which table, by primary key."""

    place: Place
    table: str
    key: tuple[Any, ...]


START = Place(0, 0)


def make_table(connection: sqlite3.Connection) -> None:
    """Create the table of notes; a database that holds rows already says so by a note of its own."""
    connection.execute(
        "CREATE TABLE changes (seq INTEGER PRIMARY KEY AUTOINCREMENT, mark INTEGER NOT NULL DEFAULT (random()),"
        " tbl TEXT NOT NULL, k1, k2, k3, k4)"
    )
    if any(connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() for table in followed(connection)):
        begin_anew(connection)


def begin_anew(connection: sqlite3.Connection) -> None:
    """Forget all notes and say that rows are there which were never noted."""
    connection.execute("DELETE FROM changes")
    connection.execute("INSERT INTO changes(tbl) VALUES (?)", (_BEGUN,))


def followed(connection: sqlite3.Connection) -> dict[str, tuple[str, ...]]:
    """Return table -> columns of its primary key, of every followed table.

    Raises ValueError for a table without a primary key (its rows could not be told apart), or with one of many columns.
    """
    listed = connection.execute("SELECT name, type FROM pragma_table_list WHERE schema = 'main' ORDER BY name")
    found = {}
    for name, kind in listed.fetchall():
        if kind == "table" and not name.startswith("sqlite_") and name not in NOT_FOLLOWED:
            columns = connection.execute(f"SELECT name FROM pragma_table_info('{name}') WHERE pk > 0 ORDER BY pk")
            found[name] = tuple(row[0] for row in columns)
            if not 0 < len(found[name]) <= len(_KEYS):
                raise ValueError(f"table {name} has a primary key of {len(found[name])} columns; the journal follows 1 to 4")
    return found


def install(connection: sqlite3.Connection) -> None:
    """Make the triggers of every followed table anew, inside the caller's transaction."""
    if not connection.execute("SELECT 1 FROM pragma_table_list WHERE name = 'changes'").fetchone():
        return
    for table, columns in followed(connection).items():
        new, old = (", ".join(f"{side}.{column}" for column in columns) for side in ("NEW", "OLD"))
        note = f"INSERT INTO changes(tbl, {', '.join(_KEYS[: len(columns)])}) SELECT '{table}',"
        moved = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in columns)
        bodies = {
            "insert": f"{note} {new};",
            "update": f"{note} {old} WHERE {moved}; {note} {new};",
            "delete": f"{note} {old};",
        }
        for when, body in bodies.items():
            connection.execute(f"DROP TRIGGER IF EXISTS follow_{table}_{when}")
            connection.execute(f"CREATE TRIGGER follow_{table}_{when} AFTER {when.upper()} ON {table} BEGIN {body} END")


def whole_from_start(connection: sqlite3.Connection) -> bool:
    """Say whether the notes reach back to the first row of this database."""
    row = connection.execute("SELECT seq, tbl FROM changes ORDER BY seq LIMIT 1").fetchone()
    return row is None or (row["seq"] == 1 and row["tbl"] != _BEGUN)


def knows(connection: sqlite3.Connection, place: Place) -> bool:
    """Say whether a place lies in this database's own line: the same number with the same mark."""
    if place == START:
        return whole_from_start(connection)
    return connection.execute("SELECT 1 FROM changes WHERE seq = ? AND mark = ?", (place.seq, place.mark)).fetchone() is not None


def newest(connection: sqlite3.Connection) -> Place:
    """Return the last noted place."""
    row = connection.execute("SELECT seq, mark FROM changes ORDER BY seq DESC LIMIT 1").fetchone()
    return Place(row["seq"], row["mark"]) if row else START


def after(connection: sqlite3.Connection, place: Place, tables: Mapping[str, tuple[str, ...]]) -> list[Change]:
    """Return the changes after a place; of several to one row only the last. `tables` is what `followed` says."""
    width = {table: 3 + len(columns) for table, columns in tables.items()}
    rows = connection.execute("SELECT seq, mark, tbl, k1, k2, k3, k4 FROM changes WHERE seq > ? ORDER BY seq", (place.seq,))
    last = {tuple(row)[2 : width[row[2]]]: Place(row[0], row[1]) for row in rows if row[2] in width}
    found = [Change(place, key[0], key[1:]) for key, place in last.items()]
    return sorted(found, key=lambda change: change.place.seq)


def row_of(connection: sqlite3.Connection, change: Change, keys: dict[str, tuple[str, ...]]) -> dict[str, Any] | None:
    """Return the row of a change as it is now, None when it is gone."""
    where = " AND ".join(f"{column} = ?" for column in keys[change.table])
    row = connection.execute(f"SELECT * FROM {change.table} WHERE {where}", change.key).fetchone()
    return None if row is None else dict(row)


def all_rows(connection: sqlite3.Connection) -> Iterator[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """Yield (table, primary key, row) of every followed table."""
    for table, key in followed(connection).items():
        for row in connection.execute(f"SELECT * FROM {table} ORDER BY {', '.join(key)}"):
            yield table, tuple(row[column] for column in key), dict(row)


def forget_until(connection: sqlite3.Connection, place: Place) -> int:
    """Drop notes before a place that the journal holds durably; the place itself stays, to be compared. Returns how many."""
    return connection.execute("DELETE FROM changes WHERE seq < ?", (place.seq,)).rowcount
