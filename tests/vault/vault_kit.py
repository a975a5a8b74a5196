"""A vault with checkpoints and its routes, in-process."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from typing import Any

import httpx
from fastapi import FastAPI

from realm.arena import crown
from realm.core.clock import Clock
from realm.core.paths import Paths
from realm.core.web import make_app
from realm.vault.checkpoint_routes import Crowning, checkpoint_router
from realm.vault.keeping.retention import Keep

PORT = 20767
KEEP = Keep(2, 0, 0, 10**9)


def name_of(step: int) -> str:
    return f"checkpoint-{step}-20260101-0000"


def vault_app(paths: Paths, clock: Clock, keep: Keep = KEEP, metric: str = "eval") -> FastAPI:
    crowning = Crowning(lambda db, name: crown.promote(db, name, metric, clock), lambda db: crown.release(db, metric, clock))
    return make_app("vault", [checkpoint_router(paths, lambda: keep, crowning, clock)], port=PORT)


def ask(app: FastAPI, method: str, path: str, body: Any = None, **query: Any) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{PORT}") as client:
            return await client.request(method, path, json=body, params=query or None)

    return asyncio.run(run())


def add_row(db: sqlite3.Connection, step: int, size: int = 100, pinned: int = 0, **record: Any) -> None:
    """Put a checkpoint into the index only."""
    told = {"canonical_name": name_of(step), "step": step, "quests": [], **record}
    db.execute(
        "INSERT INTO checkpoints(name, step, state, pinned, parent, generation, weights_sha256, manifest_sha256, size,"
        " created_at, record) VALUES (?,?,'present',?,?,1,'w','m',?,'2026-01-01T00:00:00.000Z',?)",
        (name_of(step), step, pinned, None, size, json.dumps(told)),
    )


def add_eval(db: sqlite3.Connection, step: int, level: int, correct: int, n: int = 20, skill: str = "bin",
             kind: str = "gate", state: str = "done") -> str:  # fmt: skip
    finished = db.execute("SELECT coalesce(max(finished), 0) + 1 FROM evals").fetchone()[0]
    found = f"e{finished}-{step}-{level}-{skill}-{kind}"
    db.execute(
        "INSERT INTO evals(id, checkpoint, step, skill, level, kind, state, n, correct, queued_at, finished, finished_at)"
        " VALUES (?,?,?,?,?,?,?,?,?,'',?,'2026-01-01T00:00:00.000Z')",
        (found, name_of(step), step, skill, level, kind, state, n, correct, finished),
    )
    return found
