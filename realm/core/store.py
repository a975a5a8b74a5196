"""The two SQLite files: facts (durable at commit) and telemetry (fast), with numbered migrations.

Sources: sqlite.org/pragma.html, sqlite.org/wal.html; a facts commit survives a power cut (synchronous=FULL).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from realm.core.errors import Conflict, Corrupt, NoSpace
from realm.core.migrations import FACTS, TELEMETRY
from realm.core.paths import Paths

Migration = Callable[[sqlite3.Connection], None]
BUSY_MS = 5000


def _connect(path: Path, synchronous: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_MS / 1000, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    for pragma in (
        "journal_mode=WAL",
        f"synchronous={synchronous}",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_MS}",
        "trusted_schema=OFF",
        "cell_size_check=ON",
        f"journal_size_limit={64 * 1024 * 1024}",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Run a short write transaction (`BEGIN IMMEDIATE`); rolls back on any exception. Raises NoSpace on a full disk."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.OperationalError) and "full" in str(error):
            raise NoSpace("no space left to write the database", hint="free space; nothing was changed") from error
        raise


def migrate(connection: sqlite3.Connection, path: Path, steps: Sequence[Migration]) -> None:
    """Bring a database to the newest schema, one transaction a step, with a backup beside it before the first.

    Raises Conflict for a database written by a newer version; leaves it untouched.
    """
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found > len(steps):
        raise Conflict(
            f"{path.name} has schema {found}, this version knows {len(steps)}",
            hint="start the newer version of the realm, or give another --home",
        )
    if found == len(steps):
        return
    if found > 0:
        _backup_before(connection, path, found)
    for number in range(found, len(steps)):
        _apply(connection, number, steps[number])


def _backup_before(connection: sqlite3.Connection, path: Path, version: int) -> None:
    target = path.with_name(f"{path.stem}.before-{version + 1}.db")
    if not target.exists():
        connection.execute("VACUUM INTO ?", (str(target),))


def _apply(connection: sqlite3.Connection, number: int, step: Migration) -> None:
    with transaction(connection):
        # Another process may have migrated between our look and our lock.
        if int(connection.execute("PRAGMA user_version").fetchone()[0]) != number:
            return
        step(connection)
        connection.execute(f"PRAGMA user_version={number + 1}")


def _open(path: Path, synchronous: str, steps: Sequence[Migration]) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = _connect(path, synchronous)
        migrate(connection, path, steps)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        raise Corrupt(f"{path.name} is damaged: {error}", hint="run `realm doctor --rebuild`") from error
    return connection


def open_facts(paths: Paths) -> sqlite3.Connection:
    """Open (and migrate) the facts database for writing; raises Conflict when newer, Corrupt when damaged."""
    return _open(paths.facts_db, "FULL", FACTS)


def open_telemetry(paths: Paths) -> sqlite3.Connection:
    """Open (and migrate) the telemetry database for writing."""
    return _open(paths.telemetry_db, "NORMAL", TELEMETRY)


def _read(path: Path, make: Callable[[], sqlite3.Connection]) -> sqlite3.Connection:
    """Open a database for reading; one that is missing or just being made by another process is made first."""
    if not path.exists():
        make().close()
    connection = sqlite3.connect(
        f"file:{path}?mode=ro", uri=True, isolation_level=None, timeout=BUSY_MS / 1000, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA query_only=ON")
    if int(connection.execute("PRAGMA user_version").fetchone()[0]) == 0:
        # The file exists but its tables do not yet: wait for whoever makes them, by making them.
        make().close()
    return connection


def read_facts(paths: Paths) -> sqlite3.Connection:
    """Open the facts database for reading; a home that has none yet gets an empty one."""
    return _read(paths.facts_db, lambda: open_facts(paths))


def read_telemetry(paths: Paths) -> sqlite3.Connection:
    """Open the telemetry database for reading; a home that has none yet gets an empty one."""
    return _read(paths.telemetry_db, lambda: open_telemetry(paths))
