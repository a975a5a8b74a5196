from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import realm_facts as write
from fastapi import APIRouter, FastAPI
from tavern_scene import PORT, MakeApp, client_of

from realm.core.paths import Paths
from realm.tavern.pages import PAGES, read_assets
from realm.tavern.routes import SharedLook
from realm.watchtower import Watchtower


def ask(app: FastAPI, scene: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with client_of(app) as client:
            return await scene(client)

    return asyncio.run(run())


def get(app: FastAPI, path: str, **more: Any) -> httpx.Response:
    found: httpx.Response = ask(app, lambda client: client.get(path, **more))
    return found


def post(app: FastAPI, path: str, body: Any, **more: Any) -> httpx.Response:
    found: httpx.Response = ask(app, lambda client: client.post(path, json=body, **more))
    return found


# --- views ---


def test_the_snapshot_is_served(make: MakeApp, db: sqlite3.Connection) -> None:
    write.add_quest(db, "q1", "completed")
    answer = get(make(), "/api/snapshot")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["hero"]["gold"] == 100


def test_many_requests_share_one_look(tower: Watchtower, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        looks: list[int] = []
        read = tower.snapshot_json
        monkeypatch.setattr(tower, "snapshot_json", lambda: (looks.append(1), read())[1])
        look = SharedLook(tower)
        assert len(set(await asyncio.gather(*(look.json() for _ in range(50))))) == 1
        assert len(looks) == 1

    asyncio.run(scene())


def test_a_request_never_gets_a_look_that_began_before_it(tower: Watchtower, db: sqlite3.Connection) -> None:
    async def scene() -> None:
        read, begun, go = tower.snapshot_json, asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def slow() -> bytes:
            body = read()
            loop.call_soon_threadsafe(begun.set)
            assert go.wait(10)
            return body

        look = SharedLook(tower)
        tower.snapshot_json = slow  # type: ignore[method-assign]
        early = asyncio.ensure_future(look.json())
        await begun.wait()
        cursor = write.happen(db, "queue.low")
        late = asyncio.ensure_future(look.json())
        await asyncio.sleep(0)
        go.set()
        assert json.loads(await early)["cursor"] == cursor - 1
        assert json.loads(await late)["cursor"] == cursor

    asyncio.run(scene())


def test_the_status_command_prints_the_first_blocks_of_the_snapshot(
    paths: Paths, db: sqlite3.Connection, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from realm.cli import run

    monkeypatch.setenv("REALM_HOME", str(paths.home))
    write.add_quest(db, "q1", "completed")
    assert run(["status", "--json", "--home", str(paths.home)]) == 0
    status = json.loads(capsys.readouterr().out)
    assert set(status) == {"cursor", "at", "hero", "battle", "skills", "queue", "checkpoints", "services"}
    assert status["hero"]["gold"] == 100
    assert run(["status", "--home", str(paths.home)]) == 0
    assert "gold 100" in capsys.readouterr().out


def test_a_hostile_quest_name_is_text(make: MakeApp, db: sqlite3.Connection) -> None:
    name = "<script>alert(1)</script>\x1b]0;x\x07\u202e.jsonl"
    write.happen(db, "queue.added", subject=name, data={"name": name})
    answer = get(make(), "/api/snapshot")
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["log"][0]["subject"] == name
    assert "\x1b" not in answer.text


def test_acknowledge_and_away(make: MakeApp, db: sqlite3.Connection) -> None:
    app = make()
    for _ in range(3):
        write.happen(db, "queue.completed")
    assert post(app, "/api/ack", {"cursor": 2}).json()["cursor"] == 2
    assert get(app, "/api/away").json()["quests"] == 1
    assert get(app, "/api/away?after=0").json()["quests"] == 3
    assert get(app, "/api/snapshot").json()["seen"] == 2
    for body in ({"cursor": 99}, {"cursor": -1}, {"cursor": "2"}, {"cursor": 1, "x": 1}, {}):
        assert post(app, "/api/ack", body).status_code in (400, 422)
    assert get(app, "/api/away?after=99").status_code == 400


def test_metrics_and_champions(make: MakeApp, db: sqlite3.Connection, paths: Paths) -> None:
    from realm.core.store import open_telemetry

    telemetry = open_telemetry(paths)
    write.add_steps(telemetry, [(1, 2.0), (2, 5.0), (3, 1.0)])
    telemetry.close()
    write.add_checkpoint(db, 3, loss=1.0)
    app = make()
    assert get(app, "/api/metrics?buckets=1").json()["points"] == [{"x": 3, "min": 1.0, "max": 5.0, "last": 1.0}]
    assert get(app, "/api/metrics?from=2&to=2").json()["points"] == [{"x": 2, "min": 5.0, "max": 5.0, "last": 5.0}]
    assert get(app, "/api/champions?metric=train_loss").json()["rows"][0]["rank"] == 1
    assert get(app, "/api/champions?metric=beauty").status_code == 404
    for query in ("buckets=0", "buckets=9999", "from=-1", "from=3&to=2", f"from={2**60}", "to=x"):
        assert get(app, f"/api/metrics?{query}").status_code in (400, 422), query


@pytest.mark.parametrize("last_id", ["x", "-1", "1.5", "9" * 30, "²"])
def test_a_wrong_last_event_id_is_an_error(make: MakeApp, last_id: str) -> None:
    answer = get(make(), "/api/events", headers={"Last-Event-ID": last_id.encode()})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "bad_input"


def test_health_and_api_pages(make: MakeApp) -> None:
    app = make()
    health = get(app, "/health").json()
    assert (health["status"], health["service"], health["listening_pages"]) == ("ok", "tavern", 0)
    paths = get(app, "/openapi.json").json()["paths"]
    assert {"/api/snapshot", "/api/events", "/api/away", "/api/ack", "/api/metrics", "/oracle/chat"} <= set(paths)
    assert get(app, "/docs").status_code == 200


def test_the_places_own_routes_go_before_the_pages(make: MakeApp) -> None:
    router = APIRouter()
    router.add_api_route("/api/quests", lambda: {"rows": []})
    app = make([router])
    assert get(app, "/api/quests").json() == {"rows": []}
    assert get(app, "/quests").text.startswith("<!doctype html>")
    missing = get(app, "/api/nothing")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "http")


# --- pages ---


@pytest.mark.parametrize("path", PAGES)
def test_every_page_path_is_the_app_and_never_kept(make: MakeApp, path: str) -> None:
    answer = get(make(), path)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert "<title>Tavern</title>" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_person_on_a_wrong_address_gets_the_app_a_script_an_error(make: MakeApp) -> None:
    app = make()
    person = get(app, "/nowhere", headers={"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate"})
    assert (person.status_code, "<title>Tavern</title>" in person.text) == (404, True)
    script = get(app, "/nowhere")
    assert (script.status_code, script.json()["error"]["code"]) == (404, "http")
    assert get(app, "/quests/").status_code == 200


def test_hashed_assets_are_kept_for_ever_and_others_revalidated(make: MakeApp) -> None:
    app = make()
    script = get(app, "/assets/main-D4fG7h_2.js")
    assert script.headers["cache-control"].endswith("immutable")
    assert script.headers["content-type"].startswith("text/javascript")
    icon = get(app, "/favicon.svg")
    assert (icon.headers["cache-control"], icon.headers["content-type"]) == ("no-cache", "image/svg+xml")
    assert get(app, "/favicon.svg", headers={"If-None-Match": icon.headers["etag"]}).status_code == 304


TRAVERSALS = (
    "/assets/../../secret.txt", "/assets/..%2f..%2fsecret.txt", "/%2e%2e/secret.txt", "/..%5csecret.txt",
    "/assets/%2e%2e/%2e%2e/secret.txt", "//etc/passwd", "/%2fetc/passwd", "/leak.txt", "/assets", "/assets/", "/.",
    "/index.html%00.js", "/build.json/..", "/secret.txt",
)  # fmt: skip


@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_path_leaves_the_list_of_files(make: MakeApp, path: str) -> None:
    app = make()

    async def raw() -> tuple[int, bytes]:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            sent.append(message)

        from urllib.parse import unquote

        # Sent as a client without path clean-up would send it.
        scope = {"type": "http", "method": "GET", "path": unquote(path), "raw_path": path.encode(), "query_string": b"",
                 "headers": [(b"host", f"127.0.0.1:{PORT}".encode())], "http_version": "1.1", "scheme": "http",
                 "root_path": "", "server": ("127.0.0.1", PORT), "client": ("127.0.0.1", 1)}  # fmt: skip
        await app(scope, receive, send)
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])

    status, body = asyncio.run(raw())
    assert status in (307, 404)
    assert b"secret" not in body.replace(path.encode(), b"").replace(b"secret.txt", b"")


def test_links_out_of_the_folder_are_no_assets(static: Path) -> None:
    assert set(read_assets(static)) == {"/index.html", "/assets/main-D4fG7h_2.js", "/favicon.svg", "/build.json"}


def test_without_a_build_the_page_names_the_command(make: MakeApp, tmp_path: Path) -> None:
    answer = get(make(static=tmp_path / "nothing"), "/")
    assert answer.status_code == 503
    assert "npm --prefix web run build" in answer.text
    assert get(make(static=tmp_path / "nothing"), "/api/snapshot").status_code == 200


def test_a_new_build_is_served_without_restart(make: MakeApp, static: Path) -> None:
    app = make()
    assert "Tavern" in get(app, "/").text
    (static / "new.html").write_text("<!doctype html><title>Rebuilt</title>")
    (static / "new.html").replace(static / "index.html")
    assert "Rebuilt" in get(app, "/").text


# --- guard ---


def routes_of(app: FastAPI) -> list[tuple[str, str]]:
    found = {(method, path) for path, methods in openapi_routes(app) for method in methods}
    found |= {(method, path) for method in ("GET", "HEAD") for path in (*PAGES, "/assets/main-D4fG7h_2.js", "/docs")}
    return sorted(found)


def openapi_routes(app: FastAPI) -> list[tuple[str, list[str]]]:
    return [(path, [method.upper() for method in table]) for path, table in app.openapi()["paths"].items()]


FOREIGN: list[dict[str, str]] = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:9999"},
    {"Origin": "http://localhost:9999", "Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Host": "evil.example"},
    {"Host": f"127.0.0.1.evil.example:{PORT}"},
    {"Host": "127.0.0.1:9999"},
]


def test_every_route_refuses_foreign_requests_without_any_change(
    make: MakeApp, db: sqlite3.Connection, paths: Paths
) -> None:
    app = make()
    listed = routes_of(app)
    assert ("POST", "/api/ack") in listed
    assert ("POST", "/oracle/load") in listed
    assert len(listed) >= 25
    write.happen(db, "queue.low")
    before = list(db.iterdump())
    methods = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

    async def scene(client: httpx.AsyncClient) -> list[str]:
        let_in = []
        for path in sorted({path for _, path in listed}):
            for method in methods:
                for headers in FOREIGN:
                    answer = await client.request(method, path, headers=headers, json={"cursor": 1})
                    body_ok = method == "HEAD" or "error" in answer.json()
                    if not 400 <= answer.status_code < 500 or not body_ok:
                        let_in.append(f"{method} {path} {headers} -> {answer.status_code}")
        return let_in

    assert ask(app, scene) == []
    assert list(db.iterdump()) == before


def test_a_form_cannot_post(make: MakeApp) -> None:
    app = make()
    for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data"):
        headers = {"Content-Type": kind}
        answer = ask(app, lambda client, headers=headers: client.post("/api/ack", content=b"{}", headers=headers))
        assert answer.status_code == 415


def test_the_status_table_reads_well_and_the_terminal_is_safe(make: MakeApp, db: sqlite3.Connection) -> None:
    from realm.cli.status import table

    write.add_service(db, "oracle", "fallen", reason="exit \x1b[31m1")
    text = "\n".join(table(json.loads(get(make(), "/api/snapshot").content)))
    assert "there is no hero yet" in text
    assert "Battle    offline: the arena has not run" in text
    assert "0 high, 0 normal, 0 low" in text
    assert "oracle fallen since" in text
    assert "\x1b" not in text
    assert "\\x1b" in text


def test_the_tavern_starts_without_torch() -> None:
    code = (
        "import sys, realm.tavern.app, realm.watchtower, realm.cli.tavern, realm.cli.status;"
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
