"""Open read-only connections that notice when their database changed or was replaced."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from realm.core.paths import Paths
from realm.core.store import read_facts, read_telemetry

Version = tuple[int, int]


class Reader:
    """One read-only connection, used by one thread at a time; reopened when the file under it is another one."""

    def __init__(self, path: Path, connect: Callable[[], sqlite3.Connection]) -> None:
        self._path = path
        self._connect = connect
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._inode = -1

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """Hold the connection; creates an empty database in a home that has none."""
        with self._lock:
            yield self._current()

    def version(self) -> Version:
        """Return a value that changes with every commit of another connection (sqlite.org/pragma.html#pragma_data_version)."""
        with self._lock:
            connection = self._current()
            return self._inode, int(connection.execute("PRAGMA data_version").fetchone()[0])

    def _current(self) -> sqlite3.Connection:
        inode = _inode(self._path)
        if self._connection is None or inode != self._inode:
            self.close()
            self._connection = self._connect()
            self._inode = _inode(self._path)
        return self._connection

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return -1


def facts_reader(paths: Paths) -> Reader:
    return Reader(paths.facts_db, lambda: read_facts(paths))


def telemetry_reader(paths: Paths) -> Reader:
    return Reader(paths.telemetry_db, lambda: read_telemetry(paths))
