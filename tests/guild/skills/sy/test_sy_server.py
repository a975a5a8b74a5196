"""SY through the app of its server: every endpoint, the YAML it is known by, and the rate of generation."""

from __future__ import annotations

from pathlib import Path
from time import process_time
from typing import Any

import pytest
from fastapi.testclient import TestClient

from realm.core.paths import Paths
from realm.core.shipped import shipped_dir
from realm.guild.schedule import load_schedule
from realm.guild.skills.loader import get_skill, resolve_alias
from realm.guild.skills.server import builtin_skill, skill_app
from realm.guild.skills.split import split_of
from realm.guild.skills.sy import SKILL

PORT = 28080
FIELDS = {"id", "skill", "level", "user_prompt", "assistant_response", "key", "tags"}


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(skill_app("sy", PORT), base_url=f"http://127.0.0.1:{PORT}")


def _generate(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post("/generate", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_sy_is_what_the_game_shows(tmp_path: Path) -> None:
    skill = get_skill("sy", Paths(tmp_path), port_base=8000)
    assert (skill.name, skill.icon, skill.color, skill.max_level) == ("Word Weaving", "🧩", "#8B5CF6", 50)
    assert (skill.game_icon, skill.api_url) == ("game-icons:jigsaw-box", "http://127.0.0.1:8080")
    assert resolve_alias("syllo", Paths(tmp_path)) == "sy"
    assert builtin_skill("sy") is SKILL
    assert (shipped_dir("configs/skills") / "sy.yaml").is_file()


def test_sy_is_in_the_schedule_and_not_enabled(tmp_path: Path) -> None:
    schedule = load_schedule(Paths(tmp_path))
    assert "sy" in schedule.skills
    assert "sy" not in schedule.enabled()


def test_endpoints(client: TestClient) -> None:
    assert client.get("/health").json()["status"] == "ok"
    info = client.get("/info").json()
    assert (info["skill"], info["min_level"], info["max_level"], info["styles"]) == ("sy", 1, 50, ["brief", "unseen"])
    levels = client.get("/levels").json()["levels"]
    assert [row["level"] for row in levels] == list(range(1, 51))
    assert levels[0]["params"]["words"] == 2
    assert levels[49]["params"]["clue"] == ["c5"]
    found = client.get("/eval", params={"level": 12}).json()["samples"]
    assert found == client.get("/eval?level=12").json()["samples"]
    assert len({sample["key"] for sample in found}) == 5


def test_generate_and_grade(client: TestClient) -> None:
    first = _generate(client, level=3, count=10, seed=7)
    assert first == _generate(client, level=3, count=10, seed=7, split="train")
    for sample in first["samples"]:
        assert sample.keys() >= FIELDS
        assert split_of("sy", 3, sample["key"]) == "train"
    sample = first["samples"][0]
    right = client.post("/grade", json={"problem": sample, "answer": sample["assistant_response"]}).json()
    assert (right["correct"], right["expected"]) == (True, sample["assistant_response"])
    wrong = client.post("/grade", json={"problem": sample, "answer": first["samples"][1]["assistant_response"]}).json()
    assert wrong["correct"] is False
    forged = {**sample, "assistant_response": "1. a = A"}
    assert client.post("/grade", json={"problem": forged, "answer": "1. a = A"}).json()["correct"] is False
    assert (
        client.post("/grade", json={"problem": {"user_prompt": "hello", "level": 1}, "answer": "x"}).status_code == 400
    )


def test_unseen_words_are_for_probes_only(client: TestClient) -> None:
    found = _generate(client, level=6, count=2, seed=1, split="probe", styles={"unseen": 1})
    assert all("unseen" in sample["tags"] for sample in found["samples"])
    refused = client.post("/generate", json={"level": 6, "count": 2, "styles": {"unseen": 1}})
    assert refused.status_code == 400
    assert "no training rows" in refused.json()["error"]["message"]


@pytest.mark.parametrize("level", [1, 50])
def test_generation_is_not_slow(level: int) -> None:
    """A tenth of the promised rate (1,000 and 25 a second), so that a busy machine does not fail; bench/ measures it."""
    SKILL.generate(level, 3, 1)
    started = process_time()
    SKILL.generate(level, 10, 2)
    assert 10 / (process_time() - started) > {1: 100, 50: 2.5}[level]
