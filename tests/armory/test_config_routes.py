"""The settings over HTTP: shown whole, checked without writing, locked ones kept locked, earlier versions restored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from realm.armory.config import Config, leaves, read_raw
from realm.armory.config_fields import shapes
from realm.armory.config_history import KEPT, list_versions
from realm.armory.config_routes import config_router
from realm.armory.heroes import active_config
from realm.armory.settings import SETTINGS
from realm.core import events
from realm.core.clock import FakeClock
from realm.core.paths import Paths
from realm.core.store import read_facts
from realm.core.web import make_app

PORT = 21889


@pytest.fixture
def client(home: Paths) -> Iterator[TestClient]:
    app = make_app("tavern", [config_router(home, FakeClock())], port=PORT)
    with TestClient(app, base_url=f"http://127.0.0.1:{PORT}", raise_server_exceptions=False) as opened:
        yield opened


def shown(client: TestClient) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in client.get("/api/config").json()["fields"]}


def save(client: TestClient, changes: dict[str, Any], **more: Any) -> Any:
    return client.post("/api/config", json={"changes": changes, **more})


def written(home: Paths) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in home.home.rglob("*.json")}


def changed_events(home: Paths) -> list[Any]:
    with closing(read_facts(home)) as facts:
        return list(events.latest(facts, 50, "settings.changed"))


def test_every_leaf_is_shown_with_what_a_page_needs(client: TestClient, home: Paths) -> None:
    values = leaves(active_config(home).config.model_dump(mode="json"))
    fields = shown(client)
    assert {name: row["value"] for name, row in fields.items()} == values
    assert set(values) == set(shapes()) == set(SETTINGS)
    assert all(row["help"] and row["effect"] and row["section"] for row in fields.values())
    assert (fields["training.batch_size"]["default"], fields["training.batch_size"]["origin"]) == (4, "preset small")
    assert fields["threads"]["nullable"]
    assert fields["threads"]["default"] is None
    assert fields["champion_metric"]["choices"] == ["eval", "val_loss", "train_loss"]
    assert fields["training.muon_momentum"]["below"] == 1
    assert {name for name, row in fields.items() if row["locked"]} == {"max_length", "model_name", "base_model"}


def test_a_check_says_the_difference_and_writes_nothing(client: TestClient, home: Paths) -> None:
    before = written(home)
    said = client.post("/api/config/check", json={"changes": {"training.batch_size": 8, "max_length": 600}}).json()
    assert (said["valid"], said["errors"]) == (True, {})
    by_name = {row["name"]: (row["before"], row["after"]) for row in said["diff"]}
    assert by_name == {"training.batch_size": (4, 8), "max_length": (512, 600), "training.max_length": (512, 600)}
    assert [one["name"] for one in said["locked"]] == ["max_length"]
    assert written(home) == before
    assert changed_events(home) == []


def test_a_change_is_stored_told_and_kept(client: TestClient, home: Paths) -> None:
    old = read_raw(home)
    answer = save(client, {"training.batch_size": 8, "threads": None})
    assert answer.status_code == 200
    assert read_raw(home)["training"]["batch_size"] == 8
    assert shown(client)["training.batch_size"] | {} == {
        **shown(client)["training.batch_size"], "value": 8, "changed": True, "origin": "config.json",
    }  # fmt: skip
    assert json.loads((home.home / "config.previous.json").read_text()) == old
    [event] = changed_events(home)
    assert (event["subject"], event["data"]["keys"]) == ("config.json", "training.batch_size")
    assert event["data"]["changes"][0] | {"before": 4, "after": 8} == event["data"]["changes"][0]


def test_saving_what_is_there_already_writes_nothing(client: TestClient, home: Paths) -> None:
    before = written(home)
    assert save(client, {}).json()["diff"] == []
    assert written(home) == before
    assert changed_events(home) == []


def test_reset_goes_back_to_the_default(client: TestClient, home: Paths) -> None:
    save(client, {"retention.newest": 9})
    assert save(client, {}, reset=["retention.newest"]).json()["diff"][0]["after"] == 5
    assert "retention" not in read_raw(home)
    assert shown(client)["retention.newest"]["origin"] == "default"


def test_a_locked_setting_needs_its_name(client: TestClient, home: Paths) -> None:
    before = read_raw(home)
    for approved in ([], ["model_name"]):
        answer = save(client, {"max_length": 600}, approved=approved)
        assert answer.status_code == 403
        assert "rows already on the board" in answer.json()["error"]["facts"]["fields"]["max_length"]
    assert read_raw(home) == before
    assert save(client, {"max_length": 600}, approved=["max_length"]).status_code == 200
    assert read_raw(home)["max_length"] == 600


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"training.bach_size": 4}, "training.bach_size"),
        ({"training": {"batch_size": 4}}, "training"),
        ({"training.batch_size": 0}, "training.batch_size"),
        ({"training.batch_size": 2.5}, "training.batch_size"),
        ({"training.batch_size": True}, "training.batch_size"),
        ({"training.batch_size": "8"}, "training.batch_size"),
        ({"training.batch_size": {"x": 1}}, "training.batch_size"),
        ({"training.batch_size": None}, "training.batch_size"),
        ({"training.betas": [0.9]}, "training.betas"),
        ({"training.betas": [[0.9], 0.9]}, "training.betas"),
        ({"training.schedule.kind": "cosine"}, "training.schedule"),
        ({"champion_metric": "vibes"}, "champion_metric"),
        ({"profile": "nobody"}, "profile"),
        ({"training.gradient_checkpointing": "yes"}, "training.gradient_checkpointing"),
        ({"training.max_length": 64}, "training.max_length"),
        ({"hero": "other"}, "hero"),
        ({"hero": "../../etc"}, "hero"),
        ({"__class__": 1}, "__class__"),
        ({"": 1}, ""),
        ({"saving.minutes.": 1}, "saving.minutes."),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_change_names_its_field(client: TestClient, home: Paths, changes: dict[str, Any], field: str) -> None:
    before = written(home)
    assert field in client.post("/api/config/check", json={"changes": changes}).json()["errors"]
    answer = save(client, changes)
    assert answer.status_code == 400
    assert field in answer.json()["error"]["facts"]["fields"]
    assert written(home) == before


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "1" * 400, '"\\ud800"', "[" * 300 + "]" * 300])
@pytest.mark.parametrize("name", ["training.learning_rate", "training.batch_size", "base_model", "training.betas"])
def test_hostile_values_change_nothing(client: TestClient, home: Paths, name: str, value: str) -> None:
    before = written(home)
    body = f'{{"changes": {{"{name}": {value}}}, "approved": ["base_model"]}}'
    answer = client.post("/api/config", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert written(home) == before


@pytest.mark.parametrize(
    "body", ['{"changes": {"\\ud800": 1}}', '{"reset": ["\\ud800"]}', "[]", "{", '{"changes": 5}', '{"chnages": {}}']
)
def test_hostile_bodies_are_refused(client: TestClient, home: Paths, body: str) -> None:
    before = written(home)
    for path in ("", "/check"):
        answer = client.post(f"/api/config{path}", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422) or "such" in answer.text
        assert answer.status_code != 500
    assert written(home) == before


def test_whole_numbers_are_stored_as_such(client: TestClient, home: Paths) -> None:
    assert save(client, {"training.batch_size": 16.0}).status_code == 200
    assert repr(read_raw(home)["training"]["batch_size"]) == "16"


def test_an_editor_opened_on_an_older_file_is_refused(client: TestClient, home: Paths) -> None:
    version = client.get("/api/config").json()["version"]
    assert save(client, {"threads": 1}, version=version).status_code == 200
    assert save(client, {"threads": 2}, version=version).status_code == 409
    assert read_raw(home)["threads"] == 1


def test_the_environment_wins_and_says_so(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALM_SEED", "7")
    seed = shown(client)["seed"]
    assert (seed["value"], seed["origin"]) == (7, "environment")
    assert "environment" in seed["fixed"]
    assert save(client, {"seed": 1}).status_code == 400


def test_the_newest_versions_are_kept_and_one_is_restored(client: TestClient, home: Paths) -> None:
    for threads in range(1, KEPT + 6):
        assert save(client, {"threads": threads}).status_code == 200
    listed = client.get("/api/config/history").json()
    assert len(listed["versions"]) == KEPT == listed["kept"]
    newest, oldest = listed["versions"][0], listed["versions"][-1]
    assert newest["diff"] == [
        {"name": "threads", "before": KEPT + 5, "after": KEPT + 4, "origin": "config.json", "effect": "arena", "locked": None}
    ]
    answer = client.post("/api/config/restore", json={"id": oldest["id"]})
    assert answer.status_code == 200
    assert read_raw(home)["threads"] == oldest["diff"][0]["after"] == 5
    assert changed_events(home)[0]["data"]["restored"] == oldest["id"]
    assert len(list_versions(home)) == KEPT


@pytest.mark.parametrize("version", ["nope", "../config", "20260101T000000.000000Z", "../../config.previous", "x" * 30])
def test_only_a_kept_version_is_restored(client: TestClient, home: Paths, version: str) -> None:
    before = written(home)
    assert client.post("/api/config/restore", json={"id": version}).status_code == 404
    assert written(home) == before


def test_restoring_a_locked_setting_needs_its_name_too(client: TestClient, home: Paths) -> None:
    save(client, {"max_length": 600}, approved=["max_length"])
    [version] = client.get("/api/config/history").json()["versions"]
    assert [one["name"] for one in version["locked"]] == ["max_length"]
    assert client.post("/api/config/restore", json={"id": version["id"]}).status_code == 403
    assert client.post("/api/config/restore", json={"id": version["id"], "approved": ["max_length"]}).status_code == 200
    assert read_raw(home).get("max_length", 512) == 512


def test_a_damaged_version_is_listed_as_such(client: TestClient, home: Paths) -> None:
    save(client, {"threads": 1})
    [version] = list_versions(home)
    (home.user_config / "history" / f"{version}.json").write_text("{")
    [listed] = client.get("/api/config/history").json()["versions"]
    assert not listed["valid"]
    assert "not JSON" in listed["errors"][""]
    assert client.post("/api/config/restore", json={"id": version}).status_code == 500


def test_no_config_is_an_error_with_a_way_out(empty_home: Paths) -> None:
    app = make_app("tavern", [config_router(empty_home)], port=PORT)
    with TestClient(app, base_url=f"http://127.0.0.1:{PORT}") as client:
        answer = client.get("/api/config")
    assert answer.status_code == 400
    assert answer.json()["error"]["hint"] == "make a hero: realm hero create"


def test_each_setting_has_a_label_on_the_page() -> None:
    strings = json.loads((Path(__file__).parents[2] / "web/src/i18n/en.pages.json").read_text())
    assert {name.removeprefix("config.label.") for name in strings if name.startswith("config.label.")} == set(SETTINGS)
    assert set(Config.model_fields) == {name.split(".")[0] for name in SETTINGS}
