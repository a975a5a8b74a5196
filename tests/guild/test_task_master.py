"""Which task runs when, that each run is recorded once, and what a player sees of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from realm.core import events
from realm.core.clock import FakeClock
from realm.core.daemon import single_instance
from realm.core.errors import BadInput, Conflict, Unknown
from realm.core.paths import Paths
from realm.core.store import open_facts
from realm.core.web import make_app
from realm.guild.tasks import runs
from realm.guild.tasks.choice import LastRun, choose, stand_all, standing
from realm.guild.tasks.load import Load
from realm.guild.tasks.master import TaskMaster, Work
from realm.guild.tasks.registry import TASKS, get_task
from realm.guild.tasks.routes import task_router

NOW = datetime(2026, 1, 1, tzinfo=UTC)
IDLE, BUSY = Load("cpu", 3.0), Load("NVIDIA 3090", 40.0)


def ran(name: str, ago: float, state: str = "done", lasted: float = 0.0) -> LastRun:
    end = None if state == "running" else NOW - timedelta(seconds=ago)
    return LastRun(name, state, NOW - timedelta(seconds=ago + lasted), end)


def test_the_table_holds_the_eleven_tasks_as_they_were_promised() -> None:
    promised = (
        "process_eval_queue gpu 10 60", "sparring_binary gpu 9 1800", "sparring_sy gpu 9 1800",
        "sparring_binary_large gpu 8 7200", "generate_binary cpu 6 300", "health_check cpu 4 1800",
        "validate_queue cpu 4 1800", "checkpoint_cleanup cpu 3 3600", "vault_scan cpu 3 3600",
        "model_warmup gpu 2 7200", "lineage_report cpu 2 3600",
    )  # fmt: skip
    found = [f"{t.id} {t.device} {t.priority} {t.cooldown_s}" for t in TASKS.values()]
    assert tuple(found) == promised
    assert [t.id for t in TASKS.values() if not t.by_itself] == ["sparring_sy"]
    with pytest.raises(Unknown, match="'sparring'"):
        get_task("sparring")


@pytest.mark.parametrize(("last", "load", "needs", "why"), [
    (None, IDLE, "", ""),
    (ran("sparring_binary", 1799), IDLE, "", "it rests for 1 s more"),
    (ran("sparring_binary", 1799, "failed"), IDLE, "", "it rests for 1 s more"),
    (ran("sparring_binary", 1800), IDLE, "", ""),
    (ran("sparring_binary", 1700, lasted=5000), IDLE, "", "it rests for 100 s more"),
    (ran("sparring_binary", 9999, "running"), IDLE, "", "it runs"),
    (ran("sparring_binary", -50), IDLE, "", ""),
    (None, BUSY, "", "NVIDIA 3090 is 40 % in use, 40 % is the limit"),
    (None, replace(BUSY, percent=39.9), "", ""),
    (None, IDLE, "no checkpoint", "no checkpoint"),
])  # fmt: skip
def test_why_a_gpu_task_may_or_may_not_run(last: LastRun | None, load: Load, needs: str, why: str) -> None:
    assert standing(TASKS["sparring_binary"], last, NOW, load, needs).why_not == why


def test_cpu_tasks_run_whatever_the_load() -> None:
    assert standing(TASKS["health_check"], None, NOW, BUSY).why_not == ""


def test_the_most_urgent_runs_and_of_equals_the_one_that_waited_longest() -> None:
    last = {"health_check": ran("health_check", 5000), "validate_queue": ran("validate_queue", 6000),
            "generate_binary": ran("generate_binary", 10)}  # fmt: skip
    chosen = choose(stand_all(TASKS.values(), last, NOW, BUSY, {}))
    assert chosen is TASKS["validate_queue"]
    assert choose(stand_all(TASKS.values(), last, NOW, IDLE, {})) is TASKS["process_eval_queue"]
    assert choose(stand_all([TASKS["sparring_sy"]], {}, NOW, IDLE, {})) is None


@given(
    st.dictionaries(st.sampled_from(sorted(TASKS)), st.floats(-100, 10_000), max_size=11),
    st.floats(0, 100), st.dictionaries(st.sampled_from(sorted(TASKS)), st.just("no"), max_size=11),
)  # fmt: skip
def test_what_is_chosen_may_always_run_and_nothing_more_urgent_could(
    ago: dict[str, float], percent: float, needs: dict[str, str]
) -> None:
    found = stand_all(TASKS.values(), {k: ran(k, v) for k, v in ago.items()}, NOW, Load("cpu", percent), needs)
    chosen = choose(found)
    able = [one.task for one in found if not one.why_not and one.task.by_itself]
    assert (chosen is None) == (not able)
    if chosen is not None:
        assert chosen in able
        assert chosen.priority == max(task.priority for task in able)


@pytest.fixture
def facts(empty_home: Paths) -> Iterator[sqlite3.Connection]:
    with closing(open_facts(empty_home)) as connection:
        yield connection


class Bench:
    """A task master over works that write down what they did."""

    def __init__(self, paths: Paths, facts: sqlite3.Connection) -> None:
        self.clock, self.load, self.done = FakeClock(), IDLE, []
        self.needs: dict[str, str] = {}
        works = {name: self._work(name) for name in TASKS}
        self.master = TaskMaster(paths, facts, works, lambda: self.load, clock=self.clock)

    def _work(self, name: str) -> Work:
        def do() -> str:
            self.done.append(name)
            self.clock.advance(2.0)
            if name == "health_check":
                raise BadInput("3 findings")
            if name == "lineage_report":
                raise ZeroDivisionError("oh")
            return f"did {name}"

        return Work(do, lambda: self.needs.get(name, ""))


@pytest.fixture
def bench(empty_home: Paths, facts: sqlite3.Connection) -> Bench:
    return Bench(empty_home, facts)


def test_a_day_of_looks_keeps_every_cooldown(bench: Bench, facts: sqlite3.Connection) -> None:
    for _ in range(3000):
        bench.clock.advance(max(bench.master.tick(), 1.0))
    assert set(bench.done) == set(TASKS) - {"sparring_sy"}
    for name in set(bench.done):
        starts = [datetime.fromisoformat(row["started_at"]) for row in runs.recent(facts, 5000) if row["task"] == name][::-1]
        gaps = [(b - a).total_seconds() for a, b in pairwise(starts)]
        assert min(gaps, default=9e9) >= TASKS[name].cooldown_s, name
    assert len(runs.recent(facts, 5000)) == len(bench.done)


def test_it_looks_once_an_interval_and_leaves_a_busy_gpu_alone(bench: Bench) -> None:
    bench.load, bench.needs = Load("gpu", 95.0), {name: "no" for name in TASKS if TASKS[name].device == "cpu"}
    bench.master.tick()
    assert bench.done == []
    bench.load = IDLE
    bench.master.tick()
    assert bench.done == []
    bench.clock.advance(60)
    for _ in range(10):
        bench.master.tick()
    assert bench.done == ["process_eval_queue", "sparring_binary", "sparring_binary_large", "model_warmup"]


def test_a_busy_gpu_never_blocks_tasks_for_the_processor(bench: Bench) -> None:
    bench.load = Load("NVIDIA 3090", 99.0)
    for _ in range(30):
        bench.master.tick()
    assert bench.done
    assert {TASKS[name].device for name in bench.done} == {"cpu"}
    assert set(bench.done) == {name for name, task in TASKS.items() if task.device == "cpu"}


def test_a_master_that_a_realm_starts_looks_an_interval_later(empty_home: Paths, facts: sqlite3.Connection) -> None:
    bench = Bench(empty_home, facts)
    works = {name: Work(lambda: "") for name in TASKS}
    master = TaskMaster(empty_home, facts, works, lambda: IDLE, clock=bench.clock, rest_first=True)
    for _ in range(59):
        bench.clock.advance(master.tick())
    assert runs.recent(facts) == []
    bench.clock.advance(2)
    master.tick()
    assert [row["task"] for row in runs.recent(facts)] == ["process_eval_queue"]


def test_runs_and_events_say_how_it_ended(bench: Bench, facts: sqlite3.Connection, empty_home: Paths) -> None:
    assert [bench.master.run(name, "player") for name in ("generate_binary", "health_check", "lineage_report")] == [
        "done", "failed", "failed",
    ]  # fmt: skip
    told = [(e["subject"], e["data"]["state"], e["data"]["seconds"], e["data"]["summary"]) for e in events.since(facts, 0)]
    assert told == [
        ("generate_binary", "done", 2.0, "did generate_binary"), ("health_check", "failed", 2.0, "3 findings"),
        ("lineage_report", "failed", 2.0, "ZeroDivisionError: oh"),
    ]  # fmt: skip
    with pytest.raises(Conflict, match="vault_scan cannot run: nothing does it"):
        TaskMaster(empty_home, facts, {}, lambda: IDLE).run("vault_scan", "player")


def test_a_run_that_a_process_left_is_interrupted_and_no_two_run_at_once(
    bench: Bench, facts: sqlite3.Connection, empty_home: Paths
) -> None:
    runs.begin(facts, "validate_queue", "task master")
    with single_instance(empty_home, "task"), pytest.raises(Conflict, match="task already runs"):
        bench.master.run("generate_binary", "player")
    assert runs.last_runs(facts)["validate_queue"].state == "running"
    bench.master.run("generate_binary", "player")
    assert runs.last_runs(facts)["validate_queue"].state == "interrupted"
    assert runs.last_runs(facts)["generate_binary"].state == "done"


def test_the_status_files_hold_what_was_decided(bench: Bench, empty_home: Paths) -> None:
    bench.master.tick()
    master = json.loads((empty_home.status / "task_master.json").read_text())
    assert (master["state"], master["device"], master["percent"]) == ("waiting", "cpu", 3.0)
    state = {row["id"]: row for row in json.loads((empty_home.status / "task_state.json").read_text())["tasks"]}
    assert len(state) == 11
    assert state["process_eval_queue"]["last_state"] == "done"
    assert state["process_eval_queue"]["ready_in_s"] == 60.0
    assert state["vault_scan"]["ready"] is True


def test_the_api_lists_asks_and_refuses(bench: Bench, empty_home: Paths) -> None:
    app = make_app("taskmaster", [task_router(empty_home, bench.master)], port=21766)
    with TestClient(app, base_url="http://127.0.0.1:21766") as client:
        assert client.post("/api/tasks/sparring_sy/run", json={}).status_code == 202
        assert client.post("/api/tasks/nothing/run", json={}).status_code == 404
        assert bench.done == []
        bench.master.tick()
        assert bench.done == ["sparring_sy"]
        assert client.get("/api/tasks/runs").json()["runs"][0]["asked_by"] == "player"
        assert client.get("/api/tasks").json()["tasks"][0]["id"] == "process_eval_queue"
        assert client.get("/api/tasks/queue").json() == {"queue": []}
        for name in ("sparring_sy", "health_check"):
            client.post(f"/api/tasks/{name}/run", json={})
        assert client.get("/api/tasks/queue").json() == {"queue": ["sparring_sy", "health_check"]}
        assert client.post("/api/tasks/sparring_sy/delete", json={}).json()["queue"] == ["health_check"]
        assert client.post("/api/tasks/sparring_sy/delete", json={}).status_code == 409
        assert client.post("/api/tasks/nothing/delete", json={}).status_code == 404
        assert client.get("/api/tasks/active").json() == {"active": []}
        with single_instance(empty_home, "task"):
            begun = runs.begin(bench.master.connection, "model_warmup", "player")
            assert [run["id"] for run in client.get("/api/tasks/active").json()["active"]] == [begun]
        assert client.get("/api/tasks/active").json() == {"active": []}
        cpu = client.get("/api/tasks/devices").json()["devices"][0]
        assert cpu["device"] == "cpu"
        assert 0 < cpu["memory_used"] <= cpu["memory_total"]
        for path in ("sparring_sy/run", "sparring_sy/delete"):
            foreign = {"origin": "http://evil.example", "content-type": "application/json"}
            assert client.post(f"/api/tasks/{path}", content="{}", headers=foreign).status_code == 403
            assert client.post(f"/api/tasks/{path}", content="{}", headers={"content-type": "text/plain"}).status_code == 415
