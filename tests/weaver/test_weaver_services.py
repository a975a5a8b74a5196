from __future__ import annotations

import sys

import pytest

from realm.core.errors import BadInput
from realm.core.hosts import DEFAULT, Host, Hosts, Service
from realm.core.paths import Paths
from realm.weaver.services import plan_services


def host(**services: int | None) -> Host:
    return Host(name="test", services={name: Service(port=port) for name, port in services.items()})


def test_the_default_host_starts_the_arena_and_the_oracle_first():
    planned = plan_services(DEFAULT.local(), 8000)
    assert [service.name for service in planned][:2] == ["arena", "inference"]
    assert {service.name for service in planned} == {
        "arena", "inference", "tavern", "vault", "dataflow", "evaluator", "skill_bin", "skill_sy", "watchtower",
        "taskmaster",
    }
    commands = {service.name: service.argv for service in planned}
    assert commands["inference"] == (sys.executable, "-m", "realm.cli", "oracle", "serve")
    assert commands["dataflow"][3:] == ("weaver", "dataflow")
    assert commands["skill_bin"][3:] == ("skills", "serve", "bin")
    assert commands["skill_sy"][3:] == ("skills", "serve", "sy")


def test_the_port_base_moves_every_port():
    ports = {service.name: service.port for service in plan_services(DEFAULT.local(), 21000)}
    assert ports["tavern"] == 21888
    assert ports["skill_bin"] == 21090
    assert ports["skill_sy"] == 21080
    assert ports["arena"] is None


def test_an_api_on_a_shared_port_needs_its_process_once():
    planned = plan_services(host(ledger=8767, training=8767, vault=8767), 8000)
    assert [(service.name, service.port) for service in planned] == [("vault", 8767)]
    only_ledger = plan_services(host(ledger=8767), 8000)
    assert [(service.name, service.port) for service in only_ledger] == [("vault", 8767)]


def test_a_service_without_a_port_has_its_default():
    assert plan_services(host(tavern=None), 8000)[0].port == 8888


def test_a_port_that_the_service_would_not_listen_on_is_refused():
    with pytest.raises(BadInput, match=r"tavern port 9999 .* listens on 8888"):
        plan_services(host(tavern=9999), 8000)


def test_an_unknown_service_is_named():
    with pytest.raises(BadInput, match="'forge'"):
        plan_services(host(forge=None), 8000)
    with pytest.raises(BadInput, match="'skill_'"):
        plan_services(host(skill_=8090), 8000)


def test_a_skill_without_a_built_in_server_is_watched_only():
    (service,) = plan_services(host(skill_chess=8123), 8000)
    assert service.external
    assert service.port == 8123
    with pytest.raises(BadInput, match="needs a port"):
        plan_services(host(skill_chess=None), 8000)


def test_until_idle_the_data_flow_only_takes_in():
    env = {s.name: s.env for s in plan_services(DEFAULT.local(), 8000, intake_only=True)}
    assert env["dataflow"]["REALM_DATAFLOW"] == "intake-only"
    assert "taskmaster" not in env
    assert all("REALM_DATAFLOW" not in found for name, found in env.items() if name != "dataflow")
    assert all("REALM_DATAFLOW" not in s.env for s in plan_services(DEFAULT.local(), 8000))


def test_services_of_another_host_are_not_planned(tmp_path):
    paths = Paths(tmp_path)
    paths.user_config.mkdir()
    paths.hosts.write_text(
        '{"hosts": {"here": {"name": "h", "host": "127.0.0.1", "services": {"tavern": {"port": 8888}}},'
        ' "there": {"name": "t", "host": "192.0.2.7", "services": {"inference": {"port": 8765}}}}}'
    )
    assert [service.name for service in plan_services(Hosts.load(paths).local(), 8000)] == ["tavern"]
