"""The loop with a fake spawner, prober and clock, writing to a real store."""

from __future__ import annotations

import signal
import sqlite3

import pytest

from realm.core import durable, events
from realm.core.clock import FakeClock
from realm.core.paths import Paths
from realm.core.store import open_facts, read_facts, transaction
from realm.weaver.record import Record
from realm.weaver.services import HEALTH, Service
from realm.weaver.states import Answered, Exited, Silent, Spawned, SpawnFailed, State
from realm.weaver.supervisor import Signals, Supervisor


class FakeSpawner:
    """Starts nothing; remembers who was asked for what and what the store said at that moment."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.started: list[tuple[str, str]] = []
        self.signals: list[tuple[str, signal.Signals]] = []
        self.recorded_at_start: list[tuple[str, str]] = []
        self.ended: list[Exited] = []
        self.refuse = ""

    def start(self, service: Service, instance: str) -> Spawned | SpawnFailed:
        row = rows(self.paths)[service.name]
        self.recorded_at_start.append((row["state"], row["instance"]))
        if self.refuse:
            return SpawnFailed(service.name, self.refuse)
        self.started.append((service.name, instance))
        return Spawned(service.name, 1000 + len(self.started), 1.5, instance)

    def signal(self, name: str, number: signal.Signals) -> None:
        self.signals.append((name, number))

    def exits(self) -> list[Exited]:
        found, self.ended = self.ended, []
        return found


class FakeProber:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: list[Answered | Silent] = []

    def ask(self, service: Service) -> None:
        self.asked.append(service.name)

    def readings(self) -> list[Answered | Silent]:
        found, self.answers = self.answers, []
        return found

    def close(self) -> None: ...


class Stage:
    """A supervisor of two services with everything fake around it."""

    def __init__(self, home) -> None:
        self.paths = Paths(home).ensure()
        self.clock = FakeClock()
        self.spawner, self.prober, self.signals = FakeSpawner(self.paths), FakeProber(), Signals()
        self.said: list[str] = []
        self.services = [
            Service("tavern", ("x",), 8888, "health", HEALTH, 1),
            Service("vault", ("x",), 8767, "health", HEALTH, 2),
        ]
        ports = {service.name: service.port for service in self.services}
        self.record = Record(self.paths, ports, self.clock)
        self.supervisor = Supervisor(
            self.paths, self.services, spawner=self.spawner, prober=self.prober, record=self.record,
            say=self.said.append, clock=self.clock,
        )

    def round(self, seconds: float = 0.2) -> None:
        self.clock.advance(seconds)
        self.supervisor.tick(self.signals)

    def all_answer(self) -> None:
        latest = dict(self.spawner.started)
        self.prober.answers = [Answered(name, instance, self.clock.monotonic()) for name, instance in latest.items()]
        self.round()

    def told(self) -> list[tuple[str, str]]:
        connection = read_facts(self.paths)
        found = [(event["kind"], event["subject"]) for event in events.since(connection, 0)]
        connection.close()
        return found


def rows(paths: Paths) -> dict[str, sqlite3.Row]:
    connection = read_facts(paths)
    found = {row["name"]: row for row in connection.execute("SELECT * FROM services")}
    connection.close()
    return found


@pytest.fixture
def stage(tmp_path):
    found = Stage(tmp_path)
    yield found
    found.record.close()


def test_the_instance_is_recorded_before_the_process_exists(stage):
    stage.supervisor.begin()
    assert stage.spawner.recorded_at_start == [("starting", instance) for _, instance in stage.spawner.started]
    row = rows(stage.paths)["tavern"]
    assert (row["pid"], row["created"], row["port"]) == (1001, 1.5, 8888)


def test_ready_services_are_said_recorded_and_told(stage):
    stage.supervisor.begin()
    stage.all_answer()
    assert stage.said == [
        "tavern is ready on http://127.0.0.1:8888/", "vault is ready on http://127.0.0.1:8767/",
    ]
    assert stage.told() == [("service.up", "tavern"), ("service.up", "vault")]
    assert rows(stage.paths)["vault"]["state"] == "running"


def test_a_dead_service_is_started_again_under_a_new_instance(stage):
    stage.supervisor.begin()
    stage.all_answer()
    stage.spawner.ended = [Exited("tavern", -9)]
    stage.round()
    row = rows(stage.paths)["tavern"]
    assert (row["state"], row["pid"], row["fails"]) == ("backoff", None, 1)
    stage.round(1.1)
    assert [name for name, _ in stage.spawner.started] == ["tavern", "vault", "tavern"]
    assert stage.spawner.started[0][1] != stage.spawner.started[2][1]
    stage.all_answer()
    assert stage.told()[2:] == [("service.down", "tavern"), ("service.mended", "tavern")]
    assert rows(stage.paths)["tavern"]["restarts"] == 1
    assert stage.said[-1] == "tavern is ready again on http://127.0.0.1:8888/"


def test_a_taken_port_is_said_with_its_holder(stage):
    stage.spawner.refuse = "port 8888 is taken by process 12, nc"
    stage.supervisor.begin()
    assert stage.supervisor.lives["tavern"].state is State.BACKOFF
    assert rows(stage.paths)["tavern"]["reason"] == "port 8888 is taken by process 12, nc"
    assert any("process 12, nc" in line for line in stage.said)


def test_signals_end_everything_and_a_second_one_kills(stage):
    stage.supervisor.begin()
    stage.signals.ask()
    stage.round()
    assert stage.spawner.signals == [("tavern", signal.SIGTERM), ("vault", signal.SIGTERM)]
    stage.signals.ask()
    stage.round()
    assert stage.spawner.signals[2:] == [("tavern", signal.SIGKILL), ("vault", signal.SIGKILL)]


def test_run_returns_when_all_have_gone(stage):
    stage.signals.ask()
    stage.signals.pause = lambda _seconds: stage.spawner.ended.extend(
        Exited(name, 0) for name, _ in stage.spawner.signals[:2]
    )
    assert stage.supervisor.run(stage.signals) == 0
    assert {row["state"] for row in rows(stage.paths).values()} == {"stopped"}


def test_run_ends_by_itself_when_nothing_is_left_to_do(stage):
    stage.signals.pause = lambda _seconds: stage.spawner.ended.extend(
        Exited(name, 0) for name, _ in stage.spawner.signals[:2]
    )
    assert stage.supervisor.run(stage.signals, lambda lives: 5 if len(lives) == 2 else None) == 5


def test_the_mend_flag_starts_fallen_services_and_is_taken_away(stage):
    stage.spawner.refuse = "no"
    stage.supervisor.begin()
    for _ in range(20):
        stage.round(20)
    assert rows(stage.paths)["tavern"]["state"] == "fallen"
    stage.spawner.refuse = ""
    durable.touch(stage.paths.control / "mend")
    stage.round()
    assert not (stage.paths.control / "mend").exists()
    assert rows(stage.paths)["tavern"]["state"] == "starting"


def test_a_locked_store_stops_nothing_and_is_caught_up(stage, monkeypatch):
    stage.supervisor.begin()
    stage.record._connection.execute("PRAGMA busy_timeout=0")
    other = open_facts(stage.paths)
    with transaction(other):
        stage.all_answer()
        assert stage.supervisor.lives["tavern"].state is State.RUNNING
    other.close()
    assert stage.told() == []
    stage.round()
    assert stage.told() == [("service.up", "tavern"), ("service.up", "vault")]
    assert rows(stage.paths)["tavern"]["state"] == "running"


def test_a_weaver_after_a_killed_one_keeps_the_back_off(stage):
    stage.supervisor.begin()
    for _ in range(3):
        stage.spawner.ended = [Exited("tavern", 1)]
        stage.round()
        stage.round(10)
    stage.spawner.ended = [Exited("tavern", 1)]
    stage.round()
    assert rows(stage.paths)["tavern"]["fails"] == 4
    stage.record.close()
    second = Stage(stage.paths.home)
    second.supervisor.begin()
    assert second.supervisor.lives["tavern"].state is State.BACKOFF
    assert [name for name, _ in second.spawner.started] == ["vault"]
    second.round(8.1)
    assert [name for name, _ in second.spawner.started] == ["vault", "tavern"]
    second.all_answer()
    assert ("service.mended", "tavern") in second.told()
    second.record.close()


def test_a_weaver_after_an_orderly_end_starts_afresh(stage):
    stage.supervisor.begin()
    stage.spawner.ended = [Exited("tavern", 1)]
    stage.round()
    stage.signals.ask()
    stage.round()
    stage.record.close()
    second = Stage(stage.paths.home)
    assert second.supervisor.lives["tavern"].fails == 0
    second.supervisor.begin()
    assert len(second.spawner.started) == 2
    second.record.close()


def test_rows_of_services_that_are_no_longer_planned_disappear(stage):
    connection = open_facts(stage.paths)
    with transaction(connection):
        connection.execute("INSERT INTO services(name, state, since) VALUES ('old', 'stopped', '')")
    connection.close()
    stage.supervisor.begin()
    assert set(rows(stage.paths)) == {"tavern", "vault"}


def test_rows_of_an_earlier_weaver_are_replaced_before_anything_starts(stage):
    connection = open_facts(stage.paths)
    with transaction(connection):
        connection.execute("INSERT INTO services(name, state, pid, since) VALUES ('vault', 'running', 1, '')")
    connection.close()
    seen = []
    start = stage.spawner.start
    stage.spawner.start = lambda service, instance: (
        seen.append(rows(stage.paths)["vault"]["pid"]) or start(service, instance)
    )
    stage.supervisor.begin()
    assert seen[0] is None


def test_a_service_that_joins_later_is_started_and_watched_like_the_others(stage):
    stage.supervisor.begin()
    stage.all_answer()
    stage.supervisor.add(Service("skill_chess", ("python3", "server.py"), 8123, "health", HEALTH, 7))
    assert stage.spawner.started[-1][0] == "skill_chess"
    stage.all_answer()
    assert stage.told()[-1] == ("service.up", "skill_chess")
    stage.spawner.ended = [Exited("skill_chess", -9)]
    stage.round()
    stage.round(1.1)
    assert [name for name, _ in stage.spawner.started].count("skill_chess") == 2


def test_what_needs_a_hero_waits_for_him_and_says_so(tmp_path):
    stage = Stage(tmp_path)
    arena = Service("arena", ("x",), None, "heartbeat", HEALTH, 0, needs_hero=True)
    try:
        stage.supervisor = Supervisor(
            stage.paths, [arena, *stage.services], spawner=stage.spawner, prober=stage.prober, record=stage.record,
            say=stage.said.append, clock=stage.clock,
        )  # fmt: skip
        stage.supervisor.begin()
        stage.all_answer()
        assert [name for name, _ in stage.spawner.started] == ["tavern", "vault"]
        assert "no hero yet" in rows(stage.paths)["arena"]["reason"]
        durable.write_json(stage.paths.config, {"hero": "dio"})
        stage.round()
        assert [name for name, _ in stage.spawner.started] == ["tavern", "vault", "arena"]
        assert rows(stage.paths)["arena"]["state"] == "starting"
    finally:
        stage.record.close()


def test_an_end_asked_for_before_there_is_a_hero_ends(tmp_path):
    stage = Stage(tmp_path)
    arena = Service("arena", ("x",), None, "heartbeat", HEALTH, 0, needs_hero=True)
    try:
        stage.supervisor = Supervisor(
            stage.paths, [arena], spawner=stage.spawner, prober=stage.prober, record=stage.record,
            say=stage.said.append, clock=stage.clock,
        )  # fmt: skip
        stage.signals.ask()
        assert stage.supervisor.run(stage.signals) == 0
        assert stage.spawner.started == []
    finally:
        stage.record.close()
