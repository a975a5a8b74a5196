"""The checkpoint ledger: sidecars in the folders are the truth, the index in the store is what is asked.

Sidecar `.ledger.json`: one record, written once at save time. A dropped checkpoint leaves its sidecar in
`models/current_model/.dropped/`, so that the line of parents never breaks.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from realm.core import events, manifest
from realm.core.clock import SYSTEM, Clock
from realm.core.durable import write_json
from realm.core.errors import BadInput, Corrupt, unknown_name
from realm.core.ids import sha256_file
from realm.core.paths import Paths
from realm.core.store import transaction

SIDECAR = ".ledger.json"
DROPPED = ".dropped"
_CANONICAL = re.compile(r"checkpoint-(0|[1-9][0-9]{0,17})-([0-9]{8})-([0-9]{4})\Z")
SCHOOL = "school: "  # what the training file of a checkpoint that a school made begins with
METRICS = {"train_loss": "min", "val_loss": "min"}


class ConsumedRows(BaseModel):
    """Steps of one quest that a checkpoint contains and its parent does not; `to_step` is exclusive, counted in the quest."""

    model_config = ConfigDict(extra="forbid")
    quest: str
    sha256: str
    name: str
    from_step: int
    to_step: int
    steps: int
    complete: bool
    skill: str | None = None
    level: int | None = None
    generator: str | None = None
    rows: int = 0


def by_school(training_file: str | None, quests: Sequence[object]) -> bool:
    """Say whether a school took a checkpoint's steps: it trains no quest, whatever a player may have called a file."""
    return not quests and (training_file or "").startswith(SCHOOL)


class Record(BaseModel):
    """What was true when a checkpoint was saved; losses in nats per trained token."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())
    canonical_name: str
    step: int
    timestamp: str
    hero: str
    train_loss: float | None
    val_loss: float | None
    val_set: str | None = None
    learning_rate: float
    epoch: float
    skill_name: str | None
    skill_level: int | None
    training_file: str | None
    parent: str | None
    generation: int
    weights_sha256: str
    template_hash: str
    tokens: int
    trained_tokens: int
    seconds: float
    quests: list[ConsumedRows]

    @property
    def by_school(self) -> bool:
        """Whether its steps were taken in a school, on answers of the hero's own, and not on rows of quests."""
        return by_school(self.training_file, self.quests)


def canonical_name(step: int, clock: Clock = SYSTEM) -> str:
    """Return `checkpoint-{step}-{YYYYMMDD}-{HHMM}` in UTC."""
    return f"checkpoint-{step}-{clock.now():%Y%m%d-%H%M}"


def extract_step(name: str) -> int:
    """Return the step of a checkpoint's name or path; raises BadInput for any other name."""
    found = _CANONICAL.match(Path(name).name)
    if not found:
        raise BadInput(f"{name!r} is not a checkpoint name", hint="checkpoint-{step}-{YYYYMMDD}-{HHMM}")
    return int(found[1])


def folders(paths: Paths) -> list[Path]:
    """Return the checkpoint folders on disk, by step."""
    if not paths.current_model.is_dir():
        return []
    found = [p for p in paths.current_model.iterdir() if p.is_dir() and _CANONICAL.match(p.name)]
    return sorted(found, key=lambda p: (extract_step(p.name), p.name))


def read_record(path: Path) -> Record:
    """Return the record of a sidecar file; raises Corrupt when it is missing or malformed."""
    try:
        return Record.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise Corrupt(f"the sidecar of {path.parent.name} cannot be read: {error}") from error


def dropped_records(paths: Paths) -> Iterator[Record]:
    """Yield the records of checkpoints that retention removed."""
    folder = paths.current_model / DROPPED
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        yield read_record(path)


def index(connection: sqlite3.Connection, record: Record, folder: Path) -> None:
    """Put a committed checkpoint into the index, inside the caller's transaction."""
    found = manifest.read_manifest(folder)
    connection.execute(
        "INSERT OR REPLACE INTO checkpoints(name, step, state, parent, generation, weights_sha256, manifest_sha256, size,"
        " created_at, record) VALUES (?,?,'present',?,?,?,?,?,?,?)",
        (record.canonical_name, record.step, record.parent, record.generation, record.weights_sha256,
         sha256_file(folder / manifest.NAME), manifest.folder_size(found), record.timestamp, record.model_dump_json()),
    )  # fmt: skip


def indexed(connection: sqlite3.Connection, name: str) -> Record:
    """Return the record of a checkpoint as it was indexed; raises Unknown."""
    row = connection.execute("SELECT record FROM checkpoints WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise unknown_name("checkpoint", name, [])
    return Record.model_validate_json(row["record"])


def drop_from_index(connection: sqlite3.Connection, record: Record, reason: str) -> None:
    """Mark a checkpoint as gone and say why, inside the caller's transaction."""
    connection.execute("UPDATE checkpoints SET state = 'dropped' WHERE name = ?", (record.canonical_name,))
    connection.execute(
        "UPDATE evals SET state = 'dropped', reason = ? WHERE checkpoint = ? AND state = 'queued'",
        (f"the checkpoint was dropped: {reason}", record.canonical_name),
    )
    data = {"name": record.canonical_name, "reason": reason}
    events.append(connection, "checkpoint.dropped", subject=record.canonical_name, step=record.step, data=data)


def keep_sidecar(paths: Paths, record: Record) -> None:
    """Keep the record of a checkpoint whose folder goes."""
    folder = paths.current_model / DROPPED
    folder.mkdir(exist_ok=True)
    write_json(folder / f"{record.canonical_name}.json", json.loads(record.model_dump_json()))


class Ledger:
    """Reading side: the index of present checkpoints."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def _rows(self, sql: str, args: tuple[Any, ...] = ()) -> list[Record]:
        rows = self._connection.execute(f"SELECT record FROM checkpoints WHERE state = 'present' {sql}", args)
        return [Record.model_validate_json(row["record"]) for row in rows]

    def get(self, step: int) -> Record:
        """Return the checkpoint of exactly this step; raises Unknown listing the nearest ones."""
        found = self._rows("AND step = ?", (step,))
        if not found:
            near = self._rows("ORDER BY abs(step - ?) LIMIT 5", (step,))
            raise unknown_name("checkpoint step", str(step), [str(r.step) for r in near])
        return found[0]

    def get_latest(self) -> Record | None:
        """Return the checkpoint with the highest step, None when there is none."""
        return next(iter(self._rows("ORDER BY step DESC LIMIT 1")), None)

    def list_all(self, limit: int | None = None) -> list[Record]:
        """Return records, newest first."""
        return self._rows("ORDER BY step DESC LIMIT ?", (-1 if limit is None else limit,))

    def get_best(self, metric: str = "train_loss") -> Record | None:
        """Return the best checkpoint by a recorded metric, None when none has it; raises Unknown for another metric."""
        if metric not in METRICS:
            raise unknown_name("metric", metric, list(METRICS))
        order = "ASC" if METRICS[metric] == "min" else "DESC"
        value = f"json_extract(record, '$.{metric}')"
        return next(iter(self._rows(f"AND {value} IS NOT NULL ORDER BY {value} {order}, step DESC LIMIT 1")), None)

    def is_available(self) -> bool:
        """Say whether the ledger can be asked; the local one always can."""
        return True

    def summary(self) -> dict[str, Any]:
        """Return counts and extremes of the present checkpoints."""
        row = self._connection.execute(
            "SELECT count(*) AS n, coalesce(sum(size), 0) AS size, min(step) AS low, max(step) AS high"
            " FROM checkpoints WHERE state = 'present'"
        ).fetchone()
        best = {metric: record.step for metric in METRICS if (record := self.get_best(metric))}
        return {"count": row["n"], "size_bytes": row["size"], "first_step": row["low"], "last_step": row["high"], "best": best}


def adopt(paths: Paths, connection: sqlite3.Connection) -> list[str]:
    """Index the complete folders that the store does not know; returns their names."""
    known = {row["name"] for row in connection.execute("SELECT name FROM checkpoints WHERE state = 'present'")}
    adopted = []
    for folder in folders(paths):
        if folder.name not in known:
            manifest.check_sizes(folder)
            with transaction(connection):
                index(connection, read_record(folder / SIDECAR), folder)
            adopted.append(folder.name)
    return adopted


