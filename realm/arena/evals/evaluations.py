"""The queue of evals: one row per checkpoint, skill, level and kind; asked once, dropped only with a reason."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from realm.arena.evals import passives
from realm.core.clock import SYSTEM, Clock, stamp
from realm.core.errors import BadInput, RealmError, unknown_name
from realm.core.ids import new_ulid
from realm.core.logs import get_logger
from realm.core.paths import Paths
from realm.guild.mastery import gate_targets
from realm.guild.schedule import load_schedule
from realm.guild.skills.loader import get_skill

log = get_logger("evaluations")

KINDS = ("static", "gate", "probe", "full", "passive", "unseen")
# Every checkpoint is asked the same problems: their seed does not follow from the weights.
SAME_FOR_ALL = ("full", "passive", "unseen")
# A gate eval waiting behind a newer finished one is dropped only when more than this many wait for its skill.
MAX_WAITING = 6
# After this many answers that cannot be believed an eval stays "no contest" until the evaluator starts anew.
MAX_ATTEMPTS = 8


@dataclass(frozen=True)
class Waiting:
    """One eval that has no result yet: queued, or no contest so far."""

    id: str
    checkpoint: str
    step: int
    skill: str
    level: int
    kind: str
    state: str
    attempts: int
    reason: str


@dataclass(frozen=True)
class Result:
    """The counts of a graded eval, in integers."""

    n: int
    correct: int
    errors: int
    truncated: int
    static_n: int
    static_correct: int
    weights_sha256: str
    prompts_sha256: str
    seed: str
    file: str


def enqueue(
    connection: sqlite3.Connection,
    checkpoint: str,
    step: int,
    skill: str,
    level: int,
    kind: str,
    clock: Clock = SYSTEM,
) -> bool:
    """Queue one eval inside the caller's transaction; returns False when it was asked before."""
    if kind not in KINDS:
        raise unknown_name("eval kind", kind, list(KINDS))
    if level < 1:
        raise BadInput(f"there is no level {level} to evaluate")
    added = connection.execute(
        "INSERT INTO evals(id, checkpoint, step, skill, level, kind, state, queued_at) VALUES (?,?,?,?,?,?,'queued',?)"
        " ON CONFLICT (checkpoint, skill, level, kind) DO NOTHING",
        (new_ulid(), checkpoint, step, skill, level, kind, stamp(clock.now())),
    )
    return added.rowcount == 1


def enqueue_gate_evals(
    connection: sqlite3.Connection,
    checkpoint: str,
    step: int,
    targets: Iterable[tuple[str, int]],
    clock: Clock = SYSTEM,
) -> int:
    """Queue one gate eval per (skill, training level) of a new checkpoint, inside its transaction; returns how many."""
    return sum(enqueue(connection, checkpoint, step, skill, level, "gate", clock) for skill, level in targets)


def enqueue_probes(
    connection: sqlite3.Connection,
    checkpoint: str,
    step: int,
    skill: str,
    levels: Iterable[int],
    clock: Clock = SYSTEM,
) -> int:
    """Queue a retention probe of each level on a checkpoint, inside the caller's transaction; returns how many are new."""
    return sum(enqueue(connection, checkpoint, step, skill, level, "probe", clock) for level in levels)


def enqueue_passives(paths: Paths, connection: sqlite3.Connection, checkpoint: str, step: int) -> int:
    """Queue the passives that are due at a checkpoint, inside its transaction; a slip in their table is logged."""
    try:
        table = passives.load_passives(paths)
        stands = passives.stands_of(connection, paths, table)
    except RealmError as error:
        log.error("%s is asked no passives: %s", checkpoint, error)
        return 0
    due = passives.plan(table, stands, passives.asked_so_far(connection), step)
    return sum(enqueue(connection, checkpoint, step, skill, level, passives.KIND) for skill, level in due)


def for_checkpoints(paths: Paths) -> Callable[[sqlite3.Connection, str, int], None]:
    """Return the function that a save calls in its transaction: it queues the gate evals of a new checkpoint.

    Schedule and skills are read at each call. When they are not valid the last valid ones hold and the error is logged:
    a slip in a table must not cost a checkpoint.
    """
    max_levels: dict[str, int] = {}

    def enqueue_evals(connection: sqlite3.Connection, checkpoint: str, step: int) -> None:
        try:
            fresh = {name: get_skill(name, paths).max_level for name in load_schedule(paths).enabled()}
            max_levels.clear()
            max_levels.update(fresh)
        except RealmError as error:
            log.error("evals of %s follow the last valid schedule: %s", checkpoint, error)
        enqueue_gate_evals(connection, checkpoint, step, gate_targets(connection, max_levels))
        enqueue_passives(paths, connection, checkpoint, step)

    return enqueue_evals


def waiting(connection: sqlite3.Connection) -> list[Waiting]:
    """Return every eval without a result, in the order in which they will be asked: probes, gates, the rest; newest first."""
    columns = ", ".join(Waiting.__dataclass_fields__)
    rows = connection.execute(
        f"SELECT {columns} FROM evals WHERE state IN ('queued', 'no_contest')"
        " ORDER BY state = 'no_contest', kind <> 'probe', kind <> 'gate', step DESC, id"
    )
    return [Waiting(**{name: row[name] for name in Waiting.__dataclass_fields__}) for row in rows]


def plan_drops(
    queue: Sequence[Waiting],
    present: Collection[str],
    training: Mapping[str, int],
    newest_done: Mapping[tuple[str, int], int],
    max_waiting: int = MAX_WAITING,
) -> list[tuple[str, str]]:
    """Return (eval id, reason) of the evals that can no longer serve: pure.

    `present` are checkpoints on disk, `training` the training level by installed skill, `newest_done` the newest step with
    a finished gate eval by skill and level. Superseded evals go, oldest first, until `max_waiting` are left.
    """
    drops: dict[str, str] = {}
    for found in queue:
        if found.checkpoint not in present:
            drops[found.id] = "its checkpoint was dropped by retention"
        elif found.skill not in training:
            drops[found.id] = f"skill {found.skill} is not installed"
        elif found.kind == "gate" and found.level < training[found.skill]:
            drops[found.id] = f"level {found.level} is mastered already"
    for skill in {found.skill for found in queue}:
        left = [f for f in queue if f.skill == skill and f.kind == "gate" and f.id not in drops]
        over = len(left) - max_waiting
        for found in sorted(left, key=lambda f: f.step):
            done = newest_done.get((skill, found.level), -1)
            if over > 0 and found.step < done:
                drops[found.id] = f"superseded: step {done} was evaluated and {len(left)} evals of {skill} waited"
                over -= 1
    return list(drops.items())


def present_checkpoints(connection: sqlite3.Connection) -> set[str]:
    """Return the names of the checkpoints on disk."""
    return {row[0] for row in connection.execute("SELECT name FROM checkpoints WHERE state = 'present'")}


def newest_done(connection: sqlite3.Connection) -> dict[tuple[str, int], int]:
    """Return the newest step with a finished gate eval, by skill and level."""
    rows = connection.execute(
        "SELECT skill, level, max(step) AS step FROM evals WHERE kind = 'gate' AND state = 'done' GROUP BY skill, level"
    )
    return {(row["skill"], row["level"]): row["step"] for row in rows}


def apply_drops(connection: sqlite3.Connection, drops: Iterable[tuple[str, str]], clock: Clock = SYSTEM) -> None:
    """Record dropped evals with their reasons, inside the caller's transaction."""
    for eval_id, reason in drops:
        connection.execute(
            "UPDATE evals SET state = 'dropped', reason = ?, finished_at = ?"
            " WHERE id = ? AND state IN ('queued', 'no_contest')",
            (reason, stamp(clock.now()), eval_id),
        )


def record_no_contest(connection: sqlite3.Connection, eval_id: str, reason: str) -> None:
    """Count a try that gave no believable answer, inside the caller's transaction; nothing is graded."""
    connection.execute(
        "UPDATE evals SET state = 'no_contest', attempts = attempts + 1, reason = ?"
        " WHERE id = ? AND state IN ('queued', 'no_contest')",
        (reason[:500], eval_id),
    )


def record_done(connection: sqlite3.Connection, eval_id: str, result: Result, clock: Clock = SYSTEM) -> bool:
    """Record a graded eval inside the caller's transaction; returns False when it has a result already."""
    finished = connection.execute("SELECT coalesce(max(finished), 0) + 1 FROM evals").fetchone()[0]
    fields: dict[str, Any] = {name: getattr(result, name) for name in Result.__dataclass_fields__}
    assignments = ", ".join(f"{name} = ?" for name in fields)
    updated = connection.execute(
        f"UPDATE evals SET {assignments}, state = 'done', reason = '', attempts = attempts + 1, finished = ?,"
        " finished_at = ? WHERE id = ? AND state IN ('queued', 'no_contest')",
        (*fields.values(), finished, stamp(clock.now()), eval_id),
    )
    return updated.rowcount == 1
