"""The state a curriculum decision depends on, read from the facts database; reading changes nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from realm.guild.curriculum import HeroDiet, Past, SkillStanding, State
from realm.guild.gate import ProbeCount
from realm.guild.level_mix import WEAK, Probed, ProbeRound
from realm.guild.mastery import gate_evals, mastered_level, probe_counts

HISTORY = 256
RECENT_EVALS = 50  # the slow moving average has forgotten what is older


def newest_probes(probes: list[ProbeCount], now: int) -> dict[int, Probed]:
    """Return the newest probe of each level; staleness is its age in steps, at step `now`, over the oldest one's age."""
    newest = {probe.level: probe for probe in sorted(probes, key=lambda p: p.step)}
    if not newest:
        return {}
    last = max(now, *(probe.step for probe in newest.values()))
    span = max(last - probe.step for probe in newest.values()) or 1
    return {
        level: Probed(probe.correct / probe.n, (last - probe.step) / span) for level, probe in newest.items() if probe.n
    }


def probe_rounds(probes: list[ProbeCount]) -> tuple[ProbeRound, ...]:
    """Return the retention checks, one per checkpoint, oldest first."""
    by_step: dict[int, list[ProbeCount]] = {}
    for probe in probes:
        if probe.n:
            by_step.setdefault(probe.step, []).append(probe)
    return tuple(
        ProbeRound(len(found), sum(probe.correct < WEAK * probe.n for probe in found)) for _, found in sorted(by_step.items())
    )


def tokens_per_row(connection: sqlite3.Connection, skill: str) -> float:
    """Return the mean tokens of a row of a skill's quests, 1.0 before the first."""
    found = connection.execute(
        "SELECT sum(tokens) AS tokens, sum(rows) AS rows FROM quests WHERE skill = ? AND tokens > 0", (skill,)
    ).fetchone()
    return float(found["tokens"]) / float(found["rows"]) if found["rows"] else 1.0


def skill_standing(connection: sqlite3.Connection, skill: str, max_level: int) -> SkillStanding:
    """Return where the hero stands in one skill."""
    mastered = mastered_level(connection, skill)
    recent = gate_evals(connection, skill, min(mastered + 1, max_level), limit=RECENT_EVALS)
    probes = probe_counts(connection, skill)
    return SkillStanding(
        max_level=max_level,
        mastered=mastered,
        tokens_per_row=tokens_per_row(connection, skill),
        probes=newest_probes(probes, max((found.step for found in recent), default=0)),
        recent=tuple(found.correct / found.n for found in recent if found.n),
        rounds=probe_rounds(probes),
    )


def history(connection: sqlite3.Connection) -> tuple[Past, ...]:
    """Return the newest decisions that became quests, oldest first, with the tokens that were or will be trained."""
    rows = connection.execute(
        "SELECT d.skill, d.plan, q.state, q.tokens, q.rows, q.rows_done FROM decisions d JOIN quests q ON q.id = d.quest"
        " ORDER BY d.seq DESC LIMIT ?",
        (HISTORY,),
    ).fetchall()
    return tuple(Past(row["skill"], _trained(row), json.loads(row["plan"])["rule"]) for row in reversed(rows))


def _trained(row: sqlite3.Row) -> float:
    tokens = float(row["tokens"] or row["rows"])
    if row["state"] in ("queued", "processing", "completed"):
        return tokens
    # Set aside or deleted: only what was trained before counts.
    return tokens * row["rows_done"] / row["rows"] if row["rows"] else 0.0


def read_state(
    connection: sqlite3.Connection,
    max_levels: Mapping[str, int],
    diet: HeroDiet,
    rows_per_s: float | None = None,
) -> State:
    """Return the state for `curriculum.decide`; `max_levels` are the installed skills."""
    decided = connection.execute("SELECT count(*) FROM decisions WHERE quest IS NOT NULL").fetchone()[0]
    return State(
        skills={skill: skill_standing(connection, skill, high) for skill, high in sorted(max_levels.items())},
        diet=diet,
        history=history(connection),
        decided=int(decided),
        rows_per_s=rows_per_s,
    )
