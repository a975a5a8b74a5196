"""Reading the facts database: every row of a snapshot from one read transaction, so that they belong together."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from realm.core import events
from realm.core.clock import stamp
from realm.core.errors import BadInput
from realm.core.events import Event
from realm.core.store import transaction
from realm.guild.mastery import skill_state
from realm.watchtower.inputs import ChampionRow, CheckpointRow, EvalRow, FactRows, ServiceRow, SkillCard

LOG_LENGTH = 50
# The catalogue registers and drops a checkpoint a moment after `checkpoint.saved` and `checkpoint.dropped` told it.
REPEATED = ("asset.*", "checkpoint_*")
LAST_EVALS = 10
SEEN_KEY = "tavern.seen"

_EVAL = "SELECT skill, level, correct, n, step, finished_at, finished FROM evals"
_EVAL_FIELDS = ("skill", "level", "correct", "n", "step", "finished")
_DONE = "kind = ? AND state = 'done'"


@contextmanager
def read_transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Hold one view of the database while reading; nothing is written."""
    connection.execute("BEGIN")
    try:
        yield connection
    finally:
        connection.execute("ROLLBACK")


def read_fact_rows(connection: sqlite3.Connection, cards: Mapping[str, SkillCard]) -> FactRows:
    """Read all facts of a snapshot in one read transaction."""
    with read_transaction(connection):
        count, size = connection.execute(
            "SELECT count(*), coalesce(sum(size), 0) FROM checkpoints WHERE state = 'present'"
        ).fetchone()
        return FactRows(
            cursor=events.cursor(connection),
            seen=read_seen(connection).cursor,
            quests=_quests(connection),
            checkpoints=count,
            checkpoint_bytes=size,
            latest=_latest(connection),
            champion=_champion(connection),
            skills={
                skill: skill_state(connection, skill, card.max_level, card.rules) for skill, card in cards.items()
            },
            newest_evals={skill: _newest_evals(connection, skill) for skill in cards},
            evals_waiting=connection.execute("SELECT count(*) FROM evals WHERE state = 'queued'").fetchone()[0],
            services=_services(connection),
            log=tuple(events.latest(connection, LOG_LENGTH, but=REPEATED)),
        )


def event_of(row: sqlite3.Row) -> Event:
    """Return an events row as the event it records."""
    return Event(
        seq=row["seq"], at=row["at"], kind=row["kind"], subject=row["subject"], step=row["step"],
        data=json.loads(row["data"]),
    )  # fmt: skip


class Seen(NamedTuple):
    """Up to which event the player has looked, and when; (0, None) when never."""

    cursor: int
    at: str | None


def read_seen(connection: sqlite3.Connection) -> Seen:
    """Return what the player acknowledged last."""
    row = connection.execute("SELECT value FROM facts WHERE key = ?", (SEEN_KEY,)).fetchone()
    if row is None:
        return Seen(0, None)
    found = json.loads(row["value"])
    return Seen(found["cursor"], found["at"])


def write_seen(connection: sqlite3.Connection, cursor: int, now: datetime) -> Seen:
    """Store an acknowledgement (never an earlier one) and return what holds; raises BadInput for an event to come."""
    with transaction(connection):
        newest, before = events.cursor(connection), read_seen(connection)
        if cursor > newest:
            raise BadInput(f"cursor {cursor} is ahead of the newest event {newest}", hint="take a new snapshot")
        seen = Seen(max(cursor, before.cursor), stamp(now))
        connection.execute("INSERT OR REPLACE INTO facts(key, value) VALUES (?, ?)", (SEEN_KEY, json.dumps(seen._asdict())))
    return seen


def _quests(connection: sqlite3.Connection) -> dict[tuple[str, str], int]:
    # Settled quests are counted by the index alone; only waiting ones are looked at for their priority.
    settled = connection.execute("SELECT state, count(*) AS n FROM quests WHERE state != 'queued' GROUP BY state")
    counts = {(row["state"], ""): row["n"] for row in settled}
    waiting = connection.execute("SELECT priority, count(*) AS n FROM quests WHERE state = 'queued' GROUP BY priority")
    return counts | {("queued", row["priority"]): row["n"] for row in waiting}


def _latest(connection: sqlite3.Connection) -> CheckpointRow | None:
    row = connection.execute(
        "SELECT step, name, record FROM checkpoints WHERE state = 'present' ORDER BY step DESC LIMIT 1"
    ).fetchone()
    return CheckpointRow(row["step"], row["name"], json.loads(row["record"])) if row else None


def _champion(connection: sqlite3.Connection) -> ChampionRow | None:
    row = connection.execute(
        "SELECT step, checkpoint, metric, value FROM champions ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    return ChampionRow(**dict(row)) if row else None


def _eval(row: sqlite3.Row) -> EvalRow:
    return EvalRow(at=row["finished_at"], **{name: row[name] for name in _EVAL_FIELDS})


def _newest_evals(connection: sqlite3.Connection, skill: str) -> tuple[EvalRow, ...]:
    # The inner query is answered by the index alone; only the ten rows are fetched.
    chosen = f"SELECT rowid FROM evals WHERE skill = ? AND {_DONE} ORDER BY finished DESC LIMIT ?"
    rows = connection.execute(
        f"{_EVAL} WHERE rowid IN ({chosen}) AND n > 0 ORDER BY finished DESC", (skill, "gate", LAST_EVALS)
    )
    return tuple(_eval(row) for row in rows)


def _services(connection: sqlite3.Connection) -> tuple[ServiceRow, ...]:
    rows = connection.execute(
        "SELECT name, state, pid, created, port, since, restarts, reason FROM services ORDER BY name"
    )
    return tuple(ServiceRow(**dict(row)) for row in rows)
