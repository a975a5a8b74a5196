"""The skill server's contract, through the app: endpoints, limits, status codes and one error body."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from realm.core.errors import Unknown
from realm.core.paths import Paths
from realm.guild.skills import server
from realm.guild.skills.loader import get_skill
from realm.guild.skills.server import builtin_skill, skill_app
from realm.guild.skills.split import split_of
from realm.guild.skills.trainer import Trainer

PORT = 28090
FIELDS = {"id", "skill", "level", "user_prompt", "assistant_response", "key", "tags"}


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(skill_app("bin", PORT), base_url=f"http://127.0.0.1:{PORT}")


def _generate(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post("/generate", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_health_info_levels(client: TestClient) -> None:
    assert client.get("/health").json()["status"] == "ok"
    info = client.get("/info").json()
    assert (info["skill"], info["min_level"], info["max_level"]) == ("bin", 1, 30)
    assert info["finite_levels"] == {"1": 3052, "2": 45831}
    levels = client.get("/levels").json()["levels"]
    assert [row["level"] for row in levels] == list(range(1, 31))
    assert levels[0]["distinct"] == 3052
    assert levels[2]["distinct"] is None
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/health", "/info", "/levels", "/generate", "/eval", "/grade"} <= paths.keys()


def test_generate_is_repeatable_and_train_by_default(client: TestClient) -> None:
    first = _generate(client, level=3, count=40, seed=7)
    assert first == _generate(client, level=3, count=40, seed=7, split="train")
    assert first["samples"] != _generate(client, level=3, count=40, seed=8)["samples"]
    for sample in first["samples"]:
        assert sample.keys() >= FIELDS
        assert split_of("bin", 3, sample["key"]) == "train"


def test_generate_without_a_seed_draws_one_and_says_it(client: TestClient) -> None:
    first, second = _generate(client, level=9, count=5), _generate(client, level=9, count=5)
    assert first["samples"] != second["samples"]
    assert _generate(client, level=9, count=5, seed=first["seed"])["samples"] == first["samples"]


def test_styles_and_splits(client: TestClient) -> None:
    found = _generate(client, level=5, count=30, seed=1, split="eval", styles={"brief": 1, "verify": 1})
    assert {sample["key"].split("|")[0] for sample in found["samples"]} == {"brief", "verify"}
    assert all(split_of("bin", 5, sample["key"]) == "eval" for sample in found["samples"])


def test_eval_is_five_fixed_problems(client: TestClient) -> None:
    found = client.get("/eval", params={"level": 4}).json()["samples"]
    assert found == client.get("/eval?level=4").json()["samples"]
    assert len({sample["key"] for sample in found}) == 5


def test_grade_and_its_alias(client: TestClient) -> None:
    sample = _generate(client, level=6, count=1, seed=1)["samples"][0]
    for path in ("/grade", "/score"):
        right = client.post(path, json={"problem": sample, "answer": sample["assistant_response"]}).json()
        wrong = client.post(path, json={"problem": sample, "answer": "①"}).json()
        assert right["correct"] is True
        assert wrong["correct"] is False
        assert right.keys() >= {"correct", "expected", "parsed", "reason"}
        assert wrong["parsed"] is None
        assert wrong["expected"] == right["expected"] == right["parsed"]


def test_grade_looks_at_the_prompt_not_at_the_sent_answer(client: TestClient) -> None:
    sample = _generate(client, level=1, count=1, seed=1)["samples"][0]
    forged = {**sample, "assistant_response": "①"}
    assert client.post("/grade", json={"problem": forged, "answer": "①"}).json()["correct"] is False


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"level": 0, "count": 1}, 400),
        ({"level": 31, "count": 1}, 400),
        ({"level": 1, "count": 0}, 422),
        ({"level": 1, "count": 20_001}, 422),
        ({"level": 1, "count": 1, "split": "test"}, 422),
        ({"level": 1, "count": 1, "styles": {"poem": 1}}, 400),
        ({"level": 20, "count": 1, "styles": {"trace": 1}}, 400),
        ({"level": 1, "count": 1, "styles": {"brief": -1}}, 400),
        ({"level": 1, "count": 1, "styles": {}}, 400),
        ({"level": 1, "count": 1, "color": "red"}, 422),
        ({"level": "one", "count": 1}, 422),
        ({"count": 1}, 422),
        ([], 422),
    ],
)
def test_bad_requests_have_one_error_body(client: TestClient, body: Any, status: int) -> None:
    answer = client.post("/generate", json=body)
    assert answer.status_code == status
    assert answer.json()["error"].keys() >= {"code", "message", "hint"}


@pytest.mark.parametrize(
    "body",
    [
        {"problem": {"user_prompt": "Compute: add(①)", "level": 1}, "answer": "x"},
        {"problem": {"user_prompt": "hello", "level": 1}, "answer": "x"},
        {"problem": {}, "answer": "x"},
        {"problem": {"user_prompt": "Compute: add(①, ①)", "level": 1, "skill": "sy"}, "answer": "x"},
    ],
)
def test_grade_refuses_what_is_no_problem(client: TestClient, body: Any) -> None:
    answer = client.post("/grade", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_grade_limits_the_answer(client: TestClient) -> None:
    sample = _generate(client, level=1, count=1, seed=1)["samples"][0]
    assert client.post("/grade", json={"problem": sample, "answer": "①" * 100_001}).status_code == 422


def test_eval_of_a_level_that_is_not(client: TestClient) -> None:
    assert client.get("/eval?level=31").status_code == 400
    assert client.get("/eval").status_code == 422


def test_foreign_hosts_are_refused(client: TestClient) -> None:
    assert client.get("/info", headers={"host": "evil.example"}).status_code in (400, 403, 421)


def test_the_trainer_speaks_to_this_server(client: TestClient) -> None:
    skill = get_skill("bin", Paths(Path("/nonexistent")), port_base=28000)

    def over_the_wire(request: httpx.Request) -> httpx.Response:
        answer = client.request(
            request.method, str(request.url), content=request.content, headers=dict(request.headers)
        )
        return httpx.Response(answer.status_code, content=answer.content)

    trainer = Trainer(skill, httpx.MockTransport(over_the_wire))
    items = trainer.sample(level=5, count=10, seed=3)
    assert [item.sample() for item in items] == [i.sample() for i in builtin_skill("bin").generate(5, 10, 3)]
    assert [item.key for item in trainer.eval(5)] == [item.key for item in builtin_skill("bin").static_eval(5)]
    assert trainer.grade(items[0], items[0].assistant_response)["correct"] is True
    assert len(trainer.levels()) == 30


def test_only_builtin_skills_are_served() -> None:
    with pytest.raises(Unknown, match="built-in skill"):
        builtin_skill("juggling")


def test_run_serves_on_the_moved_port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    served: list[int] = []
    monkeypatch.setattr(server, "serve", lambda app: served.append(app.state.port))
    monkeypatch.setenv("REALM_PORT_BASE", "23000")
    server.run("bin", Paths(tmp_path))
    server.run("bin", Paths(tmp_path), 23999)
    assert served == [23090, 23999]
