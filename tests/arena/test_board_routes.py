"""The board over HTTP, in process: every upload gets a verdict, every refusal changes nothing."""

from __future__ import annotations

import asyncio
import errno
import hashlib
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from fight_kit import put
from quest_files import as_bytes, leftovers, rows
from starlette.requests import ClientDisconnect

from realm.arena.quests import board, board_routes
from realm.arena.quests.board_routes import UPLOAD_PATH, board_router, control_router
from realm.core.errors import Unavailable
from realm.core.paths import Paths
from realm.core.store import open_facts
from realm.core.web import make_app

HOST = "127.0.0.1:21888"
EVENT_LINES = ('INSERT INTO "events"', 'INSERT INTO "changes"', 'INSERT INTO "sqlite_sequence"')
NDJSON = {"content-type": "application/x-ndjson"}


class Web:
    """A client that speaks to the app without a socket."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.asked: list[tuple[str, int, int]] = []
        self.app = make_app("test", [board_router(paths, self.generate), control_router(paths)], port=21888,
                            upload_paths=(UPLOAD_PATH,))  # fmt: skip

    def generate(self, skill: str, level: int, count: int) -> tuple[list[dict[str, Any]], str, str]:
        self.asked.append((skill, level, count))
        if skill == "gone":
            raise Unavailable("the skill server does not answer")
        return rows(count), "test", "1"

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def run() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
                return await client.request(method, path, **more)

        return asyncio.run(run())

    def upload(self, data: Any, name: str = "x.jsonl", **more: Any) -> httpx.Response:
        return self.ask("POST", UPLOAD_PATH, params={"name": name}, content=data, **{"headers": NDJSON, **more})


@pytest.fixture
def web(home: Paths) -> Web:
    open_facts(home).close()
    return Web(home)


def snapshot(paths: Paths) -> dict[str, str]:
    """Everything that counts as state: file names and bytes, and the rows of the store."""
    found = {str(p.relative_to(paths.home)): hashlib.sha256(p.read_bytes()).hexdigest()
             for p in paths.home.rglob("*") if p.is_file() and not {"store", "journal"} & set(p.parts)}  # fmt: skip
    with closing(open_facts(paths)) as facts:
        return {**found, "dump": "\n".join(facts.iterdump())}


def test_a_good_upload(web: Web) -> None:
    answer = web.upload(as_bytes(rows(5)), name="my train.jsonl")
    assert answer.status_code == 200
    told = answer.json()
    assert (told["verdict"], told["rows"], told["reason"]) == ("accepted", 5, "")
    listed = web.ask("GET", "/api/quests").json()
    assert [row["id"] for row in listed["rows"]] == [told["id"]]
    assert listed["counts"]["queued"] == 1
    assert len(web.ask("GET", f"/api/quests/{told['id']}/rows?limit=2").json()["rows"]) == 2
    assert leftovers(web.paths) == []


@pytest.mark.parametrize(("data", "name", "reason"), [
    (b"", "x.jsonl", "empty"),
    (b"oops\n", "x.jsonl", "row 1"),
    (as_bytes(rows(2)) + b"\xff\n", "x.jsonl", "row 3: not UTF-8"),
    (b"x" * 2_000_000, "x.jsonl", "row 1: longer"),
    (as_bytes(rows(2)), "x.txt", ".jsonl"),
])  # fmt: skip
def test_a_bad_upload_is_refused_with_the_reason(web: Web, data: bytes, name: str, reason: str) -> None:
    before = snapshot(web.paths)
    told = web.upload(data, name=name).json()
    assert (told["verdict"], told["id"]) == ("refused", None)
    assert reason in told["reason"]
    after = snapshot(web.paths)
    for taken in (before, after):  # what was refused may be told in the log of events, and nowhere else
        taken["dump"] = "\n".join(line for line in taken["dump"].split("\n") if not line.startswith(EVENT_LINES))
    assert after == before


NAMES = ["../../evil.jsonl", "/etc/passwd.jsonl", "a\nb.jsonl", "\x1b[2J.jsonl", "😀.jsonl", "x" * 193 + ".jsonl"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_label_and_no_path(web: Web, name: str) -> None:
    told = web.upload(as_bytes(rows(2)), name=name).json()
    assert (told["verdict"], told["name"]) == ("accepted", name)
    names = [p.name for p in web.paths.queue("normal").iterdir()]
    assert len(names) == 2
    assert all(n.isascii() and "/" not in n for n in names)


def test_an_endless_upload_stops_at_the_limit(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_routes, "MAX_UPLOAD", 1_000_000)
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65536
            yield b"x" * 65536

    answer = web.upload(endless())
    assert answer.status_code == 400
    assert "over the limit" in answer.json()["error"]["message"]
    assert sent < 3_000_000
    assert leftovers(web.paths) == []


def test_too_little_space_is_said_before_the_disk_is_full(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_routes, "SPARE_BYTES", 2**62)
    assert web.upload(as_bytes(rows(2))).status_code == 507
    monkeypatch.undo()

    def full(_: Path) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(board_routes.durable, "open_new", full)
    assert web.upload(as_bytes(rows(2))).status_code == 507
    assert leftovers(web.paths) == []


def test_a_client_that_goes_away_leaves_nothing(web: Web) -> None:
    async def run() -> None:
        messages = iter([{"type": "http.request", "body": b"half a ro", "more_body": True}, {"type": "http.disconnect"}])
        scope = {"type": "http", "method": "POST", "path": UPLOAD_PATH, "raw_path": UPLOAD_PATH.encode(), "root_path": "",
                 "query_string": b"name=x.jsonl", "http_version": "1.1", "scheme": "http", "asgi": {"version": "3.0"},
                 "headers": [(b"host", HOST.encode()), (b"content-type", b"application/x-ndjson")]}  # fmt: skip

        async def receive() -> Any:
            return next(messages)

        async def send(_: Any) -> None: ...

        await web.app(scope, receive, send)

    with pytest.raises(ClientDisconnect):
        asyncio.run(run())
    assert leftovers(web.paths) == []
    assert web.ask("GET", "/api/quests").json()["rows"] == []


PATHS_AS_IDS = ["..", "..%2f..%2fetc%2fpasswd", "%2e%2e", "A" * 26, "x%0a", "x" * 200, "%00", "01%2F..%2F02", "-rf"]


@pytest.mark.parametrize("quest_id", PATHS_AS_IDS)
@pytest.mark.parametrize("act", ["delete", "undelete", "retry", "priority", "rows"])
def test_a_path_in_an_id_is_refused(web: Web, quest_id: str, act: str) -> None:
    before = snapshot(web.paths)
    if act == "rows":
        answer = web.ask("GET", f"/api/quests/{quest_id}/rows")
    else:
        answer = web.ask("POST", f"/api/quests/{quest_id}/{act}", json={"priority": "high"} if act == "priority" else {})
    assert 400 <= answer.status_code < 500
    assert "error" in answer.json()
    assert snapshot(web.paths) == before


@pytest.fixture
def quest_id(web: Web) -> str:
    return put(web.paths, "a.jsonl", 3).id


FOREIGN: list[dict[str, str]] = [
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:9999"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"host": "evil.example"},
    {"host": "127.0.0.1:9999"},
    {"content-type": "text/plain"},
    {"content-type": "application/x-www-form-urlencoded"},
    {"content-type": "application/x-ndjson"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_foreign_page_changes_nothing(web: Web, quest_id: str, headers: dict[str, str]) -> None:
    before = snapshot(web.paths)
    json_body = {"content-type": "application/json", **headers}
    for path, body in ((f"/api/quests/{quest_id}/delete", b"{}"), (f"/api/quests/{quest_id}/priority", b'{"priority":"low"}'),
                       ("/api/training/control", b'{"action":"stop"}'),
                       ("/api/quests/generate", b'{"skill":"bin","level":1,"count":3}')):  # fmt: skip
        answer = web.ask("POST", path, content=body, headers=json_body)
        assert answer.status_code in (403, 415, 421), path
    if "ndjson" not in str(headers):
        answer = web.upload(as_bytes(rows(2)), headers={**NDJSON, **headers})
        assert answer.status_code in (403, 415, 421)
    assert snapshot(web.paths) == before
    assert web.asked == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"priority":"urgent"}', b'{"priority":"high","more":1}', b"[" * 100_000])
def test_a_malformed_body_is_4xx(web: Web, quest_id: str, body: bytes) -> None:
    before = snapshot(web.paths)
    answer = web.ask("POST", f"/api/quests/{quest_id}/priority", content=body, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert snapshot(web.paths) == before


def test_a_body_bomb_without_a_length_is_cut(web: Web, quest_id: str) -> None:
    async def bomb() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 65536
        yield b'{"priority":"low"}'

    before = snapshot(web.paths)
    answer = web.ask("POST", f"/api/quests/{quest_id}/priority", content=bomb(), headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert snapshot(web.paths) == before


def test_moves_over_http(web: Web, quest_id: str) -> None:
    def act(name: str, **body: Any) -> httpx.Response:
        return web.ask("POST", f"/api/quests/{quest_id}/{name}", json=body)

    assert act("priority", priority="high").json()["priority"] == "high"
    assert act("retry").status_code == 409
    assert act("delete").json()["state"] == "deleted"
    assert act("delete").status_code == 409
    assert act("undelete").json()["state"] == "queued"
    assert web.ask("POST", "/api/quests/01m81kyem4tvraem8h33n4fn96/delete", json={}).status_code == 404


def test_a_refused_pipe_or_link_is_never_opened_for_its_rows(web: Web, tmp_path: Path) -> None:
    import os

    from board_kit import Kit

    secret = tmp_path / "secret"
    secret.write_text('{"token": 5}\n')
    with closing(open_facts(web.paths)) as facts:
        kit = Kit(web.paths, facts)
        os.mkfifo(web.paths.inbox / "pipe.jsonl")
        (web.paths.inbox / "link.jsonl").symlink_to(secret)
        taken = kit.take_in()
    assert len(taken) == 2
    for quest in taken:
        answer = web.ask("GET", f"/api/quests/{quest.id}/rows")
        assert 400 <= answer.status_code < 500
        assert "token" not in answer.text


def test_generate(web: Web) -> None:
    told = web.ask("POST", "/api/quests/generate", json={"skill": "bin", "level": 2, "count": 3}).json()
    assert (told["name"], told["rows"]) == ("train_bin_level2_3_by_hand.jsonl", 3)
    assert web.ask("POST", "/api/quests/generate", json={"skill": "gone", "level": 2, "count": 3}).status_code == 503
    for wrong in ({"level": 0}, {"count": 0}, {"count": 10**9}, {"skill": 5}, {"more": 1}):
        body = {"skill": "bin", "level": 2, "count": 3, **wrong}
        assert web.ask("POST", "/api/quests/generate", json=body).status_code == 422


def test_training_control_and_status(web: Web) -> None:
    assert web.ask("GET", "/api/training/status").json()["state"] is None
    answer = web.ask("POST", "/api/training/control", json={"action": "pause"}).json()
    assert answer["orders"] == {"pause": True, "skip": False, "stop": False, "stop_after_quest": False, "restart": False}
    assert web.ask("POST", "/api/training/control", json={"action": "explode"}).status_code == 422
    (web.paths.status / "training_status.json").write_bytes(b"")
    assert web.ask("GET", "/api/training/status").status_code == 200
    assert web.ask("GET", "/api/training/queue").json()["counts"]["queued"] == 0


def test_names_of_the_inbox_that_are_no_utf8(web: Web) -> None:
    (web.paths.inbox / b"\xff.jsonl".decode(errors="surrogateescape")).write_bytes(b"x")
    assert web.ask("GET", "/api/quests").json()["inbox"][0]["name"] == "\\xff.jsonl"


def test_limits_of_a_page(web: Web) -> None:
    for query in ("limit=0", "limit=201", "limit=x", "state=everything"):
        assert web.ask("GET", f"/api/quests?{query}").status_code == 422
    assert web.ask("GET", "/api/quests?before=%27;DROP%20TABLE%20quests").status_code == 200
    assert board.next_quest(open_facts(web.paths)) is None


def test_the_inbox_says_why_a_file_waits(web: Web) -> None:
    (web.paths.inbox / "new.jsonl").write_text("{}")
    with (web.paths.inbox / "open.jsonl").open("w"):
        told = {row["name"]: row["reason"] for row in web.ask("GET", "/api/quests").json()["inbox"]}

    assert "open for writing" in told["open.jsonl"]
    assert "not changed for 2 seconds" in told["new.jsonl"]
