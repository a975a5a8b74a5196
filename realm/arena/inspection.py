"""Checks of the quest board and of the evals, and their rows made anew from folders and sidecars."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

from realm.arena.quests.quest import from_row, id_of_file, quest_path, sidecar_of
from realm.core.clock import SYSTEM, stamp
from realm.core.errors import Corrupt
from realm.core.findings import Finding
from realm.core.ids import sha256_file
from realm.core.paths import BOARD_FOLDERS, PRIORITIES, Paths
from realm.core.store import transaction
from realm.vault import ledger

CHECK = "board"
_STATES = {"processing": "processing", "recently_completed": "completed", "failed": "failed"}


def check_board(paths: Paths, connection: sqlite3.Connection) -> list[Finding]:
    """Compare the board's folders with the quests table, contents included."""
    rows = {row["id"]: from_row(row) for row in connection.execute("SELECT * FROM quests")}
    found: list[Finding] = []
    for folder in BOARD_FOLDERS:
        for path in sorted(paths.queue(folder).glob("*.jsonl")):
            quest_id = id_of_file(path.name)
            quest = rows.get(quest_id) if quest_id else None
            if quest is None:
                found.append(Finding(CHECK, path.name, f"lies in {folder}/ but the store does not know it"))
            elif quest_path(paths, quest) != path:
                found.append(Finding(CHECK, quest.name, f"lies in {folder}/, the store says {quest.state}"))
            elif quest.sha256 and sha256_file(path) != quest.sha256:
                found.append(Finding(CHECK, quest.name, "its bytes are not the ones that were accepted", "drop it again"))
    for quest in rows.values():
        path = quest_path(paths, quest)
        if quest.state not in ("deleted", "completed") and not (path.exists() or path.is_symlink()):
            found.append(Finding(CHECK, quest.name, f"is {quest.state}, but its file is gone"))
    return found


def check_evals(paths: Paths, connection: sqlite3.Connection) -> list[Finding]:
    """Compare finished evals with their report files and with the digest of the weights that answered."""
    found = []
    rows = connection.execute(
        "SELECT e.*, c.weights_sha256 AS expected FROM evals e LEFT JOIN checkpoints c ON c.name = e.checkpoint"
        " WHERE e.state = 'done'"
    )
    for row in rows:
        name = f"{row['checkpoint']} {row['skill']} L{row['level']} {row['kind']}"
        if row["expected"] and row["weights_sha256"] != row["expected"]:
            found.append(Finding("evals", name, "was answered by other weights than its checkpoint's"))
        if row["file"] and not (paths.home / row["file"]).is_file():
            found.append(Finding("evals", name, f"its report {row['file']} is gone"))
    return found


def rebuild_board(paths: Paths, connection: sqlite3.Connection) -> int:
    """Add the quests of the board's folders, by the sidecars beside the files, that the table lacks; returns how many there are.

    A row that says that its file lies elsewhere gives way to the folder; attempts and arrival are kept from it.
    """
    consumed = _consumed(paths)
    number = 0
    for folder in BOARD_FOLDERS:
        for path in sorted(paths.queue(folder).glob("*.jsonl")):
            quest_id = id_of_file(path.name)
            if quest_id is not None:
                row = connection.execute("SELECT * FROM quests WHERE id = ?", (quest_id,)).fetchone()
                if row is not None and not os.path.lexists(quest_path(paths, from_row(row))):
                    connection.execute("DELETE FROM quests WHERE id = ?", (quest_id,))
                _insert(connection, quest_id, folder, path, consumed.get(quest_id))
                if row is not None:
                    kept = (row["attempts"], row["arrival"], quest_id)
                    connection.execute("UPDATE quests SET attempts = ?, arrival = ? WHERE id = ?", kept)
                number += 1
    return number


def _consumed(paths: Paths) -> dict[str, tuple[str, ledger.ConsumedRows]]:
    """Return quest id -> (checkpoint, last range) over all known sidecars."""
    records = [ledger.read_record(folder / ledger.SIDECAR) for folder in ledger.folders(paths)]
    records += list(ledger.dropped_records(paths))
    found: dict[str, tuple[str, ledger.ConsumedRows]] = {}
    for record in sorted(records, key=lambda r: r.step):
        for part in record.quests:
            found[part.quest] = (record.canonical_name, part)
    return found


def _sidecar(path: Path) -> dict[str, Any]:
    beside = sidecar_of(path)
    if not beside.is_file():
        return {}
    try:
        meta: dict[str, Any] = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Corrupt(f"the sidecar {beside.name} is not JSON: {error}") from error
    return meta


def _insert(
    connection: sqlite3.Connection, quest_id: str, folder: str, path: Path, part: tuple[str, ledger.ConsumedRows] | None
) -> None:
    meta = _sidecar(path)
    extra = meta.get("extra", {})
    label = meta.get("name") or path.name.removeprefix(f"{quest_id}.")
    state, priority = _STATES.get(folder, "queued"), folder if folder in PRIORITIES else extra.get("priority", "normal")
    refused = meta.get("validation_errors") or []
    if refused:
        state = "rejected"
    reason = "; ".join(refused) if state != "failed" else "rebuilt from the folder; why it failed is not in its sidecar"
    rows, now = int(meta.get("example_count") or 0), stamp(SYSTEM.now())
    done = round(rows * part[1].to_step / max(1, part[1].steps)) if part else 0
    digest = "" if path.is_symlink() or not path.is_file() else sha256_file(path)
    with transaction(connection):
        connection.execute(
            "INSERT OR IGNORE INTO quests(id, name, file, sha256, size, state, priority, rows, rows_done, steps, tokens, skill,"
            " level, kind, generator, arrived_at, changed_at, checkpoint, reason) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (quest_id, label, path.name, digest, path.lstat().st_size, state, priority,
             rows, done, part[1].steps if part else None, extra.get("tokens"), extra.get("skill"), extra.get("level"),
             extra.get("kind", "dropped"), meta.get("generator_id"), meta.get("validated_at") or now, now,
             part[0] if part else None, reason),
        )  # fmt: skip
