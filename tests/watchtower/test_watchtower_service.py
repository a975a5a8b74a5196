"""The watchtower's own port: the views as JSON, the metrics as Prometheus reads them."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from realm_facts import add_checkpoint, add_eval, add_quest, add_service, add_steps, happen

from realm.core.paths import Paths
from realm.core.web import make_app
from realm.gate import Realm
from realm.watchtower import Watchtower
from realm.watchtower.prometheus import registry_of, scrape
from realm.watchtower.routes import tower_routes

PORT = 21081
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def client(tower: Watchtower) -> Iterator[TestClient]:
    app = make_app("watchtower", [tower_routes(tower)], port=PORT)
    with TestClient(app, base_url=f"http://127.0.0.1:{PORT}") as found:
        yield found


def samples(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_an_empty_realm_has_states_and_no_invented_values(tower: Watchtower) -> None:
    found = samples(scrape(registry_of(tower.snapshot)).decode())
    assert found[("realm_battle_state", (("state", "offline"),))] == 1
    assert sum(value for (name, _), value in found.items() if name == "realm_battle_state") == 1
    names = {name for name, _ in found}
    assert "realm_hero_train_loss" not in names
    assert "realm_checkpoint_champion_step" not in names
    assert found[("realm_checkpoints", ())] == 0


def test_metrics_are_the_numbers_of_the_snapshot(client: TestClient, db: sqlite3.Connection) -> None:
    add_checkpoint(db, 2500, train_loss=0.5, val_loss=0.8)
    add_quest(db, "A", "queued", "high")
    add_quest(db, "B", "completed")
    add_eval(db, 2500, "bin", 1, 17, 20)
    add_service(db, "tavern", "running", restarts=3)
    add_service(db, "inference", "fallen")
    happen(db, "checkpoint.saved", step=2500)
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found, seen = samples(answer.text), client.get("/api/snapshot").json()
    for name, value in (
        ("realm_hero_step", seen["hero"]["step"]), ("realm_hero_level", 2), ("realm_hero_gold", 100),
        ("realm_hero_accuracy_ratio", 0.85), ("realm_checkpoint_latest_step", 2500), ("realm_events_total", 1),
    ):  # fmt: skip
        assert found[(name, ())] == value, name
    assert found[("realm_quests", (("place", "high"),))] == 1
    assert found[("realm_service_up", (("service", "tavern"), ("state", "running")))] == 1
    assert found[("realm_service_up", (("service", "inference"), ("state", "fallen")))] == 0
    assert found[("realm_service_restarts_total", (("service", "tavern"),))] == 3


def test_the_views_are_served(client: TestClient, db: sqlite3.Connection, telemetry: sqlite3.Connection) -> None:
    add_checkpoint(db, 20, train_loss=0.5)
    add_steps(telemetry, [(1, 2.0), (2, 1.5)])
    ranked = client.get("/api/champions", params={"metric": "train_loss"}).json()
    assert [(row["step"], row["rank"]) for row in ranked["rows"]] == [(20, 1)]
    assert client.get("/api/champions", params={"metric": "beauty"}).status_code == 404
    assert [point["x"] for point in client.get("/api/metrics?from=1&to=2").json()["points"]] == [1, 2]


def test_the_gate_builds_the_whole_service(empty_home: Paths) -> None:
    app = Realm(empty_home).watchtower_app(PORT)
    with TestClient(app, base_url=f"http://127.0.0.1:{PORT}") as client:
        assert client.get("/api/lineage").json()["quests"] == 0
        assert client.get("/health").json()["service"] == "watchtower"
        assert client.get("/health").json()["cursor"] == 0


def test_the_service_stays_small(empty_home: Paths) -> None:
    code = (
        "import sys\n"
        "from realm.core.paths import Paths\n"
        "from realm.gate import Realm\n"
        "from fastapi.testclient import TestClient\n"
        f"app = Realm(Paths(__import__('pathlib').Path(sys.argv[1]))).watchtower_app({PORT})\n"
        f"client = TestClient(app, base_url='http://127.0.0.1:{PORT}')\n"
        "assert all(client.get(p).status_code == 200 for p in ('/metrics', '/api/snapshot', '/api/lineage', '/openapi.json'))\n"
        "assert 'torch' not in sys.modules\n"
        # ru_maxrss would count what the test process had before this one was started from it.
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(int(peak.split()[1]) // 1024)\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(empty_home.home)], capture_output=True, text=True, cwd=root, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 120, f"{done.stdout} MB"
