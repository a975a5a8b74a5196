"""Evals over HTTP: the newest by level, and what was answered, as plain text and only from evals/."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from realm.arena.evals.routes import eval_router
from realm.core.paths import Paths
from realm.core.store import open_facts
from realm.core.web import make_app

PORT = 20768
HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m‮"


def ask(app: FastAPI, path: str, **query: Any) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{PORT}") as client:
            return await client.get(path, params=query or None)

    return asyncio.run(run())


@pytest.fixture
def db(empty_home: Paths) -> Iterator[sqlite3.Connection]:
    with closing(open_facts(empty_home)) as connection:
        for number in range(1, 9):
            level, skill = 1 + number % 3, "bin" if number < 7 else "sy"
            connection.execute(
                "INSERT INTO evals(id, checkpoint, step, skill, level, kind, state, n, correct, queued_at, finished, finished_at,"
                " file) VALUES (?,?,?,?,?,'gate','done',20,?,'',?,'2026-01-01T00:00:00.000Z',?)",
                (f"e{number}", f"c{number}", number, skill, level, number, number, f"evals/c{number}/x-{number}.json"),
            )
        connection.execute("INSERT INTO evals(id, checkpoint, step, skill, level, kind, state, queued_at)"
                           " VALUES ('waits','c9',9,'bin',1,'gate','queued','')")  # fmt: skip
        yield connection


@pytest.fixture
def app(empty_home: Paths, db: sqlite3.Connection) -> FastAPI:
    return make_app("vault", [eval_router(empty_home)], port=PORT)


def sample(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"s{number}", "static": number < 2, "prompt": "p", "target": "t", "output": HOSTILE, "expected": "1",
            "parsed": None, "strict": number % 2, "reason": "r", "error": None, "finish_reason": "stop", **more}  # fmt: skip


def write(paths: Paths, number: int, lines: list[str]) -> None:
    folder = paths.evals / f"c{number}"
    folder.mkdir(exist_ok=True)
    (folder / f"x-{number}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def ids(answer: httpx.Response) -> list[str]:
    return [row["id"] for row in answer.json()["rows"]]


def test_the_newest_come_first_and_pages_have_no_doubles(app: FastAPI) -> None:
    assert ids(ask(app, "/api/evals")) == [f"e{n}" for n in range(8, 0, -1)]
    seen, before = [], None
    for _ in range(9):
        page = ask(app, "/api/evals", limit=3, **({"before": before} if before else {}))
        seen += ids(page)
        before = page.json()["next"]
        if before is None:
            break
    assert seen == [f"e{n}" for n in range(8, 0, -1)]


def test_by_skill_and_level(app: FastAPI) -> None:
    assert ids(ask(app, "/api/evals", skill="bin", level=1)) == ["e6", "e3"]
    assert ids(ask(app, "/api/evals", skill="bin", newest_of_level=True)) == ["e6", "e5", "e4"]
    assert ids(ask(app, "/api/evals", skill="none")) == []
    assert ask(app, "/api/evals", skill="../x").status_code == 400
    assert ask(app, "/api/evals", kind="odd").status_code == 422


def test_samples_are_text(app: FastAPI, empty_home: Paths) -> None:
    write(empty_home, 3, [json.dumps(sample(n)) for n in range(5)])
    found = ask(app, "/api/evals/e3/samples", limit=2, offset=1).json()
    assert (found["total"], found["correct"], found["n"]) == (5, 3, 20)
    assert [one["id"] for one in found["samples"]] == ["s1", "s2"]
    assert found["samples"][0]["answer"] == HOSTILE
    assert [one["correct"] for one in found["samples"]] == [True, False]
    assert "file" not in found


@pytest.mark.parametrize(("eval_id", "status"), [("none", 404), ("waits", 404), ("e1", 404), ("..%2fx", 404), ("E1", 400)])
def test_samples_that_are_not_there(app: FastAPI, eval_id: str, status: int) -> None:
    answer = ask(app, f"/api/evals/{eval_id}/samples")
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"strict": 1}', "9" * 5000])
def test_a_damaged_report_is_said_to_be_so(app: FastAPI, empty_home: Paths, line: str) -> None:
    write(empty_home, 3, [line])
    assert ask(app, "/api/evals/e3/samples").json()["error"]["code"] == "corrupt"


def test_nothing_outside_of_evals_is_read(app: FastAPI, empty_home: Paths, db: sqlite3.Connection) -> None:
    (empty_home.home / "secret.jsonl").write_text(json.dumps(sample(1)))
    db.execute("UPDATE evals SET file = 'evals/../secret.json' WHERE id = 'e3'")
    assert ask(app, "/api/evals/e3/samples").json()["error"]["code"] == "corrupt"
    (empty_home.evals / "c4").mkdir()
    (empty_home.evals / "c4" / "x-4.jsonl").symlink_to(empty_home.home / "secret.jsonl")
    assert ask(app, "/api/evals/e4/samples").json()["error"]["code"] == "corrupt"
