"""Mastered levels, read from and written to the facts database; only the gate adds one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from realm.core import events
from realm.core.clock import SYSTEM, Clock, stamp
from realm.guild.gate import (
    EvalCount,
    GateRules,
    ProbeCount,
    Standing,
    choose_window,
    exact,
    rusty_levels,
    window_size,
)


@dataclass(frozen=True)
class SkillState:
    """Where a hero stands in one skill, for pages and status.

    `passes` counts the newest evals in a row at or above the threshold, up to `passes_needed`; `n` and `correct` pool
    the present window; `last_evals` are the newest gate evals at the training level, newest first.
    """

    skill: str
    mastered: int
    training: int
    max_level: int
    n: int
    correct: int
    passes: int
    passes_needed: int
    threshold: float
    rusty: tuple[int, ...]
    last_evals: tuple[EvalCount, ...]


def mastered_levels(connection: sqlite3.Connection, skill: str) -> tuple[int, ...]:
    """Return the mastered levels of a skill, rising."""
    rows = connection.execute("SELECT level FROM masteries WHERE skill = ? ORDER BY level", (skill,))
    return tuple(int(row[0]) for row in rows)


def mastered_level(connection: sqlite3.Connection, skill: str) -> int:
    """Return the highest mastered level, 0 for none."""
    levels = mastered_levels(connection, skill)
    return levels[-1] if levels else 0


def training_level(connection: sqlite3.Connection, skill: str, max_level: int) -> int:
    """Return min(mastered + 1, max_level)."""
    return min(mastered_level(connection, skill) + 1, max_level)


def gate_targets(connection: sqlite3.Connection, max_levels: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return (skill, training level) of every skill given: what a new checkpoint is to be asked."""
    return [(skill, training_level(connection, skill, high)) for skill, high in sorted(max_levels.items())]


def gate_evals(connection: sqlite3.Connection, skill: str, level: int, limit: int = 200) -> list[EvalCount]:
    """Return finished gate evals of a level, newest checkpoint first."""
    rows = connection.execute(
        "SELECT id, checkpoint, step, n, correct, static_n, static_correct, errors, truncated FROM evals"
        " WHERE skill = ? AND level = ? AND kind = 'gate' AND state = 'done' ORDER BY step DESC LIMIT ?",
        (skill, level, limit),
    )
    return [
        EvalCount(r["id"], r["checkpoint"], r["step"], r["n"], r["correct"], r["static_n"] or 0, r["static_correct"] or 0,
                  r["errors"] or 0, r["truncated"] or 0)
        for r in rows
    ]  # fmt: skip


def probe_counts(connection: sqlite3.Connection, skill: str) -> list[ProbeCount]:
    """Return every finished retention probe of a skill, oldest checkpoint first."""
    rows = connection.execute(
        "SELECT checkpoint, step, level, n, correct FROM evals"
        " WHERE skill = ? AND kind = 'probe' AND state = 'done' ORDER BY step",
        (skill,),
    )
    return [ProbeCount(r["checkpoint"], r["step"], r["level"], r["n"], r["correct"]) for r in rows]


def probes_by_checkpoint(probes: Iterable[ProbeCount]) -> dict[str, dict[int, ProbeCount]]:
    """Arrange probes by checkpoint and level."""
    table: dict[str, dict[int, ProbeCount]] = {}
    for probe in probes:
        table.setdefault(probe.checkpoint, {})[probe.level] = probe
    return table


def failed_looks(connection: sqlite3.Connection, skill: str, level: int) -> list[list[str]]:
    """Return the eval ids of every failed window at a level, oldest first."""
    rows = connection.execute(
        "SELECT evidence FROM gates WHERE skill = ? AND level = ? AND passed = 0"
        " AND json_extract(evidence, '$.counts_as_failed') ORDER BY seq",
        (skill, level),
    )
    return [[found["id"] for found in json.loads(row["evidence"])["evals"]] for row in rows]


def last_mastery_step(connection: sqlite3.Connection, skill: str) -> int:
    """Return the step of the checkpoint that mastered the newest level, -1 for none."""
    found = connection.execute("SELECT max(step) FROM masteries WHERE skill = ?", (skill,)).fetchone()[0]
    return -1 if found is None else int(found)


def standing_of(connection: sqlite3.Connection, skill: str, level: int, rules: GateRules) -> Standing:
    """Collect what the gate needs to judge `level`."""
    mastered = mastered_levels(connection, skill)
    rusty = rusty_levels(probe_counts(connection, skill), rules)
    return Standing(
        skill=skill,
        level=level,
        mastered=mastered,
        rusty=rusty & set(mastered),
        last_mastery_step=last_mastery_step(connection, skill),
        failed_windows=len(failed_looks(connection, skill, level)),
    )


def skill_state(connection: sqlite3.Connection, skill: str, max_level: int, rules: GateRules) -> SkillState:
    """Return where the hero stands in a skill; every number is counted from recorded evals."""
    mastered = mastered_level(connection, skill)
    training = min(mastered + 1, max_level)
    evals = gate_evals(connection, skill, training)
    standing = standing_of(connection, skill, training, rules)
    size = window_size(rules, standing.failed_windows)
    not_before = standing.last_mastery_step if training > mastered else -1
    window = choose_window(evals, size, rules.min_gap, not_before)
    passes = 0
    for found in window:
        if found.correct < exact(rules.threshold) * found.n:
            break
        passes += 1
    return SkillState(
        skill=skill,
        mastered=mastered,
        training=training,
        max_level=max_level,
        n=sum(found.n for found in window),
        correct=sum(found.correct for found in window),
        passes=passes,
        passes_needed=size,
        threshold=rules.threshold,
        rusty=tuple(sorted(standing.rusty)),
        last_evals=tuple(evals[:10]),
    )


def record_mastery(
    connection: sqlite3.Connection,
    skill: str,
    level: int,
    checkpoint: str,
    step: int,
    evidence: dict[str, Any],
    clock: Clock = SYSTEM,
) -> bool:
    """Record a mastered level and its event inside the caller's transaction; a level recorded before changes nothing.

    Returns whether it was new.
    """
    added = connection.execute(
        "INSERT INTO masteries(skill, level, checkpoint, step, at, evidence) VALUES (?,?,?,?,?,?)"
        " ON CONFLICT (skill, level) DO NOTHING",
        (skill, level, checkpoint, step, stamp(clock.now()), json.dumps(evidence, ensure_ascii=False)),
    )
    if added.rowcount == 0:
        return False
    told = {"skill": skill, "level": level, "checkpoint": checkpoint, "n": evidence["n"], "correct": evidence["correct"]}
    events.append(connection, "skill.mastered", subject=skill, step=step, data={**told, "evidence": evidence}, clock=clock)
    return True
