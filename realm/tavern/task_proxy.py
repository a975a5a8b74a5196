"""Tasks on the page: the task master keeps them, the Tavern passes its answers and the order to run one on."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict

from realm.core.errors import Unavailable
from realm.core.hosts import port_of

TIMEOUT = httpx.Timeout(10.0, connect=2.0)


class NothingBody(BaseModel):
    """An empty object; the body is there so that a foreign page cannot send the request as a simple one."""

    model_config = ConfigDict(extra="forbid")


def task_routes(transport: httpx.AsyncBaseTransport | None = None) -> APIRouter:
    """Return the routes below `/api/tasks`; `transport` is for tests."""
    router = APIRouter(prefix="/api/tasks", tags=["tasks"])

    @router.get("")
    async def tasks() -> Response:
        """List the tasks, the most urgent first, with what each waits for and how its last run ended."""
        return await _pass_on(transport, "GET", "/api/tasks")

    @router.get("/runs")
    async def runs(limit: Annotated[int, Query(ge=1, le=500)] = 200) -> Response:
        """List the newest runs."""
        return await _pass_on(transport, "GET", f"/api/tasks/runs?limit={limit}")

    @router.post("/{task}/run", status_code=202)
    async def run(task: Annotated[str, Path(pattern="^[a-z][a-z0-9_]{0,63}$")], _: NothingBody) -> Response:
        """Have a task run as soon as no other does, whatever its cooldown."""
        return await _pass_on(transport, "POST", f"/api/tasks/{task}/run", {})

    return router


async def _pass_on(
    transport: httpx.AsyncBaseTransport | None, method: str, path: str, body: dict[str, Any] | None = None
) -> Response:
    url = f"http://127.0.0.1:{port_of('taskmaster')}{path}"
    try:
        async with httpx.AsyncClient(transport=transport, timeout=TIMEOUT, follow_redirects=False, trust_env=False) as client:
            found = await client.request(method, url, json=body)
    except httpx.HTTPError as error:
        why = str(error) or type(error).__name__
        raise Unavailable(f"the task master does not answer: {why}", hint="realm tasks serve starts it") from error
    headers = {"Cache-Control": "no-store"}
    return Response(found.content, status_code=found.status_code, media_type="application/json", headers=headers)
