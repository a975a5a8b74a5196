"""The film of a level: its fixed questions, and how one checkpoint after the other answered them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Annotated, Any

from fastapi import APIRouter, Query

from realm.arena.evals.routes import read_samples
from realm.core.errors import RealmError
from realm.core.ids import check_id
from realm.core.paths import Paths
from realm.core.store import read_facts

_EVALS = """
SELECT * FROM evals WHERE state = 'done' AND skill = ? AND level = ? AND kind IN ('gate', 'static') AND file IS NOT NULL
ORDER BY finished DESC LIMIT ?
"""


def film_router(paths: Paths) -> APIRouter:
    """Return the route of the film."""
    router = APIRouter(prefix="/api/evals", tags=["evals"])

    @router.get("/film")
    def film(
        skill: Annotated[str, Query(max_length=128)],
        level: Annotated[int, Query(ge=1, le=100_000)],
        frames: Annotated[int, Query(ge=1, le=60)] = 40,
    ) -> dict[str, Any]:
        """Show how one checkpoint after the other answered the fixed questions of a level, oldest first."""
        with closing(read_facts(paths)) as facts:
            return read_film(paths, facts, check_id(skill), level, frames)

    return router


def read_film(paths: Paths, facts: sqlite3.Connection, skill: str, level: int, frames: int) -> dict[str, Any]:
    """Return {"questions", "frames"}: the fixed questions of a level and the answers of the newest checkpoints, oldest first.

    A frame whose report is gone or damaged is kept with the reason in place of answers.
    """
    rows = facts.execute(_EVALS, (skill, level, frames)).fetchall()
    shot = [_frame(paths, row) for row in sorted(rows, key=lambda row: (row["step"], row["finished"]))]
    questions: dict[str, dict[str, Any]] = {}
    for frame in shot:
        for sample in frame.pop("samples"):
            asked = questions.setdefault(sample["id"], {name: sample[name] for name in ("id", "prompt", "expected", "target")})
            frame["answers"][asked["id"]] = {name: sample[name] for name in ("answer", "correct", "reason", "error")}
    return {"skill": skill, "level": level, "questions": list(questions.values()), "frames": shot}


def _frame(paths: Paths, row: sqlite3.Row) -> dict[str, Any]:
    samples, reason = [], ""
    try:
        samples = [sample for sample in read_samples(paths, row) if sample["static"]]
    except RealmError as error:
        reason = error.message
    told = {name: row[name] for name in ("checkpoint", "step", "n", "correct", "static_n", "static_correct")}
    return {**told, "eval": row["id"], "at": row["finished_at"], "reason": reason, "answers": {}, "samples": samples}
