from __future__ import annotations

import os

import pytest

from realm.core.daemon import single_instance
from realm.core.paths import Paths
from realm.core.store import open_facts, transaction
from realm.weaver.services import HEALTH, Service
from realm.weaver.tapestry import read_tapestry

SERVICES = [Service("tavern", ("x",), 8888, "health", HEALTH, 1), Service("vault", ("x",), 8767, "health", HEALTH, 2)]


@pytest.fixture
def paths(tmp_path):
    return Paths(tmp_path).ensure()


def put(paths: Paths, name: str, state: str, pid: int | None, reason: str = "") -> None:
    connection = open_facts(paths)
    with transaction(connection):
        connection.execute(
            "INSERT INTO services(name, state, pid, instance, port, since, reason) VALUES (?,?,?,?,?,?,?)",
            (name, state, pid, "01m81kjk5jq9ar1yx75sb76f4n", 8888, "2026", reason),
        )
    connection.close()


def test_planned_services_without_a_row_are_stopped(paths):
    assert [(s.service, s.state, s.port) for s in read_tapestry(paths, SERVICES)] == [
        ("tavern", "stopped", 8888), ("vault", "stopped", 8767),
    ]


def test_a_recorded_process_id_that_somebody_else_has_now_is_not_shown_as_the_service(paths):
    # This test's own process has the id, but not the instance of the recorded start.
    put(paths, "tavern", "running", os.getpid())
    found = read_tapestry(paths, SERVICES)[0]
    assert (found.state, found.pid) == ("stopped", None)
    assert "ended without stopping" in found.reason
    with single_instance(paths, "weaver"):
        found = read_tapestry(paths, SERVICES)[0]
        assert (found.state, found.pid) == ("stopped", None)


def test_waiting_states_hold_only_while_a_weaver_runs(paths):
    put(paths, "tavern", "backoff", None, "port taken")
    put(paths, "vault", "fallen", None, "no hero")
    assert [s.state for s in read_tapestry(paths, SERVICES)] == ["stopped", "fallen"]
    with single_instance(paths, "weaver"):
        found = read_tapestry(paths, SERVICES)
    assert [(s.state, s.reason) for s in found] == [("backoff", "port taken"), ("fallen", "no hero")]


def test_a_service_that_the_plan_no_longer_has_is_shown_while_a_weaver_runs(paths):
    put(paths, "old", "backoff", None)
    assert [s.service for s in read_tapestry(paths, [])] == []
    with single_instance(paths, "weaver"):
        assert [s.service for s in read_tapestry(paths, [])] == ["old"]
