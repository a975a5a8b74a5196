"""Every route of a port, by every method, under every foreign head: refused, and nothing below the base directory changes."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import unquote

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from free_ports import free_port

from realm.core.paths import Paths
from realm.core.store import open_facts
from realm.gate import Realm

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
Headers = list[tuple[bytes, bytes]]
APPS = ("vault_app", "tavern_app", "watchtower_app")
UP = "%2e%2e%2f%2e%2e%2fconfig.json"


def foreign_heads(port: int) -> dict[str, Headers]:
    own = [(b"host", f"127.0.0.1:{port}".encode())]
    return {
        "another Host": [(b"host", b"evil.example")],
        "a Host of another port": [(b"host", f"127.0.0.1:{port + 1}".encode())],
        "no Host": [],
        "two Hosts": own + own,
        "Origin null": [*own, (b"origin", b"null")],
        "another Origin": [*own, (b"origin", b"http://evil.example")],
        "Origin of another port": [*own, (b"origin", f"http://127.0.0.1:{port + 1}".encode())],
        "cross-site": [*own, (b"sec-fetch-site", b"cross-site")],
        "same-site, another port": [*own, (b"sec-fetch-site", b"same-site")],
    }


def all_routes(routes: Iterable[Any]) -> Iterator[Any]:
    """Every route, those of included routers too."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from all_routes(inner.routes)
        else:
            yield route


def paths_of(app: FastAPI, value: str) -> Iterator[tuple[str, set[str]]]:
    """Every path of the app with `value` in place of its parameters, and the methods it has."""
    for route in all_routes(app.routes):
        path, methods = getattr(route, "path", ""), set(getattr(route, "methods", None) or {"GET"})
        if path:
            yield re.sub(r"\{[^}]+\}", value, path), methods


async def send(app: FastAPI, method: str, path: str, headers: Headers, kind: str = "http") -> int:
    said: list[dict[str, Any]] = []
    given = [] if method in ("GET", "HEAD", "OPTIONS") else [(b"content-type", b"application/json"), (b"content-length", b"2")]
    scope = {
        "type": kind, "method": method, "path": unquote(path), "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "scheme": "http", "headers": [*headers, *given], "http_version": "1.1", "asgi": {"version": "3.0"},
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", app.state.port), "subprotocols": [],
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def hear(message: dict[str, Any]) -> None:
        said.append(message)

    await app(scope, receive, hear)
    first = said[0]
    return int(first["status"]) if first["type"] == "http.response.start" else int(first["code"])


def state(paths: Paths) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths.home.rglob("*")):
        if path.is_file() and path.parent != paths.store:
            digest.update(path.relative_to(paths.home).as_posix().encode() + hashlib.sha256(path.read_bytes()).digest())
    with closing(open_facts(paths)) as facts:
        for line in facts.iterdump():
            digest.update(line.encode())
    return digest.hexdigest()


@pytest.fixture(params=APPS)
def app(request, home: Paths) -> FastAPI:
    built: FastAPI = getattr(Realm(home), request.param)(free_port())
    return built


def test_a_foreign_head_changes_nothing_anywhere(app: FastAPI, home: Paths) -> None:
    before, accepted = state(home), []

    async def attack() -> int:
        tried = 0
        for path, _ in paths_of(app, "checkpoint_50"):
            for what, headers in foreign_heads(app.state.port).items():
                for method in METHODS:
                    status = await send(app, method, path, headers)
                    tried += 1
                    if not 400 <= status < 500:
                        accepted.append((method, path, what, status))
                assert await send(app, "GET", path, headers, "websocket") == 1008
        return tried

    described = set(app.openapi()["paths"])
    assert described <= {route.path for route in all_routes(app.routes) if getattr(route, "path", "")}
    assert asyncio.run(attack()) >= len(described) * len(METHODS) * len(foreign_heads(1))
    assert accepted == []
    assert state(home) == before


def test_what_climbs_out_of_an_id_changes_nothing(app: FastAPI, home: Paths) -> None:
    own, before, accepted = [(b"host", f"127.0.0.1:{app.state.port}".encode())], state(home), []

    async def attack() -> None:
        for route in all_routes(app.routes):
            if not isinstance(route, APIRoute) or "{" not in route.path:
                continue
            for value in (UP, "..", "%00", "A" * 300):
                for method in METHODS:
                    status = await send(app, method, re.sub(r"\{[^}]+\}", value, route.path), own)
                    if not 400 <= status < 500:
                        accepted.append((method, route.path, value, status))

    asyncio.run(attack())
    assert accepted == []
    assert state(home) == before


def test_methods_that_a_route_has_not_are_refused(app: FastAPI, home: Paths) -> None:
    own, before, accepted = [(b"host", f"127.0.0.1:{app.state.port}".encode())], state(home), []
    have: dict[str, set[str]] = {}
    for path, methods in paths_of(app, "checkpoint_50"):
        have.setdefault(path, set()).update(methods | ({"HEAD"} if "GET" in methods else set()))

    async def attack() -> None:
        for path, methods in have.items():
            for method in set(METHODS) - methods:
                status = await send(app, method, path, own)
                if not 400 <= status < 500:
                    accepted.append((method, path, status))

    asyncio.run(attack())
    assert accepted == []
    assert state(home) == before
