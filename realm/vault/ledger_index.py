"""`status/checkpoint_ledger.json`: the index of present checkpoints as one file for scripts; a projection of the store.

Written without fsync when something in it changed, at most once a second; `force` writes a change at once.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from realm.core.clock import SYSTEM, Clock
from realm.core.durable import write_bytes
from realm.core.errors import NoSpace
from realm.core.logs import get_logger
from realm.core.paths import Paths

log = get_logger("ledger_index")
FILE = "checkpoint_ledger.json"
FORMAT = "realm.ledger_index/1"
LEAST_S = 1.0
_Look = tuple[int, ...]
# What this process wrote last, by file: when, and what it saw. Another process's file is simply written again.
_written: dict[Path, tuple[float, _Look]] = {}


def _look(connection: sqlite3.Connection) -> _Look:
    """Return numbers that differ whenever the file would."""
    row = connection.execute(
        "SELECT count(*), coalesce(sum(step), 0), coalesce(max(step), 0), coalesce(sum(pinned * step), 0),"
        " (SELECT coalesce(max(seq), 0) FROM champions) FROM checkpoints WHERE state = 'present'"
    ).fetchone()
    return tuple(int(value) for value in row)


def render(connection: sqlite3.Connection) -> bytes:
    """Return the file's bytes; SQLite makes the JSON, so thousands of records cost milliseconds."""
    [rows] = connection.execute(
        "SELECT json_group_array(json(entry)) FROM (SELECT json_set(json_remove(record, '$.quests'), '$.size', size,"
        " '$.pinned', json(iif(pinned, 'true', 'false'))) AS entry FROM checkpoints WHERE state = 'present' ORDER BY step DESC)"
    ).fetchone()
    champion = connection.execute("SELECT checkpoint FROM champions ORDER BY seq DESC LIMIT 1").fetchone()
    head = {"format": FORMAT, "count": _look(connection)[0], "champion": champion["checkpoint"] if champion else None}
    return f'{json.dumps(head)[:-1]}, "checkpoints": {rows}}}\n'.encode()


def project(paths: Paths, connection: sqlite3.Connection, clock: Clock = SYSTEM, *, force: bool = False) -> bool:
    """Write the file when it is due; returns whether it was written."""
    path, now = paths.status / FILE, clock.monotonic()
    at, seen = _written.get(path, (None, None))
    if at is not None and not force and 0 <= now - at < LEAST_S:
        return False
    look = _look(connection)
    if look == seen and path.is_file():
        return False
    try:
        write_bytes(path, render(connection), durable=False)
    except (OSError, NoSpace) as error:
        # What it shows is committed; a full disk must not make that look undone. The next change writes it.
        log.error("%s could not be written: %s", FILE, error)
        return False
    _written[path] = (now, look)
    return True
