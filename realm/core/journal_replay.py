"""Reading the journal back into an empty facts database."""

from __future__ import annotations

import gzip
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from realm.core import changes
from realm.core.journal import OPEN
from realm.core.journal_lines import FORMAT, read_line, values_of
from realm.core.store import transaction

AT_ONCE = 2000


@dataclass
class Replayed:
    """Rows by table as they stand after the replay, and what of the journal could not be used, in words."""

    rows: dict[str, int] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)


def replay(folder: Path, connection: sqlite3.Connection) -> Replayed:
    """Fill a database without rows from the newest generation whose base is whole, and from those after it.

    A line that its checksum does not fit is left out and told; rows of tables and columns that this version does not
    have are left out and told.
    """
    found, files = Replayed(), _files(folder)
    first = next((number for number in reversed(range(len(files))) if _stands_alone(files[number])), 0)
    connection.execute("PRAGMA foreign_keys=OFF")  # rows come by table, not in the order in which they were made
    for path in files[first:]:
        _take(connection, path, found)
    return found


def _files(folder: Path) -> list[Path]:
    """Return the files of a journal in the order of their rows: by generation, base first, the open one last."""
    closed = sorted(folder.glob("[0-9][0-9][0-9][0-9].*.jsonl.gz"), key=lambda p: (p.name[:4], "base" not in p.name, p.name))
    return [*closed, folder / OPEN] if (folder / OPEN).is_file() else closed


def _lines(path: Path, damage: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of a file; what is not whole is counted and told at the end."""
    bad = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as handle:
            for line in handle:
                told = read_line(line)
                if told is not None:
                    yield told
                elif line.endswith(b"\n"):
                    bad += 1  # a torn end of the open file is no damage: its commit is followed again
    except (OSError, EOFError, zlib.error) as error:
        damage.append(f"{path.name} breaks off: {error}")
    if bad:
        damage.append(f"{path.name}: {bad} lines do not fit their checksum")


def _stands_alone(path: Path) -> bool:
    """Say whether a replay may begin with a file: a whole base, or the first file of a line without one."""
    damage: list[str] = []
    head = end = None
    rows = 0
    for told in _lines(path, damage):
        head = head or told
        if ".base." not in path.name:
            return told.get("format") == FORMAT and not told["base"] and told["seq"] == 0
        end = told.get("end", end)
        rows += "t" in told
    return ".base." in path.name and not damage and head is not None and head.get("format") == FORMAT and end == rows


def _take(connection: sqlite3.Connection, path: Path, found: Replayed) -> None:
    """Apply one file; a whole base replaces what was there, a damaged one adds what it can."""
    keys, unknown = changes.followed(connection), Counter[str]()
    columns = {table: _columns(connection, table) for table in keys}
    block: list[dict[str, Any]] = []
    if ".base." in path.name and _stands_alone(path):
        with transaction(connection):
            for table in keys:
                connection.execute(f"DELETE FROM {table}")
    for told in _lines(path, found.damage):
        if "t" not in told:
            continue
        if told["t"] not in keys:
            unknown[told["t"]] += 1
            continue
        block.append(told)
        if len(block) >= AT_ONCE:
            _apply(connection, block, keys, columns)
            block = []
    _apply(connection, block, keys, columns)
    found.damage += [f"{path.name}: {n} rows of {table}, a table this version does not have" for table, n in unknown.items()]


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[0] for row in connection.execute(f"SELECT name FROM pragma_table_info('{table}')")}


def _apply(
    connection: sqlite3.Connection, block: list[dict[str, Any]], keys: dict[str, tuple[str, ...]], columns: dict[str, set[str]]
) -> None:
    with transaction(connection):
        for told in block:
            table = told["t"]
            if told["r"] is None:
                where = " AND ".join(f"{column} = ?" for column in keys[table])
                connection.execute(f"DELETE FROM {table} WHERE {where}", told["k"])
                continue
            row = {name: value for name, value in values_of(told["r"]).items() if name in columns[table]}
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT OR REPLACE INTO {table}({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
