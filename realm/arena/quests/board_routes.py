"""HTTP routes of the quest board and of training control; `gate` mounts them on the Tavern's and the vault's port."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from realm.arena import control
from realm.arena.quests import board, intake, order
from realm.arena.quests.board_view import list_quests, quest_view
from realm.arena.quests.inbox_view import inbox_view
from realm.arena.quests.quest import get_quest
from realm.core import durable
from realm.core.errors import BadInput, NoSpace
from realm.core.ids import check_id
from realm.core.paths import Paths
from realm.core.store import open_facts, read_facts
from realm.core.web import NothingBody

MAX_UPLOAD = 2 * 1024**3
SPARE_BYTES = 256 * 1024**2
UPLOAD_PATH = "/api/quests/upload"

Priority = Literal["high", "normal", "low"]
Shelf = Literal["queued", "processing", "completed", "failed", "deleted"]
# (skill, level, count) -> (rows, generator id, generator version); given by gate, which knows the skill servers.
Generate = Callable[[str, int, int], tuple[list[dict[str, Any]], str, str]]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PriorityBody(_Body):
    priority: Priority


class MoveBody(_Body):
    direction: Literal["up", "down"]


class ActionBody(_Body):
    action: Literal["pause", "resume", "skip", "stop", "stop_after_quest", "restart"]


class GenerateBody(_Body):
    skill: str
    level: int = Field(ge=1, le=1000)
    count: int = Field(ge=1, le=20_000)
    priority: Priority = "normal"


def board_router(paths: Paths, generate: Generate) -> APIRouter:
    """Return the routes below `/api/quests`."""
    router = APIRouter(prefix="/api/quests", tags=["quests"])
    _add_arrivals(router, paths, generate)
    _add_orders(router, paths)
    return router


def _add_arrivals(router: APIRouter, paths: Paths, generate: Generate) -> None:
    @router.get("")
    def quests(
        state: Shelf = "queued", limit: Annotated[int, Query(ge=1, le=200)] = 50, before: str | None = None
    ) -> dict[str, Any]:
        """List quests of one shelf, in the order they are fought or, for ended ones, newest first."""
        with closing(read_facts(paths)) as facts:
            found = list_quests(facts, paths, state, limit, before)
        return {**found, "inbox": inbox_view(paths)}

    @router.post("/upload")
    async def upload(
        request: Request, name: Annotated[str, Query(min_length=1, max_length=200)], priority: Priority = "normal"
    ) -> dict[str, Any]:
        """Take a training file as the raw body, check every row, and answer with the verdict."""
        spool = await _spool(paths, request.stream())
        return await asyncio.to_thread(_judge_upload, paths, spool, name, priority)

    @router.post("/generate")
    def generate_quest(body: GenerateBody) -> dict[str, Any]:
        """Ask a skill for rows of one level and put them on the board."""
        rows, generator, generator_version = generate(body.skill, body.level, body.count)
        name = f"train_{body.skill}_level{body.level}_{len(rows)}_by_hand.jsonl"
        with closing(open_facts(paths)) as facts:
            params = {"count": body.count, "asked_by": "player"}
            origin = board.made_here(
                generator, generator_version, kind="generated", skill=body.skill, level=body.level, params=params
            )
            quest_id = board.submit_rows(paths, facts, rows, name=name, priority=body.priority, origin=origin)
        return {"id": quest_id, "name": name, "rows": len(rows)}

    @router.get("/{quest_id}/rows")
    def rows(quest_id: str, limit: Annotated[int, Query(ge=1, le=50)] = 5) -> dict[str, Any]:
        """Show the first rows of a quest."""
        with closing(read_facts(paths)) as facts:
            quest = get_quest(facts, check_id(quest_id))
        return {"rows": list(board.read_rows(paths, quest, limit))}


def _add_orders(router: APIRouter, paths: Paths) -> None:
    @router.post("/{quest_id}/priority")
    def set_priority(quest_id: str, body: PriorityBody) -> dict[str, Any]:
        """Move a waiting quest to another priority."""
        return _changed(paths, quest_id, lambda facts, i: board.set_priority(paths, facts, i, body.priority))

    @router.post("/{quest_id}/move")
    def move(quest_id: str, body: MoveBody) -> dict[str, Any]:
        """Let a waiting quest change places with its neighbour of the same priority."""
        return _changed(paths, quest_id, lambda facts, i: order.move(facts, i, body.direction))

    @router.post("/{quest_id}/delete")
    def delete(quest_id: str, _: NothingBody) -> dict[str, Any]:
        """Move a quest to the trash."""
        return _changed(paths, quest_id, lambda facts, i: board.delete(paths, facts, i))

    @router.post("/{quest_id}/undelete")
    def undelete(quest_id: str, _: NothingBody) -> dict[str, Any]:
        """Bring a deleted quest back."""
        return _changed(paths, quest_id, lambda facts, i: board.undelete(paths, facts, i))

    @router.post("/{quest_id}/retry")
    def retry(quest_id: str, _: NothingBody) -> dict[str, Any]:
        """Put a failed or skipped quest back on the board."""
        return _changed(paths, quest_id, lambda facts, i: board.retry(paths, facts, i))


def _changed(paths: Paths, quest_id: str, act: Callable[[sqlite3.Connection, str], Any]) -> dict[str, Any]:
    with closing(open_facts(paths)) as facts:
        return quest_view(act(facts, check_id(quest_id)), None)


async def _spool(paths: Paths, stream: AsyncIterator[bytes]) -> Path:
    """Write an upload to a spool file; raises BadInput past the size limit and NoSpace before the disk is full."""
    spool = durable.spool_file(paths.home / "queue")
    size = 0
    with durable.disk_errors(spool):
        try:
            with durable.open_new(spool) as handle:
                async for block in stream:
                    size += len(block)
                    if size > MAX_UPLOAD:
                        raise BadInput(f"the upload is over the limit of {MAX_UPLOAD} bytes")
                    if shutil.disk_usage(spool.parent).free < SPARE_BYTES:
                        raise NoSpace("too little free space for this upload", hint="free space and upload again")
                    await asyncio.to_thread(handle.write, block)
        except BaseException:
            spool.unlink(missing_ok=True)
            raise
    return spool


def _judge_upload(paths: Paths, spool: Path, name: str, priority: str) -> dict[str, Any]:
    try:
        with closing(open_facts(paths)) as facts:
            quest_id = intake.accept_spool(paths, facts, spool, name=name, priority=priority)
            quest = get_quest(facts, quest_id)
        return {"name": name, "verdict": "accepted", "id": quest_id, "reason": "", "rows": quest.rows, "tokens": quest.tokens}
    except (intake.Refusal, intake.RowError) as refusal:
        return {"name": name, "verdict": "refused", "id": None, "reason": refusal.message, "rows": 0, "tokens": 0}
    finally:
        spool.unlink(missing_ok=True)


def control_router(paths: Paths) -> APIRouter:
    """Return the routes below `/api/training`."""
    router = APIRouter(prefix="/api/training", tags=["training"])

    @router.get("/status")
    def status() -> dict[str, Any]:
        """Return what the arena last said of itself."""
        found = durable.read_projection(paths.status / "training_status.json")
        return found or {"state": None, "state_reason": "the arena has not run here yet"}

    @router.get("/queue")
    def queue() -> dict[str, Any]:
        """Return the waiting quests and the counts of every shelf."""
        with closing(read_facts(paths)) as facts:
            return list_quests(facts, paths, "queued", 200, None)

    @router.post("/control")
    def give(body: ActionBody) -> dict[str, Any]:
        """Pause, resume, skip or stop at the next step boundary."""
        control.give(paths, body.action)
        return {"action": body.action, "orders": vars(control.read_orders(paths))}

    return router
