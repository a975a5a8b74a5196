"""The champion: the best checkpoint by the configured metric, crowned with the reason when a better one was evaluated."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from realm.core import events
from realm.core.clock import SYSTEM, Clock, stamp
from realm.core.errors import unknown_name
from realm.guild.rungs import rungs

# metric -> larger is better
METRICS = {"eval": True, "val_loss": False, "train_loss": False}


@dataclass(frozen=True)
class Claim:
    """A checkpoint with its value of the metric."""

    checkpoint: str
    step: int
    value: float


def value_of(connection: sqlite3.Connection, checkpoint: str, metric: str) -> float | None:
    """Return a checkpoint's value of a metric, None when it was not measured; raises Unknown for another metric."""
    if metric not in METRICS:
        raise unknown_name("champion metric", metric, list(METRICS))
    if metric == "eval":
        rows = connection.execute(
            "SELECT skill, level, correct, n FROM evals WHERE checkpoint = ? AND kind = 'gate' AND state = 'done'", (checkpoint,)
        )
        return rungs((row["skill"], row["level"], row["correct"], row["n"]) for row in rows)
    row = connection.execute("SELECT record FROM checkpoints WHERE name = ?", (checkpoint,)).fetchone()
    found = json.loads(row["record"]).get(metric) if row else None
    return None if found is None else float(found)


def better(challenger: float, champion: float | None, metric: str) -> bool:
    """Say whether a value beats the champion's; equal values do not. Pure."""
    if champion is None:
        return True
    return challenger > champion if METRICS[metric] else challenger < champion


def crown(connection: sqlite3.Connection, challenger: str, step: int, metric: str, clock: Clock = SYSTEM) -> Claim | None:
    """Crown the challenger inside the caller's transaction when it beats the champion; returns the new claim or None."""
    value = value_of(connection, challenger, metric)
    if value is None:
        return None
    held = connection.execute("SELECT checkpoint, metric FROM champions ORDER BY seq DESC LIMIT 1").fetchone()
    against = value_of(connection, held["checkpoint"], metric) if held else None
    if (held and held["checkpoint"] == challenger) or not better(value, against, metric):
        return None
    reason = f"{metric} {value:.4g}" + (f", the champion before had {against:.4g}" if against is not None else ", the first one")
    connection.execute(
        "INSERT INTO champions(at, checkpoint, step, metric, value, reason) VALUES (?,?,?,?,?,?)",
        (stamp(clock.now()), challenger, step, metric, value, reason),
    )
    data = {"name": challenger, "metric": metric, "value": value, "before": against,
            "dethroned": held["checkpoint"] if held else None, "reason": reason}  # fmt: skip
    events.append(connection, "hero.champion", subject=challenger, step=step, data=data, clock=clock)
    return Claim(challenger, step, value)
