"""The guard of every port: a table of heads and what becomes of them, and the same through an app."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Body
from hypothesis import given
from hypothesis import strategies as st

from realm.core.errors import Unknown
from realm.core.guard import SECURITY_HEADERS, Guard, Rules, judge
from realm.core.web import make_app

RULES = Rules.for_port(8888, upload_paths=frozenset({"/up"}))
WITH_TOKEN = Rules.for_port(8888, token="s3cret")
HOST = ("host", "127.0.0.1:8888")
JSON = ("content-type", "application/json")
NAVIGATION = (("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"))

# (rules, method, path, headers) -> status or None
TABLE: list[tuple[Rules, str, str, list[tuple[str, str]], int | None]] = [
    (RULES, "GET", "/", [HOST], None),
    (RULES, "GET", "/", [("host", "localhost:8888")], None),
    (RULES, "GET", "/", [("Host", "LOCALHOST:8888")], None),
    (RULES, "GET", "/", [], 421),
    (RULES, "GET", "/", [HOST, HOST], 421),
    (RULES, "GET", "/", [("host", "127.0.0.1")], 421),
    (RULES, "GET", "/", [("host", "127.0.0.1:8889")], 421),
    (RULES, "GET", "/", [("host", "evil.example:8888")], 421),
    (RULES, "GET", "/", [("host", "127.0.0.1:8888@evil.example")], 421),
    (RULES, "GET", "/", [("host", "127.0.0.1:8888 ")], 421),
    (RULES, "GET", "/api/x", [HOST, ("sec-fetch-site", "same-origin")], None),
    (RULES, "GET", "/api/x", [HOST, ("sec-fetch-site", "none")], None),
    (RULES, "GET", "/api/x", [HOST, ("sec-fetch-site", "same-site")], 403),
    (RULES, "GET", "/api/x", [HOST, ("sec-fetch-site", "cross-site")], 403),
    (RULES, "GET", "/api/x", [HOST, ("sec-fetch-site", "nonsense")], 403),
    (RULES, "GET", "/api/x", [HOST, ("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")], 403),
    (RULES, "GET", "/quests", [HOST, *NAVIGATION], None),
    (RULES, "GET", "/api/quests", [HOST, *NAVIGATION], 403),
    (RULES, "POST", "/quests", [HOST, JSON, *NAVIGATION], 403),
    (RULES, "HEAD", "/quests", [HOST, *NAVIGATION], 403),
    (RULES, "GET", "/quests", [HOST, NAVIGATION[0], NAVIGATION[1], ("sec-fetch-dest", "iframe")], 403),
    (RULES, "GET", "/quests", [HOST, NAVIGATION[0], ("sec-fetch-mode", "no-cors"), NAVIGATION[2]], 403),
    (RULES, "POST", "/x", [HOST, JSON, ("origin", "http://127.0.0.1:8888")], None),
    (RULES, "POST", "/x", [HOST, JSON, ("origin", "https://127.0.0.1:8888")], 403),
    (RULES, "POST", "/x", [HOST, JSON, ("origin", "http://127.0.0.1:8889")], 403),
    (RULES, "POST", "/x", [HOST, JSON, ("origin", "null")], 403),
    (RULES, "POST", "/x", [HOST, JSON, ("origin", "http://evil.example")], 403),
    (RULES, "GET", "/x", [HOST, ("origin", "http://evil.example")], 403),
    (RULES, "OPTIONS", "/x", [HOST, ("origin", "http://evil.example")], 403),
    (RULES, "POST", "/x", [HOST, JSON], None),
    (RULES, "POST", "/x", [HOST, ("content-type", "application/json; charset=utf-8")], None),
    (RULES, "POST", "/x", [HOST, ("content-type", "Application/JSON")], None),
    (RULES, "POST", "/x", [HOST], 415),
    (RULES, "POST", "/x", [HOST, ("content-type", "text/plain")], 415),
    (RULES, "POST", "/x", [HOST, ("content-type", "multipart/form-data; boundary=application/json")], 415),
    (RULES, "POST", "/x", [HOST, ("content-type", "text/plain; application/json")], 415),
    (RULES, "POST", "/x", [HOST, JSON, ("content-type", "text/plain")], 415),
    (RULES, "DELETE", "/x", [HOST], 415),
    (RULES, "PATCH", "/x", [HOST], 415),
    (RULES, "BREW", "/x", [HOST], 415),
    (RULES, "POST", "/up", [HOST, ("content-type", "application/x-ndjson"), ("content-length", str(2**40))], None),
    (RULES, "POST", "/up/", [HOST, ("content-type", "application/x-ndjson")], 415),
    (RULES, "POST", "/x", [HOST, ("content-type", "application/x-ndjson")], 415),
    (RULES, "POST", "/x", [HOST, JSON, ("content-length", "1048576")], None),
    (RULES, "POST", "/x", [HOST, JSON, ("content-length", "1048577")], 413),
    (RULES, "POST", "/x", [HOST, JSON, ("content-length", "-1")], 413),
    (RULES, "POST", "/x", [HOST, JSON, ("content-length", "x")], 413),
    (RULES, "POST", "/x", [HOST, JSON, ("content-length", "²")], 413),
    (WITH_TOKEN, "GET", "/", [HOST], 401),
    (WITH_TOKEN, "GET", "/", [HOST, ("authorization", "Bearer wrong")], 401),
    (WITH_TOKEN, "GET", "/", [HOST, ("authorization", "Bearer ")], 401),
    (WITH_TOKEN, "GET", "/", [HOST, ("authorization", "Bearer s3cret")], None),
    (WITH_TOKEN, "GET", "/", [("host", "evil"), ("authorization", "Bearer s3cret")], 421),
]


def encoded(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


@pytest.mark.parametrize(("rules", "method", "path", "headers", "status"), TABLE)
def test_the_table(rules: Rules, method: str, path: str, headers: list[tuple[str, str]], status: int | None) -> None:
    denied = judge(rules, method, path, encoded(headers))
    assert (denied.status if denied else None) == status


NAMES = st.sampled_from(["host", "origin", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "content-type",
                         "content-length", "authorization"])  # fmt: skip


@given(st.sampled_from(["GET", "POST", "PUT", "X"]), st.text(), st.lists(st.tuples(NAMES, st.binary(max_size=30)), max_size=8))
def test_any_head_is_judged(method: str, path: str, headers: list[tuple[str, bytes]]) -> None:
    judge(WITH_TOKEN, method, path, [(name.encode(), value) for name, value in headers])


class Web:
    def __init__(self) -> None:
        self.changed = 0
        router = APIRouter()

        @router.post("/change")
        def change(body: dict[str, Any] = Body(...)) -> dict[str, Any]:  # noqa: B008
            self.changed += 1
            return body

        @router.get("/lost")
        def lost() -> None:
            raise Unknown("no such thing", hint="look elsewhere")

        @router.get("/broken")
        def broken() -> None:
            raise ZeroDivisionError("secret path /etc")

        self.app = make_app("test", [router], port=8888)

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def run() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8888") as client:
                return await client.request(method, path, **more)

        return asyncio.run(run())


@pytest.fixture(scope="module")
def web() -> Web:
    return Web()


@pytest.mark.parametrize("path", ["/health", "/lost", "/broken", "/nowhere", "/docs", "/docs.js", "/openapi.json"])
def test_every_answer_carries_the_security_headers_and_one_error_shape(web: Web, path: str) -> None:
    answer = web.ask("GET", path)
    for name, value in SECURITY_HEADERS:
        assert answer.headers[name.decode()] == value.decode()
    assert "access-control-allow-origin" not in answer.headers
    expected = {"/lost": 404, "/broken": 500, "/nowhere": 404}.get(path, 200)
    assert answer.status_code == expected
    if expected != 200:
        assert set(answer.json()["error"]) == {"code", "message", "hint"}
        assert "secret" not in answer.text


def test_no_outside_resources_in_the_docs(web: Web) -> None:
    for path in ("/docs", "/docs.js", "/docs.css"):
        assert "http://" not in web.ask("GET", path).text
        assert "https://" not in web.ask("GET", path).text


def test_refusals_carry_the_headers_and_change_nothing(web: Web) -> None:
    before = web.changed
    for headers in ({"host": "evil"}, {"origin": "null"}, {"sec-fetch-site": "same-site"}, {"content-type": "text/plain"}):
        answer = web.ask("POST", "/change", content=b"{}", headers={"content-type": "application/json", **headers})
        assert answer.status_code in (403, 415, 421)
        assert "content-security-policy" in answer.headers
        assert "error" in answer.json()
    assert web.changed == before
    assert web.ask("POST", "/change", json={}).status_code == 200
    assert web.changed == before + 1


def test_a_chunked_body_past_the_cap_is_cut(web: Web) -> None:
    async def body() -> Any:
        yield b'{"x": "'
        for _ in range(40):
            yield b"y" * 65536
        yield b'"}'

    before = web.changed
    answer = web.ask("POST", "/change", content=body(), headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert web.changed == before


def test_web_sockets_are_closed() -> None:
    sent: list[Any] = []

    async def app(*_: Any) -> None:
        pytest.fail("reached the app")

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    asyncio.run(Guard(app, RULES)({"type": "websocket", "path": "/", "headers": []}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
