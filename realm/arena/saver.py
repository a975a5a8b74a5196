"""Saving beside the training: a snapshot is taken at the step boundary, a thread writes and commits it.

The commit is the rename of the folder. What follows (quests moved to completed, index, evals queued, retention) is a
projection that `reconcile` repeats after a crash.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realm.arena import board
from realm.arena.checkpoint_io import Weights, write_checkpoint
from realm.arena.quest import Quest, from_row
from realm.core import events
from realm.core.clock import Clock, stamp
from realm.core.errors import RealmError
from realm.core.logs import get_logger
from realm.core.paths import Paths
from realm.core.store import open_facts, transaction
from realm.vault import ledger, retention
from realm.vault.ledger import ConsumedRows, Record

log = get_logger("saver")
STEPS_PER_LEVEL = 1000

EnqueueEvals = Callable[[sqlite3.Connection, str, int], None]


@dataclass(frozen=True)
class Snapshot:
    """Everything one checkpoint holds; `record` lacks name and digest, `ends` says how quests that are not done ended."""

    step: int
    weights: Weights
    state: dict[str, Any]
    record: dict[str, Any]
    ends: dict[str, str]


@dataclass(frozen=True)
class Outcome:
    """How the last save ended: the committed record, or the error that prevented it."""

    record: Record | None
    error: RealmError | None
    seconds: float


class Saver:
    """At most one save in flight; `start` waits for the one before."""

    def __init__(
        self, paths: Paths, base: Path, keep: retention.Keep, enqueue_evals: EnqueueEvals, clock: Clock
    ) -> None:
        self._paths, self._base, self._keep, self._enqueue, self._clock = paths, base, keep, enqueue_evals, clock
        self._thread: threading.Thread | None = None
        self._outcome: Outcome | None = None
        self._crash: BaseException | None = None

    def start(self, snapshot: Snapshot) -> Outcome | None:
        """Begin to save and return at once; returns the outcome of the save before when nobody took it yet."""
        before = self.wait()
        self._thread = threading.Thread(target=self._run, args=(snapshot,), name="saver")
        self._thread.start()
        return before

    @property
    def busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def wait(self) -> Outcome | None:
        """Wait for the save in flight and return its outcome once; raises what was not expected to fail."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._crash is not None:
            raise self._crash
        outcome, self._outcome = self._outcome, None
        return outcome

    def take(self) -> Outcome | None:
        """Return the outcome of a finished save once, None while one is in flight."""
        return None if self.busy else self.wait()

    def _run(self, snapshot: Snapshot) -> None:
        begin = self._clock.monotonic()
        try:
            record = self._save(snapshot)
            self._outcome = Outcome(record, None, self._clock.monotonic() - begin)
        except RealmError as error:
            log.error("checkpoint at step %d was not saved: %s", snapshot.step, error)
            self._outcome = Outcome(None, error, self._clock.monotonic() - begin)
        except BaseException as error:  # noqa: BLE001
            # Handed to the training thread, which ends the process: the weaver starts it again from the last checkpoint.
            self._crash = error

    def _save(self, snapshot: Snapshot) -> Record:
        begin = self._clock.monotonic()
        name = ledger.canonical_name(snapshot.step, self._clock)
        record = {**snapshot.record, "timestamp": stamp(self._clock.now())}
        folder, complete = write_checkpoint(
            self._paths.current_model, name, self._base, snapshot.weights, snapshot.state, record
        )
        written = self._clock.monotonic() - begin
        connection = open_facts(self._paths)
        try:
            finish(self._paths, connection, complete, folder, snapshot.ends, self._enqueue, self._clock, written)
            retention.apply(self._paths, connection, self._keep, self._clock)
        finally:
            connection.close()
        return complete


def finish(
    paths: Paths,
    connection: sqlite3.Connection,
    record: Record,
    folder: Path,
    ends: dict[str, str],
    enqueue_evals: EnqueueEvals,
    clock: Clock,
    seconds: float = 0.0,
) -> None:
    """Make the store agree with a committed checkpoint; repeating it changes nothing."""
    for consumed in record.quests:
        row = connection.execute("SELECT * FROM quests WHERE id = ?", (consumed.quest,)).fetchone()
        if row is not None and row["state"] == "processing":
            _finish_quest(paths, connection, from_row(row), consumed, ends.get(consumed.quest), record, clock)
    with transaction(connection):
        known = connection.execute("SELECT 1 FROM checkpoints WHERE name = ?", (record.canonical_name,)).fetchone()
        ledger.index(connection, record, folder)
        if known is None:
            _tell(connection, record, seconds, clock)
            enqueue_evals(connection, record.canonical_name, record.step)


def _finish_quest(
    paths: Paths, connection: sqlite3.Connection, quest: Quest, consumed: ConsumedRows, end: str | None, record: Record,
    clock: Clock,
) -> None:  # fmt: skip
    done: dict[str, Any] = {"steps": consumed.steps, "checkpoint": record.canonical_name}
    if consumed.complete:
        board.change(paths, connection, quest, "completed", "queue.completed", step=record.step, clock=clock,
                     columns={**done, "rows_done": quest.rows})  # fmt: skip
        return
    trained = round(quest.rows * consumed.to_step / max(1, consumed.steps))
    if end == "skipped":
        reason = f"skipped by the player after {consumed.to_step} of {consumed.steps} steps"
        columns = {**done, "rows_done": trained}
        board.skip(paths, connection, quest, reason, step=record.step, columns=columns, clock=clock)
    elif end is not None:
        board.set_aside(paths, connection, quest, end, step=record.step, clock=clock)
    else:
        with transaction(connection):
            connection.execute("UPDATE quests SET rows_done = ?, steps = ? WHERE id = ?", (trained, consumed.steps, quest.id))


def _tell(connection: sqlite3.Connection, record: Record, seconds: float, clock: Clock) -> None:
    losses = {"train_loss": record.train_loss, "val_loss": record.val_loss}
    data = {"name": record.canonical_name, **losses, "seconds": round(seconds, 3)}
    events.append(connection, "checkpoint.saved", subject=record.canonical_name, step=record.step, data=data, clock=clock)
    before = ledger.extract_step(record.parent) if record.parent else 0
    for level in range(before // STEPS_PER_LEVEL + 1, record.step // STEPS_PER_LEVEL + 1):
        reached = {"level": level, "name": record.canonical_name}
        events.append(connection, "hero.level_up", step=level * STEPS_PER_LEVEL, data=reached, clock=clock)
