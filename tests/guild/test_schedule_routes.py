"""The schedule over HTTP: previews are pure, a stored preset changes the next decision, errors name their field."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from fastapi.testclient import TestClient

from realm.core import events
from realm.core.paths import Paths
from realm.core.store import open_facts, read_facts
from realm.core.web import make_app
from realm.gate import Realm
from realm.guild.curriculum import decide
from realm.guild.schedule import PRESETS, load_schedule
from realm.guild.schedule_routes import differing, schedule_router
from realm.guild.standing import read_state

PORT = 21890
OTHER = """\
id: ww
name: Other Weaving
icon: "W"
game_icon: game-icons:jigsaw-box
color: "#8B5CF6"
description: a second skill
levels: {min: 1, max: 50}
api: {port: 8095, server: external}
eval: {}
"""


@pytest.fixture
def realm(home: Paths) -> Realm:
    home.user_skills.mkdir(parents=True, exist_ok=True)
    (home.user_skills / "ww.yaml").write_text(OTHER)
    return Realm(home)


@pytest.fixture
def client(realm: Realm) -> Iterator[TestClient]:
    app = make_app("tavern", [schedule_router(realm.paths, realm.foresee)], port=PORT)
    with TestClient(app, base_url=f"http://127.0.0.1:{PORT}", raise_server_exceptions=False) as opened:
        yield opened


def both(**bin_plan: Any) -> dict[str, Any]:
    return {"strategy": "focus", "skills": {"bin": {"priority": 1, **bin_plan}, "ww": {"priority": 5}}}


def state_of_home(paths: Paths) -> tuple[list[str], dict[str, bytes]]:
    """Return everything the database says and every file outside it."""
    with closing(sqlite3.connect(paths.store / "realm.db")) as facts:
        dump = list(facts.iterdump())
    kept = [path for path in paths.home.rglob("*") if path.is_file() and path.parent != paths.store]
    return dump, {str(path): path.read_bytes() for path in kept if path.suffix != ".safetensors"}


def next_skill(realm: Realm) -> str:
    """Decide as the data flow does: from the facts and the file in force."""
    levels = {"bin": 30, "sy": 50, "ww": 50}
    with closing(read_facts(realm.paths)) as facts:
        return decide(read_state(facts, levels, realm.hero_diet()), load_schedule(realm.paths), 0).skill


def test_the_table_in_force_with_presets_and_skills(client: TestClient, realm: Realm) -> None:
    found = client.get("/api/schedule").json()
    assert found["schedule"] == load_schedule(realm.paths).model_dump(mode="json")
    assert (found["origin"], [preset["id"] for preset in found["presets"]]) == ("shipped", list(PRESETS))
    skills = {one["id"]: one for one in found["skills"]}
    assert (skills["ww"]["max_level"], skills["ww"]["mastered"], skills["ww"]["training"]) == (50, 0, 1)
    for preset in found["presets"]:
        assert (preset["skills"] is None) == (preset["reason"] is not None)
    by_id = {preset["id"]: preset for preset in found["presets"]}
    assert {name for name, plan in by_id["bin_only"]["skills"].items() if plan["enabled"]} == {"bin"}


def test_a_hundred_previews_change_nothing(client: TestClient, realm: Realm) -> None:
    client.get("/api/schedule")
    open_facts(realm.paths).close()
    before = state_of_home(realm.paths)
    answers = set()
    for number in range(100):
        answer = client.post("/api/schedule/preview", json={"schedule": both(weight=1 + number % 2), "count": 3})
        assert answer.status_code == 200
        answers.add(answer.text)
    assert len(answers) == 1
    assert state_of_home(realm.paths) == before
    assert next_skill(realm) == "bin"


def test_a_preview_is_what_then_happens(client: TestClient, realm: Realm) -> None:
    foreseen = client.post("/api/schedule/preview", json={"schedule": both()}).json()["decisions"]
    assert len(foreseen) == 10
    assert {made["skill"] for made in foreseen} == {"ww"}
    assert "highest priority (5)" in foreseen[0]["reason"]
    assert client.post("/api/schedule", json={"schedule": both()}).status_code == 200
    assert next_skill(realm) == foreseen[0]["skill"]


def test_a_changed_preset_changes_the_next_decision(client: TestClient, realm: Realm) -> None:
    assert next_skill(realm) == "bin"
    shown = client.get("/api/schedule").json()
    preset = next(one for one in shown["presets"] if one["id"] == "bin_only")
    only_other = {name: {**plan, "enabled": name == "ww"} for name, plan in preset["skills"].items()}
    wanted = {**shown["schedule"], "strategy": preset["strategy"], "skills": only_other}
    assert client.post("/api/schedule", json={"schedule": wanted, "version": shown["version"]}).status_code == 200
    assert next_skill(realm) == "ww"
    wanted["skills"] = preset["skills"]
    assert client.post("/api/schedule", json={"schedule": wanted}).status_code == 200
    assert next_skill(realm) == "bin"


def test_storing_tells_and_keeps_the_previous(client: TestClient, realm: Realm) -> None:
    paths = realm.paths
    client.post("/api/schedule", json={"schedule": both()})
    first = paths.schedule.read_bytes()
    changes = client.post("/api/schedule", json={"schedule": both(enabled=False)}).json()["changes"]
    assert changes == {"skills.bin.enabled": [True, False]}
    assert (paths.user_config / "schedule.previous.yaml").read_bytes() == first
    with closing(read_facts(paths)) as facts:
        told = events.latest(facts, 10, "settings.changed")
    assert [(event["subject"], event["data"]["changes"]) for event in told[:1]] == [("schedule", changes)]
    assert client.post("/api/schedule", json={"schedule": both(enabled=False)}).json()["changes"] == {}
    with closing(read_facts(paths)) as facts:
        assert len(events.latest(facts, 10, "settings.changed")) == len(told) == 2


def test_an_editor_opened_on_an_older_file_is_refused(client: TestClient, realm: Realm) -> None:
    version = client.get("/api/schedule").json()["version"]
    assert client.post("/api/schedule", json={"schedule": both(), "version": version}).status_code == 200
    before = realm.paths.schedule.read_bytes()
    refused = client.post("/api/schedule", json={"schedule": both(enabled=False), "version": version})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
    assert realm.paths.schedule.read_bytes() == before


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        ({**both(), "strategy": "vibes"}, "strategy"),
        ({**both(), "colour": 1}, "colour"),
        (both(weight=0), "skills.bin.weight"),
        (both(weight=1e308), "skills.bin.weight"),
        (both(priority="much"), "skills.bin.priority"),
        (both(bonus=1), "skills.bin.bonus"),
        ({**both(), "skills": {"chess": {}}}, "skills.chess"),
        ({**both(), "skills": {}}, "skills"),
        ({**both(), "skills": {"bin": {"enabled": False}}}, "skills"),
        ({"strategy": "equal"}, "skills"),
        ({**both(), "board": {"low": 51}}, "board.low"),
        ({**both(), "board": {"quest_seconds": 1e300}}, "board.quest_seconds"),
        ({**both(), "board": {"min_rows": 10**30}}, "board.min_rows"),
        ({**both(), "board": []}, "board"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_schedule_names_its_field(client: TestClient, realm: Realm, schedule: dict[str, Any], field: str) -> None:
    for path in ("", "/preview"):
        answer = client.post(f"/api/schedule{path}", json={"schedule": schedule})
        assert answer.status_code == 400
        assert field in answer.json()["error"]["facts"]["fields"]
    assert not realm.paths.schedule.exists()


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", "1" * 5000, '"\\ud800"', "[" * 2000 + "]" * 2000])
def test_hostile_values_are_refused(client: TestClient, realm: Realm, value: str) -> None:
    wanted = json.dumps({"schedule": both(weight="HERE")}).replace('"HERE"', value)
    named = f'{{"schedule": {{"skills": {{"\\ud800": {value}}}}}}}'
    for body in (wanted, named):
        for path in ("", "/preview"):
            answer = client.post(f"/api/schedule{path}", content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code in (400, 422), answer.text[:300]
    assert not realm.paths.schedule.exists()


def test_the_log_of_decisions_is_paged(client: TestClient, realm: Realm) -> None:
    with closing(open_facts(realm.paths)) as facts:
        for number in range(5):
            facts.execute(
                "INSERT INTO decisions(at, skill, level, strategy, reason, plan, rows) VALUES (?,?,?,?,?,?,?)",
                ("2026-01-01T00:00:00.000Z", "bin", 1, "equal", f"reason {number}", '{"mix": {"1": 1.0}, "rule": "r"}', 40),
            )
    first = client.get("/api/schedule/decisions?limit=3").json()
    assert [row["reason"] for row in first["rows"]] == ["reason 4", "reason 3", "reason 2"]
    assert (first["rows"][0]["mix"], first["rows"][0]["quest"]) == ({"1": 1.0}, None)
    rest = client.get(f"/api/schedule/decisions?limit=3&before={first['next']}").json()
    assert ([row["reason"] for row in rest["rows"]], rest["next"]) == (["reason 1", "reason 0"], None)
    assert client.get("/api/schedule/decisions?limit=0").status_code == 422


def test_without_a_hero_the_schedule_is_shown_and_a_preview_says_why_not(empty_home: Paths) -> None:
    open_facts(empty_home).close()
    app = make_app("tavern", [schedule_router(empty_home, Realm(empty_home).foresee)], port=PORT)
    with TestClient(app, base_url=f"http://127.0.0.1:{PORT}") as client:
        assert client.get("/api/schedule").status_code == 200
        answer = client.post("/api/schedule/preview", json={"schedule": {"skills": {"bin": {}}}})
    assert (answer.status_code, answer.json()["error"]["hint"]) == (400, "make a hero: realm hero create")


def test_differences_go_down_to_the_leaves() -> None:
    assert differing({"a": {"b": 1, "c": 2}, "d": 1}, {"a": {"b": 3}, "d": 1}) == {"a.b": [1, 3], "a.c": [2, None]}
