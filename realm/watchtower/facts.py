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
from realm.guild.gate import ProbeCount, rusty_levels
from realm.watchtower.inputs import ChampionRow, CheckpointRow, EvalRow, FactRows, ServiceRow, SkillCard
from realm.watchtower.realm_blocks import training_level

LOG_LENGTH = 50
LAST_EVALS = 10
# Enough to find the gate's window even when checkpoints lie closer than its smallest gap.
LEVEL_EVALS = 50
SEEN_KEY = "tavern.seen"

_EVAL = "SELECT id, checkpoint, skill, level, correct, n, step, finished_at, finished FROM evals"
_EVAL_FIELDS = ("id", "checkpoint", "skill", "level", "correct", "n", "step", "finished")
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
        masteries = _mastered(connection)
        mastered = {skill: int(row["level"]) for skill, row in masteries.items()}
        levels = {
            skill: training_level(mastered.get(skill, 0), card.max_level) for skill, card in cards.items()
        }
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
            mastered=mastered,
            mastered_at={skill: row["step"] for skill, row in masteries.items()},
            newest_evals={skill: _newest_evals(connection, skill) for skill in cards},
            level_evals={skill: _level_evals(connection, skill, level, "gate") for skill, level in levels.items()},
            rusty={skill: _rusty(connection, card, mastered.get(skill, 0)) for skill, card in cards.items()},
            evals_waiting=connection.execute("SELECT count(*) FROM evals WHERE state = 'queued'").fetchone()[0],
            services=_services(connection),
            log=tuple(events.latest(connection, LOG_LENGTH)),
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
    rows = connection.execute("SELECT state, priority, count(*) AS n FROM quests GROUP BY state, priority")
    return {(row["state"], row["priority"]): row["n"] for row in rows}


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


def _mastered(connection: sqlite3.Connection) -> dict[str, sqlite3.Row]:
    # A bare column beside max() comes from the row that holds the maximum (sqlite.org/lang_select.html#bareagg).
    rows = connection.execute("SELECT skill, max(level) AS level, step FROM masteries GROUP BY skill")
    return {row["skill"]: row for row in rows}


def _eval(row: sqlite3.Row) -> EvalRow:
    return EvalRow(at=row["finished_at"], **{name: row[name] for name in _EVAL_FIELDS})


def _newest_evals(connection: sqlite3.Connection, skill: str) -> tuple[EvalRow, ...]:
    # The inner query is answered by the index alone; only the ten rows are fetched.
    chosen = f"SELECT rowid FROM evals WHERE skill = ? AND {_DONE} ORDER BY finished DESC LIMIT ?"
    rows = connection.execute(
        f"{_EVAL} WHERE rowid IN ({chosen}) AND n > 0 ORDER BY finished DESC", (skill, "gate", LAST_EVALS)
    )
    return tuple(_eval(row) for row in rows)


def _level_evals(connection: sqlite3.Connection, skill: str, level: int, kind: str) -> tuple[EvalRow, ...]:
    rows = connection.execute(
        f"{_EVAL} WHERE skill = ? AND level = ? AND {_DONE} AND n > 0 ORDER BY finished DESC LIMIT ?",
        (skill, level, kind, LEVEL_EVALS),
    )
    return tuple(_eval(row) for row in rows)


def _rusty(connection: sqlite3.Connection, card: SkillCard, mastered: int) -> tuple[int, ...]:
    found = [row for level in range(1, mastered + 1) for row in _level_evals(connection, card.id, level, "probe")]
    probes = [ProbeCount(row.checkpoint, row.step, row.level, row.n, row.correct) for row in found]
    return tuple(sorted(rusty_levels(probes, card.rules)))


def _services(connection: sqlite3.Connection) -> tuple[ServiceRow, ...]:
    rows = connection.execute(
        "SELECT name, state, pid, created, port, since, restarts, reason FROM services ORDER BY name"
    )
    return tuple(ServiceRow(**dict(row)) for row in rows)
