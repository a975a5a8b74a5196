"""The champion: the best checkpoint by the configured metric, crowned with the reason when a better one was evaluated.

A crown given by the player stays until the player gives it back to the metric, or its checkpoint is gone.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from realm.core import events
from realm.core.clock import SYSTEM, Clock, stamp
from realm.core.errors import Conflict, unknown_name
from realm.core.store import transaction
from realm.guild.rungs import rungs
from realm.vault.keeping.care import BY_HAND

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
    if by_hand(connection):
        return None
    reason = f"{metric} {value:.4g}" + (f", the champion before had {against:.4g}" if against is not None else ", the first one")
    return _write(connection, Claim(challenger, step, value), metric, reason, against, clock)


def _held(connection: sqlite3.Connection) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute("SELECT * FROM champions ORDER BY seq DESC LIMIT 1").fetchone()
    return row


def _write(
    connection: sqlite3.Connection, claim: Claim, metric: str, reason: str, against: float | None, clock: Clock
) -> Claim:
    held = _held(connection)
    connection.execute(
        "INSERT INTO champions(at, checkpoint, step, metric, value, reason) VALUES (?,?,?,?,?,?)",
        (stamp(clock.now()), claim.checkpoint, claim.step, metric, claim.value, reason),
    )
    if held is None or held["checkpoint"] != claim.checkpoint:
        data = {"name": claim.checkpoint, "metric": metric, "value": claim.value, "before": against,
                "dethroned": held["checkpoint"] if held else None, "reason": reason}  # fmt: skip
        events.append(connection, "hero.champion", subject=claim.checkpoint, step=claim.step, data=data, clock=clock)
    return claim


def by_hand(connection: sqlite3.Connection) -> bool:
    """Say whether the player gave the crown, to a checkpoint that is still there."""
    held = _held(connection)
    if held is None or not held["reason"].startswith(BY_HAND):
        return False
    found = connection.execute("SELECT state FROM checkpoints WHERE name = ?", (held["checkpoint"],)).fetchone()
    return found is not None and found["state"] == "present"


def promote(connection: sqlite3.Connection, name: str, metric: str, clock: Clock = SYSTEM) -> Claim:
    """Crown a present checkpoint for the player; promoting it again changes nothing.

    Its value is that of the champion metric, or of the first of val_loss and train_loss it has when that one was not
    measured; the row names which. Raises Unknown, and Conflict for a checkpoint that is gone or was never measured.
    """
    with transaction(connection):
        row = connection.execute("SELECT step, state FROM checkpoints WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise unknown_name("checkpoint", name, [])
        if row["state"] != "present":
            raise Conflict(f"the checkpoint of step {row['step']} is not kept any more", hint="bring it back first")
        measured = [(m, value_of(connection, name, m)) for m in dict.fromkeys((metric, "val_loss", "train_loss"))]
        known = [(m, value) for m, value in measured if value is not None]
        if not known:
            raise Conflict(f"nothing was measured of the checkpoint of step {row['step']}", hint="wait for its eval")
        by, value = known[0]
        held = _held(connection)
        if held is not None and held["checkpoint"] == name and by_hand(connection):
            return Claim(name, row["step"], held["value"])
        against = value_of(connection, held["checkpoint"], by) if held else None
        before = f", the champion before had {against:.4g}" if against is not None else ""
        return _write(connection, Claim(name, row["step"], value), by, f"{BY_HAND}: {by} {value:.4g}{before}", against, clock)


def release(connection: sqlite3.Connection, metric: str, clock: Clock = SYSTEM) -> Claim | None:
    """Give a crown of the player's back to the metric: the best present checkpoint gets it; None when it was automatic."""
    with transaction(connection):
        held = _held(connection)
        if held is None or not by_hand(connection):
            return None
        rows = connection.execute("SELECT name, step FROM checkpoints WHERE state = 'present' ORDER BY step").fetchall()
        best: Claim | None = None
        for row in rows:
            value = value_of(connection, row["name"], metric)
            if value is not None and better(value, best.value if best else None, metric):
                best = Claim(row["name"], row["step"], value)
        if best is None:
            claim = Claim(held["checkpoint"], held["step"], held["value"])
            return _write(connection, claim, held["metric"], "automatic again, nothing was measured yet", None, clock)
        return _write(connection, best, metric, f"automatic again: {metric} {best.value:.4g}", held["value"], clock)
