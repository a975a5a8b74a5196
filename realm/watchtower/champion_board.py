"""The champion board: checkpoints ranked by one metric, with every number the ranking is made of."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from realm.core.errors import unknown_name
from realm.guild.rungs import rungs
from realm.watchtower.facts import read_transaction
from realm.watchtower.fields import Block, number, put
from realm.watchtower.inputs import EvalRow

# metric -> (what it is, larger is better)
METRICS: dict[str, tuple[str, bool]] = {
    "eval": ("rungs: over all skills, level in the newest gate eval - 1 + correct / n, summed", True),
    "val_loss": ("validation loss when it was saved", False),
    "train_loss": ("smoothed train loss when it was saved", False),
}


@dataclass(frozen=True)
class Contender:
    """A checkpoint with its record and its finished gate evals."""

    step: int
    name: str
    size: int
    pinned: bool
    created_at: str
    record: Mapping[str, Any]
    evals: Sequence[EvalRow] = ()


def rank(contenders: Sequence[Contender], metric: str, champion: str | None = None) -> list[Block]:
    """Return the board, first place first; what has no value comes last, unranked, with the reason.

    Equal values share a rank and stand in the order of steps, newest first. Raises Unknown for an unknown metric. Pure.
    """
    if metric not in METRICS:
        raise unknown_name("metric", metric, list(METRICS))
    larger = METRICS[metric][1]
    valued = [(value_of(found, metric), found) for found in contenders]
    order = sorted(valued, key=lambda pair: (pair[0] is None, _key(pair[0], larger), -pair[1].step))
    values = [value for value, _ in order if value is not None]
    return [_row(found, value, values, metric, champion) for value, found in order]


def _key(value: float | None, larger: bool) -> float:
    return 0.0 if value is None else (-value if larger else value)


def value_of(found: Contender, metric: str) -> float | None:
    """Return a contender's value of a metric, None when it was not measured."""
    if metric == "eval":
        return rungs((e.skill, e.level, e.correct, e.n) for e in found.evals)
    value = number(found.record, metric)
    if value is None and metric == "train_loss":
        value = number(found.record, "loss")
    return None if value is None or value != value else float(value)


def _row(found: Contender, value: float | None, values: Sequence[float], metric: str, champion: str | None) -> Block:
    row: Block = {"step": found.step, "name": found.name, "size": found.size, "pinned": found.pinned}
    row |= {"created_at": found.created_at, "champion": found.name == champion, "metric": metric}
    missing = "no gate eval of this checkpoint has finished" if metric == "eval" else f"its record carries no {metric}"
    put(row, "rank", None if value is None else values.index(value) + 1, missing)
    put(row, "value", value, missing)
    for name in ("train_loss", "val_loss"):
        put(row, name, value_of(found, name), f"its record carries no {name}")
    row["evals"] = [{"skill": e.skill, "level": e.level, "correct": e.correct, "n": e.n} for e in found.evals]
    return row


def read_contenders(connection: sqlite3.Connection) -> tuple[list[Contender], str | None]:
    """Read all present checkpoints with their gate evals, and the name of the champion, in one transaction."""
    with read_transaction(connection):
        evals: dict[str, list[EvalRow]] = {}
        for row in connection.execute(
            "SELECT checkpoint, skill, level, correct, n, step, finished_at AS at, finished FROM evals "
            "WHERE kind = 'gate' AND state = 'done' AND n > 0"
        ):
            found = dict(row)
            evals.setdefault(found.pop("checkpoint"), []).append(EvalRow(**found))
        crown = connection.execute("SELECT checkpoint FROM champions ORDER BY seq DESC LIMIT 1").fetchone()
        rows = connection.execute(
            "SELECT step, name, size, pinned, created_at, record FROM checkpoints WHERE state = 'present'"
        )
        contenders = [_contender(row, evals.get(row["name"], [])) for row in rows]
    return contenders, crown["checkpoint"] if crown else None


def _contender(row: sqlite3.Row, evals: Sequence[EvalRow]) -> Contender:
    return Contender(
        step=row["step"],
        name=row["name"],
        size=row["size"],
        pinned=bool(row["pinned"]),
        created_at=row["created_at"],
        record=json.loads(row["record"]),
        evals=evals,
    )


class ChampionBoard:
    """The board over a reading function, for scripts: `board.ranking("eval")`."""

    def __init__(self, read: Any) -> None:
        self._read = read

    def ranking(self, metric: str = "eval") -> list[Block]:
        """Return the rows of the board by a metric; raises Unknown for an unknown one."""
        contenders, champion = self._read()
        return rank(contenders, metric, champion)
