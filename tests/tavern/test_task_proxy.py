"""Tasks through the Tavern: answers are passed on with their status, a silent task master is an error."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from realm.core.web import make_app
from realm.tavern.task_proxy import task_routes

PORT = 20767


def ask(handler: Any, method: str, path: str, body: Any = None) -> httpx.Response:
    app = make_app("tavern", [task_routes(httpx.MockTransport(handler))], port=PORT)

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{PORT}") as client:
            return await client.request(method, path, json=body)

    return asyncio.run(run())


def test_lists_and_orders_are_passed_on() -> None:
    seen: list[tuple[str, str]] = []

    def master(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, request.url.raw_path.decode()))
        return httpx.Response(202 if request.method == "POST" else 200, json={"tasks": []})

    assert ask(master, "GET", "/api/tasks").json() == {"tasks": []}
    assert ask(master, "GET", "/api/tasks/runs?limit=7").status_code == 200
    assert ask(master, "POST", "/api/tasks/health_check/run", {}).status_code == 202
    assert seen == [("GET", "/api/tasks"), ("GET", "/api/tasks/runs?limit=7"), ("POST", "/api/tasks/health_check/run")]


def test_a_refusal_keeps_its_status_and_words() -> None:
    error = {"error": {"code": "unknown", "message": "there is no task", "hint": ""}}
    found = ask(lambda _: httpx.Response(404, json=error), "POST", "/api/tasks/nothing/run", {})
    assert found.status_code == 404
    assert found.json() == error


def test_a_silent_task_master_and_an_odd_name_are_errors() -> None:
    def silent(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    assert ask(silent, "GET", "/api/tasks").status_code == 503
    assert ask(silent, "POST", "/api/tasks/..%2f..%2fx/run", {}).status_code in (404, 422)
    assert ask(silent, "POST", "/api/tasks/health_check/run", {"force": True}).status_code == 422
