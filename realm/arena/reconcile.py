"""After a crash: folders and sidecars win over the store, and the newest checkpoint that is whole is where training goes on."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from realm.arena.quest import from_row, id_of_file, quest_path, sidecar_of
from realm.arena.saver import EnqueueEvals, finish
from realm.core import durable, events, manifest
from realm.core.clock import SYSTEM, Clock, stamp
from realm.core.errors import Corrupt
from realm.core.logs import get_logger
from realm.core.paths import BOARD_FOLDERS, PRIORITIES, Paths
from realm.core.store import transaction
from realm.vault import ledger

log = get_logger("reconcile")
QUARANTINE = ".quarantine"
_STATE_OF_FOLDER = {"processing": "processing", "recently_completed": "completed", "failed": "failed"}


def sweep_leftovers(paths: Paths) -> list[str]:
    """Remove what a crash left half-made in the folders the arena writes."""
    removed = durable.sweep_leftovers(paths.current_model)
    removed += durable.sweep_leftovers(paths.home / "queue")
    for name in removed:
        log.warning("removed the half-made %s", name)
    return removed


def mend_board(paths: Paths, connection: sqlite3.Connection) -> list[str]:
    """Make the quests table agree with the folders; returns what was changed, in words."""
    changed: list[str] = []
    for folder in BOARD_FOLDERS:
        for path in sorted(paths.queue(folder).glob("*.jsonl")):
            changed += _mend_file(paths, connection, folder, path)
    for row in connection.execute("SELECT * FROM quests WHERE state NOT IN ('deleted', 'completed')").fetchall():
        quest = from_row(row)
        if not _there(quest_path(paths, quest)):
            _say_lost(connection, quest.id, quest.name)
            changed.append(f"{quest.name}: its file is gone")
    return changed


def _there(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def _mend_file(paths: Paths, connection: sqlite3.Connection, folder: str, path: Path) -> list[str]:
    quest_id = id_of_file(path.name)
    row = connection.execute("SELECT * FROM quests WHERE id = ?", (quest_id,)).fetchone() if quest_id else None
    if row is None:
        return [_to_inbox(paths, folder, path)]
    quest = from_row(row)
    if _there(quest_path(paths, quest)) and quest_path(paths, quest) == path:
        return []
    if quest.state in ("rejected", "skipped") and folder == "failed":
        return []
    state, priority = _STATE_OF_FOLDER.get(folder, "queued"), folder if folder in PRIORITIES else quest.priority
    stray = [sidecar_of(paths.queue(other) / path.name) for other in BOARD_FOLDERS if other != folder]
    for beside in stray:
        if beside.exists() and not sidecar_of(path).exists():
            durable.rename_noreplace(beside, sidecar_of(path))
    with transaction(connection):
        connection.execute("UPDATE quests SET state = ?, priority = ? WHERE id = ?", (state, priority, quest.id))
    return [f"{quest.name}: its file lies in {folder}/, the store said {quest.state}"]


def _to_inbox(paths: Paths, folder: str, path: Path) -> str:
    """A file that nobody took in goes through the gate like any other."""
    below = paths.inbox / folder if folder in PRIORITIES else paths.inbox
    below.mkdir(exist_ok=True)
    durable.move(path, below / path.name)
    return f"{path.name}: put into {folder}/ by hand, sent through the inbox"


def _say_lost(connection: sqlite3.Connection, quest_id: str, name: str) -> None:
    reason = "its file is gone from the board"
    with transaction(connection):
        connection.execute(
            "UPDATE quests SET state = 'deleted', reason = ?, changed_at = ? WHERE id = ?",
            (reason, stamp(SYSTEM.now()), quest_id),
        )
        events.append(connection, "queue.failed", subject=quest_id, data={"name": name, "reason": reason})


def newest_whole(paths: Paths, connection: sqlite3.Connection) -> Path | None:
    """Return the newest checkpoint whose every byte matches its manifest; damaged ones are moved into quarantine."""
    for folder in reversed(ledger.folders(paths)):
        try:
            manifest.verify(folder)
            ledger.read_record(folder / ledger.SIDECAR)
            return folder
        except Corrupt as damage:
            _quarantine(paths, connection, folder, str(damage))
    return None


def _quarantine(paths: Paths, connection: sqlite3.Connection, folder: Path, reason: str) -> None:
    aside = paths.current_model / QUARANTINE
    aside.mkdir(exist_ok=True)
    durable.rename_noreplace(folder, aside / folder.name)
    with transaction(connection):
        connection.execute("UPDATE checkpoints SET state = 'dropped' WHERE name = ?", (folder.name,))
        connection.execute(
            "UPDATE evals SET state = 'dropped', reason = ? WHERE checkpoint = ? AND state = 'queued'", (reason, folder.name)
        )
        data = {"check": "checkpoint", "name": folder.name, "reason": reason}
        events.append(connection, "patrol.failed", subject=folder.name, step=ledger.extract_step(folder.name), data=data)
    log.error("quarantined %s: %s", folder.name, reason)


def mend_index(paths: Paths, connection: sqlite3.Connection) -> list[str]:
    """Say of indexed checkpoints whose folder is gone that they are dropped."""
    gone = []
    for row in connection.execute("SELECT name, record FROM checkpoints WHERE state = 'present'").fetchall():
        if not (paths.current_model / row["name"]).is_dir():
            record = ledger.Record.model_validate_json(row["record"])
            with transaction(connection):
                ledger.drop_from_index(connection, record, "its folder is gone")
            gone.append(row["name"])
    return gone


def take_back_quests(paths: Paths, connection: sqlite3.Connection, step: int) -> list[str]:
    """Quests that only a later, now unusable checkpoint contained are fought again."""
    taken = []
    rows = connection.execute(
        "SELECT q.* FROM quests q JOIN checkpoints c ON c.name = q.checkpoint WHERE q.state = 'completed' AND c.step > ?", (step,)
    ).fetchall()
    for row in rows:
        quest = from_row(row)
        source = quest_path(paths, quest)
        target = paths.queue("processing") / quest.file
        if source.exists():
            durable.move(source, target)
            with transaction(connection):
                connection.execute("UPDATE quests SET state = 'processing', checkpoint = NULL WHERE id = ?", (quest.id,))
                data = {"name": quest.name, "reason": "the checkpoint that contained it is not usable"}
                events.append(connection, "queue.restored", subject=quest.id, step=step, data=data)
            taken.append(quest.name)
    return taken


def reconcile(
    paths: Paths, connection: sqlite3.Connection, enqueue_evals: EnqueueEvals, clock: Clock = SYSTEM
) -> Path | None:
    """Bring folders, sidecars and store together and return the checkpoint to go on from, None for the base hero."""
    sweep_leftovers(paths)
    for line in mend_board(paths, connection):
        log.warning("board: %s", line)
    newest = newest_whole(paths, connection)
    for name in mend_index(paths, connection):
        log.warning("ledger: the folder of %s is gone", name)
    if newest is not None:
        record = ledger.read_record(newest / ledger.SIDECAR)
        finish(paths, connection, record, newest, {}, enqueue_evals, clock)
    ledger.adopt(paths, connection)
    take_back_quests(paths, connection, ledger.extract_step(newest.name) if newest else 0)
    return newest

