"""What results of evals give away beside accuracy: eval problems that were trained, a level that does not move.

An alarm is one event when it begins; it is raised again only after it had ended.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from math import comb

from realm.core import events
from realm.core.clock import SYSTEM, Clock
from realm.guild.level_mix import STUCK
from realm.guild.mastery import gate_evals, training_level

POINTS = 0.20
P_BELOW = 0.01
STUCK_EVALS = 6


@dataclass(frozen=True)
class Alarm:
    """One alarm that holds: what it is about and the numbers, in words."""

    check: str
    subject: str
    reason: str


def fisher_greater(right_a: int, n_a: int, right_b: int, n_b: int) -> float:
    """Return the one-sided p that A is right at least so much more often than B, were both equally able.

    Exact test of R. A. Fisher, "Statistical Methods for Research Workers" (1934), section 21.02. Raises ValueError for
    impossible counts.
    """
    if not (0 <= right_a <= n_a and 0 <= right_b <= n_b):
        raise ValueError(f"{right_a} of {n_a} and {right_b} of {n_b} are impossible")
    right, n = right_a + right_b, n_a + n_b
    tail: int = sum(comb(n_a, k) * comb(n_b, right - k) for k in range(right_a, min(n_a, right) + 1) if right - k <= n_b)
    return tail / comb(n, right)


def contamination(skill: str, static_right: int, static_n: int, fresh_right: int, fresh_n: int) -> Alarm | None:
    """Return an alarm when the static problems are known too much better than fresh ones of the same levels. Pure."""
    if static_n == 0 or fresh_n == 0 or static_right / static_n - fresh_right / fresh_n <= POINTS:
        return None
    p = fisher_greater(static_right, static_n, fresh_right, fresh_n)
    if p >= P_BELOW:
        return None
    told = f"{static_right} of {static_n} static eval problems right, {fresh_right} of {fresh_n} fresh ones (Fisher p {p:.2g})"
    return Alarm("contamination", skill, f"{skill}: {told}; eval problems may have been trained")


def stuck(skill: str, level: int, newest_first: list[tuple[int, int]]) -> Alarm | None:
    """Return an alarm when the six newest evals at a level, (right, asked) each, were all below 5 %. Pure."""
    looked = newest_first[:STUCK_EVALS]
    if len(looked) < STUCK_EVALS or any(right >= STUCK * n for right, n in looked):
        return None
    right, n = sum(one[0] for one in looked), sum(one[1] for one in looked)
    return Alarm("stuck", f"{skill}-L{level}", f"{skill} level {level}: {right} of {n} right in the last {STUCK_EVALS} evals")


def _newest_counts(connection: sqlite3.Connection, skill: str) -> tuple[int, int, int, int]:
    """Return static right and asked, fresh right and asked, over the newest gate eval of each level.

    One eval a level: the static problems recur in every eval, counted again they would look like independent ones.
    """
    rows = connection.execute(
        "SELECT n, correct, static_n, static_correct, max(step) FROM evals"
        " WHERE skill = ? AND kind = 'gate' AND state = 'done' AND static_n > 0 GROUP BY level",
        (skill,),
    ).fetchall()
    static_right, static_n = sum(row["static_correct"] for row in rows), sum(row["static_n"] for row in rows)
    return static_right, static_n, sum(row["correct"] for row in rows) - static_right, sum(row["n"] for row in rows) - static_n


def raise_alarms(connection: sqlite3.Connection, skill: str, max_level: int, step: int, clock: Clock = SYSTEM) -> None:
    """After a recorded eval, in its transaction: tell alarms that begin and forget those that ended."""
    level = training_level(connection, skill, max_level)
    counts = [(found.correct, found.n) for found in gate_evals(connection, skill, level, limit=STUCK_EVALS)]
    found = [contamination(skill, *_newest_counts(connection, skill)), stuck(skill, level, counts)]
    holding = {f"alarm|{alarm.check}|{alarm.subject}": alarm for alarm in found if alarm is not None}
    like = (f"alarm|contamination|{skill}", f"alarm|stuck|{skill}-L*")
    known = {row["key"] for row in connection.execute("SELECT key FROM facts WHERE key = ? OR key GLOB ?", like)}
    for key in known - set(holding):
        connection.execute("DELETE FROM facts WHERE key = ?", (key,))
    for key in sorted(set(holding) - known):
        alarm = holding[key]
        connection.execute("INSERT INTO facts(key, value) VALUES (?, ?)", (key, alarm.reason))
        data = {"check": alarm.check, "reason": alarm.reason}
        events.append(connection, "patrol.failed", subject=alarm.subject, step=step, data=data, clock=clock)
