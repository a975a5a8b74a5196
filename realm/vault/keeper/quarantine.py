"""A checkpoint whose bytes are wrong is put where nothing looks for checkpoints: `models/current_model/.quarantine/`."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from realm.core import durable, events
from realm.core.ids import new_ulid
from realm.core.logs import get_logger
from realm.core.paths import Paths
from realm.core.store import transaction
from realm.vault import ledger

log = get_logger("quarantine")
QUARANTINE = ".quarantine"


def quarantine(paths: Paths, connection: sqlite3.Connection, folder: Path, reason: str) -> Path:
    """Move a checkpoint's folder aside, drop it from the index with its waiting evals, and say why; returns where it is."""
    aside = paths.current_model / QUARANTINE
    aside.mkdir(exist_ok=True)
    target = aside / folder.name
    if target.exists():
        target = aside / f"{folder.name}.{new_ulid()}"
    durable.move(folder, target)
    with transaction(connection):
        connection.execute("UPDATE checkpoints SET state = 'dropped' WHERE name = ?", (folder.name,))
        connection.execute(
            "UPDATE evals SET state = 'dropped', reason = ? WHERE checkpoint = ? AND state = 'queued'", (reason, folder.name)
        )
        data = {"check": "checkpoint", "name": folder.name, "reason": reason}
        events.append(connection, "patrol.failed", subject=folder.name, step=ledger.extract_step(folder.name), data=data)
    log.error("quarantined %s: %s", folder.name, reason)
    return target
