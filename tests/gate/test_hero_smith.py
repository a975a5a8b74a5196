from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from realm.armory.hero_routes import HeroBody
from realm.core.errors import BadInput, Conflict
from realm.core.paths import Paths
from realm.gate import Realm
from realm.gate.forge_check import forge_checks
from realm.gate.hero_smith import HeroSmith, command_of, free_id
from realm.guild.schedule import load_schedule

PORT = 20889


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path).ensure()


@pytest.fixture
def page(paths: Paths) -> TestClient:
    return TestClient(Realm(paths).tavern_app(PORT), base_url=f"http://127.0.0.1:{PORT}")


def made(page: TestClient) -> dict[str, Any]:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        found: dict[str, Any] = page.get("/api/heroes").json()
        if found["making"]["state"] != "making":
            return found
        time.sleep(0.2)
    raise AssertionError("still being made")


def test_a_wish_becomes_a_command() -> None:
    wish = HeroBody(preset="tiny", name="Ada", look="moss", skills=["bin", "sy"])
    assert command_of(wish, "dio2") == [
        "hero", "create", "--preset", "tiny", "--id", "dio2", "--name", "Ada", "--look", "moss",
        "--skill", "bin", "--skill", "sy",
    ]  # fmt: skip
    assert command_of(HeroBody(folder="/m/x", skills=["bin"]), "dio")[2:4] == ["--base", "/m/x"]


def test_a_name_on_the_disk_is_never_taken_twice() -> None:
    assert [free_id(taken) for taken in (set(), {"dio"}, {"dio", "dio2"})] == ["dio", "dio2", "dio3"]


@pytest.mark.slow
def test_a_hero_is_made_from_the_page_and_never_overwritten(page: TestClient, paths: Paths) -> None:
    before = page.get("/api/heroes").json()
    assert (before["rows"], before["making"]["state"]) == ([], "idle")
    assert {"tiny", "dio"} <= {row["id"] for row in before["choices"]}
    asked = page.post("/api/heroes", json={"preset": "tiny", "name": "Ada", "look": "moss", "skills": ["bin", "sy"]})
    assert asked.status_code == 202
    assert page.post("/api/heroes", json={"preset": "tiny", "skills": ["bin"]}).status_code == 409
    after = made(page)
    assert after["making"] == {"state": "made", "text": after["making"]["text"], "seconds": None, "hero": "dio"}
    assert [(row["id"], row["name"], row["active"]) for row in after["rows"]] == [("dio", "Ada", True)]
    assert set(load_schedule(paths).enabled()) == {"bin", "sy"}
    weights = (paths.models / "dio" / "model.safetensors").read_bytes()
    assert page.get("/api/snapshot").json()["hero"]["look"] == "moss"

    assert page.post("/api/heroes", json={"preset": "tiny", "name": "Eve", "skills": ["bin"]}).status_code == 202
    second = made(page)
    assert {(row["id"], row["active"]) for row in second["rows"]} == {("dio", True), ("dio2", False)}
    assert (paths.models / "dio" / "model.safetensors").read_bytes() == weights
    assert set(load_schedule(paths).enabled()) == {"bin", "sy"}  # the second one changes nothing that is in force


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({"preset": "dragon", "skills": ["bin"]}, 404),
        ({"preset": "../tiny", "skills": ["bin"]}, 422),
        ({"folder": "/nowhere", "skills": ["bin"]}, 400),
        ({"preset": "tiny", "folder": "/x", "skills": ["bin"]}, 422),
        ({"preset": "tiny", "skills": []}, 422),
        ({"preset": "tiny", "skills": ["juggling"]}, 400),
        ({"preset": "tiny", "name": "a\nb", "skills": ["bin"]}, 422),
    ],
)
def test_a_wish_that_cannot_come_true_changes_nothing(wish: dict[str, Any], status: int, page: TestClient, paths: Paths) -> None:
    answer = page.post("/api/heroes", json=wish)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]
    assert page.get("/api/heroes").json()["making"]["state"] == "idle"
    assert list(paths.models.iterdir()) == [paths.current_model]


def test_a_failed_making_is_told(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    smith = HeroSmith(paths)

    def fail(words: list[str]) -> str:
        raise BadInput("the hub cannot be reached")

    monkeypatch.setattr(smith, "_run", fail)
    smith.begin(HeroBody(preset="tiny", skills=["bin"]))
    until = time.monotonic() + 10
    while smith.state()["state"] == "making" and time.monotonic() < until:
        time.sleep(0.01)
    assert smith.state()["state"] == "failed"
    assert smith.state()["text"] == "the hub cannot be reached"


def test_one_hero_at_a_time(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    smith, go_on = HeroSmith(paths), threading.Event()
    monkeypatch.setattr(smith, "_run", lambda words: str(go_on.wait(10)))
    smith.begin(HeroBody(preset="tiny", skills=["bin"]))
    with pytest.raises(Conflict):
        smith.begin(HeroBody(preset="tiny", skills=["bin"]))
    go_on.set()


def test_the_forge_check_says_what_to_do(paths: Paths) -> None:
    rows = {row["id"]: row for row in forge_checks(paths)}
    assert rows["write"]["good"]
    assert rows["python"]["good"]
    assert not (paths.run / "write-test").exists()


def test_a_home_that_cannot_be_written_is_found(tmp_path: Path) -> None:
    rows = {row["id"]: row for row in forge_checks(Paths(tmp_path))}
    assert not rows["write"]["good"]  # its folders were never made
    assert "--home" in rows["write"]["fix"]
