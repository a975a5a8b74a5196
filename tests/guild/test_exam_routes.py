"""Fixed exam questions over HTTP: asked with their answers, graded as an eval grades."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from realm.core.paths import Paths
from realm.core.web import make_app
from realm.guild import exam_routes
from realm.guild.answer_styles import AnswerStyles
from realm.guild.skills.server import builtin_skill, grade
from realm.guild.skills.types import Item

PORT = 20769


class NearTrainer:
    """The skill itself in place of its server."""

    def __init__(self, skill: str) -> None:
        self.skill = builtin_skill(skill)

    def eval(self, level: int, style: str | None = None) -> list[Item]:
        return list(self.skill.static_eval(level, style))

    def grade(self, problem: Item, answer: str) -> dict[str, Any]:
        return grade(self.skill, problem.sample(), answer)


@pytest.fixture(autouse=True)
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exam_routes, "get_trainer", lambda skill, _paths: NearTrainer(skill))


STYLES = AnswerStyles({"brief": 1.0}, {2: {"trace": 0.5, "brief": 0.5}})


def ask(paths: Paths, method: str, path: str, body: Any = None) -> httpx.Response:
    app = make_app("tavern", [exam_routes.exam_router(paths, STYLES.examined)], port=PORT)

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{PORT}") as client:
            return await client.request(method, path, json=body)

    return asyncio.run(run())


def test_the_right_answer_is_right_and_another_one_is_not(empty_home: Paths) -> None:
    first = ask(empty_home, "GET", "/api/exams/bin?level=1").json()["questions"][0]
    right = ask(empty_home, "POST", "/api/exams/bin/grade", {"level": 1, "question": first["id"], "answer": first["answer"]})
    wrong = ask(empty_home, "POST", "/api/exams/bin/grade", {"level": 1, "question": first["id"], "answer": "no idea"})

    assert right.json()["correct"] is True
    assert wrong.json()["correct"] is False
    assert wrong.json()["expected"]


def test_a_question_of_another_level_is_unknown(empty_home: Paths) -> None:
    first = ask(empty_home, "GET", "/api/exams/bin?level=1").json()["questions"][0]
    found = ask(empty_home, "POST", "/api/exams/bin/grade", {"level": 2, "question": first["id"], "answer": "1"})
    assert found.status_code == 404
    assert found.json()["error"]["code"] == "unknown"


def test_a_field_that_is_not_known_is_refused(empty_home: Paths) -> None:
    body = {"level": 1, "question": "x", "answer": "", "force": True}
    assert ask(empty_home, "POST", "/api/exams/bin/grade", body).status_code == 422


def test_questions_are_asked_in_the_style_the_hero_is_examined_in(empty_home: Paths) -> None:
    brief, traced = (ask(empty_home, "GET", f"/api/exams/bin?level={level}").json()["questions"] for level in (1, 2))
    assert [one["id"] for one in brief] == [item.id for item in builtin_skill("bin").static_eval(1)]
    assert [one["id"] for one in traced] == [item.id for item in builtin_skill("bin").static_eval(2, "trace")]
    assert "\n" in traced[0]["answer"]
    body = {"level": 2, "question": traced[0]["id"], "answer": traced[0]["answer"]}
    assert ask(empty_home, "POST", "/api/exams/bin/grade", body).json()["correct"] is True
