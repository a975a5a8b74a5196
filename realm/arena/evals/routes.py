"""HTTP routes of finished evals: the newest ones by skill and level, and what was asked and answered in one of them."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from realm.arena.evals import passives
from realm.core.errors import Corrupt, Unknown
from realm.core.ids import check_id
from realm.core.paths import Paths
from realm.core.store import read_facts

MAX_BYTES = 16 * 1024**2
_COLUMNS = ("id", "checkpoint", "step", "skill", "level", "kind", "n", "correct", "errors", "truncated", "static_n",
            "static_correct", "finished", "finished_at", "file")  # fmt: skip
# name in the answer -> name in the report
_SAMPLE = {"prompt": "prompt", "answer": "output", "expected": "expected", "target": "target", "parsed": "parsed",
           "reason": "reason", "error": "error", "finish_reason": "finish_reason"}  # fmt: skip


def eval_router(paths: Paths) -> APIRouter:
    """Return the routes below `/api/evals`."""
    router = APIRouter(prefix="/api/evals", tags=["evals"])

    @router.get("")
    def evals(
        skill: Annotated[str | None, Query(max_length=128)] = None,
        level: Annotated[int | None, Query(ge=1, le=100_000)] = None,
        kind: Literal["static", "gate", "probe", "full", "passive", "unseen"] | None = None,
        newest_of_level: bool = False,
        limit: Annotated[int, Query(ge=1, le=200)] = 20,
        before: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
    ) -> dict[str, Any]:
        """List finished evals, the newest first; `before` is the `next` of a page, `newest_of_level` keeps one a level."""
        asked = {"skill": check_id(skill) if skill is not None else None, "level": level, "kind": kind}
        with closing(read_facts(paths)) as facts:
            return list_evals(facts, asked, newest_of_level, limit, before)

    @router.get("/passives")
    def passive_probes() -> passives.PassivesView:
        """List the transfer probes: what each asks now, and its results, newest first."""
        with closing(read_facts(paths)) as facts:
            return passives_view(paths, facts)

    @router.get("/{eval_id}/samples")
    def samples(
        eval_id: str, limit: Annotated[int, Query(ge=1, le=500)] = 100, offset: Annotated[int, Query(ge=0, le=10**6)] = 0
    ) -> dict[str, Any]:
        """Show the problems of an eval with the answers given, the ones expected and the grades; text as it is."""
        with closing(read_facts(paths)) as facts:
            row = facts.execute("SELECT * FROM evals WHERE id = ?", (check_id(eval_id),)).fetchone()
        if row is None:
            raise Unknown(f"there is no eval {eval_id!r}")
        found = read_samples(paths, row)
        return {**_view(row), "total": len(found), "samples": found[offset : offset + limit]}

    return router


def passives_view(paths: Paths, facts: sqlite3.Connection) -> passives.PassivesView:
    """Return the transfer probes in force with their results."""
    table = passives.load_passives(paths)
    return passives.results(facts, table, passives.stands_of(facts, paths, table))


def list_evals(
    facts: sqlite3.Connection, asked: dict[str, Any], newest_of_level: bool, limit: int, before: int | None
) -> dict[str, Any]:
    """Return {"rows", "next"} of finished evals that match every given field of `asked`."""
    given = {name: value for name, value in asked.items() if value is not None}
    where = ["state = 'done'", "finished IS NOT NULL", *(f"{name} = :{name}" for name in given)]
    only = " AND ".join(where)
    if newest_of_level:
        where.append(f"finished IN (SELECT max(finished) FROM evals WHERE {only} GROUP BY skill, level)")
    if before is not None:
        where.append("finished < :before")
    rows = facts.execute(
        f"SELECT {', '.join(_COLUMNS)} FROM evals WHERE {' AND '.join(where)} ORDER BY finished DESC LIMIT :limit",
        {**given, "before": before, "limit": limit + 1},
    ).fetchall()
    more = rows[limit - 1]["finished"] if len(rows) > limit else None
    return {"rows": [_view(row) for row in rows[:limit]], "next": more}


def _view(row: sqlite3.Row) -> dict[str, Any]:
    shown = {name: row[name] for name in _COLUMNS if name not in ("finished", "finished_at", "file")}
    return {**shown, "at": row["finished_at"], "has_samples": row["file"] is not None}


def read_samples(paths: Paths, row: sqlite3.Row) -> list[dict[str, Any]]:
    """Return the samples of an eval in the order asked; raises Unknown when there are none to read, Corrupt for a damaged file.

    The file is the one the store names, below evals/, opened without following a link.
    """
    if row["state"] != "done" or row["file"] is None:
        why = "it has not finished" if row["state"] != "done" else "they were let go with its checkpoint; its counts stay"
        raise Unknown(f"there are no samples of eval {row['id']}: {why}")
    path = (paths.home / row["file"]).with_suffix(".jsonl")
    if not path.resolve().is_relative_to(paths.evals.resolve()):
        raise Corrupt(f"the report of eval {row['id']} is said to lie outside of evals/")
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as handle:
            data = handle.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise Unknown(f"the samples of eval {row['id']} are gone from {path.parent.name}/") from error
    except OSError as error:
        raise Corrupt(f"the samples of eval {row['id']} cannot be read: {error.strerror}") from error
    return [_sample(path, line) for line in data.splitlines() if line.strip()] if len(data) <= MAX_BYTES else _too_big(path)


def _too_big(path: Path) -> list[dict[str, Any]]:
    raise Corrupt(f"{path.name} has more than {MAX_BYTES} bytes", hint="no eval writes that much")


def _sample(path: Path, line: bytes) -> dict[str, Any]:
    try:
        told = json.loads(line)
        shown = {name: None if told.get(key) is None else str(told[key]) for name, key in _SAMPLE.items()}
        return {**shown, "correct": bool(told["strict"]), "static": bool(told["static"]), "id": str(told["id"])}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Corrupt(f"{path.name} holds a line that is no sample: {error}") from error
