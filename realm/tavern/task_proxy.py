"""Tasks on the page: the task master keeps them, the Tavern passes its answers and the order to run one on."""

from __future__ import annotations

from typing import Annotated

import httpx
from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from realm.core.web import NothingBody
from realm.tavern.passing import Neighbour


def task_routes(transport: httpx.AsyncBaseTransport | None = None) -> APIRouter:
    """Return the routes below `/api/tasks`; `transport` is for tests."""
    router = APIRouter(prefix="/api/tasks", tags=["tasks"])
    master = Neighbour("taskmaster", "the task master", "realm tasks serve starts it", transport)

    @router.get("")
    async def tasks() -> Response:
        """List the tasks, the most urgent first, with what each waits for and how its last run ended."""
        return await master.ask("GET", "/api/tasks")

    @router.get("/runs")
    async def runs(limit: Annotated[int, Query(ge=1, le=500)] = 200) -> Response:
        """List the newest runs."""
        return await master.ask("GET", f"/api/tasks/runs?limit={limit}")

    @router.post("/{task}/run", status_code=202)
    async def run(task: Annotated[str, Path(pattern="^[a-z][a-z0-9_]{0,63}$")], _: NothingBody) -> Response:
        """Have a task run as soon as no other does, whatever its cooldown."""
        return await master.ask("POST", f"/api/tasks/{task}/run", {})

    return router
