"""`GET /api/achievements`; the app that mounts it also follows the log while it serves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from typing import Any

from fastapi import APIRouter, FastAPI

from realm.core.paths import Paths
from realm.core.store import read_facts
from realm.guild import hall

Follower = Callable[[Paths, threading.Event], None]


def hall_router(paths: Paths, follower: Follower = hall.run_follower) -> APIRouter:
    """Return the route of the hall; its lifespan runs the one writer of `achievement.unlocked` in a thread."""

    @asynccontextmanager
    async def following(_app: FastAPI) -> AsyncIterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=follower, args=(paths, stop), name="hall", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            await asyncio.to_thread(thread.join, 5.0)

    router = APIRouter(tags=["progression"], lifespan=following)

    @router.get("/api/achievements")
    def achievements() -> dict[str, Any]:
        """Return XP, level, rank and gold, and every achievement with its evidence or how far it is."""
        with closing(read_facts(paths)) as facts:
            return hall.view(facts)

    return router
