"""`realm up`, `realm down` and `realm weaver` as a person types them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from realm.cli import run
from realm.core.paths import Paths
from realm.weaver.health import judge
from realm.weaver.services import HEALTH, HEARTBEAT, Service
from realm.weaver.states import Answered, Silent
from realm.weaver.tapestry import Strand, render

LIMIT_S = 40.0


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("REALM_HOME", "REALM_PORT_BASE", "REALM_SEED", "REALM_INSTANCE"):
        monkeypatch.delenv(name, raising=False)
    found = tmp_path / "a home"
    monkeypatch.setenv("REALM_HOME", str(found))
    return found


def only(home, *services: str) -> Paths:
    paths = Paths(home)
    paths.user_config.mkdir(parents=True, exist_ok=True)
    table = {"local": {"name": "here", "services": {name: {} for name in services}}}
    paths.hosts.write_text(json.dumps({"hosts": table}))
    return paths


def test_looking_changes_nothing(home, capsys):
    assert run(["weaver", "--status"]) == 0
    assert run(["weaver", "--dry-run", "--port-base", "23000"]) == 0
    assert run(["down"]) == 0
    assert not home.exists()
    said = capsys.readouterr().out
    assert "weaver: does not run" in said
    assert "would start arena: " in said
    assert f"nothing runs on {home}" in said


def test_the_status_as_json(home, capsys):
    assert run(["weaver", "--status", "--json", "--port-base", "23000"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["weaver"] is None
    assert {row["service"]: row["port"] for row in found["services"]}["tavern"] == 23888
    assert {row["state"] for row in found["services"]} == {"stopped"}


def test_the_health_of_nothing_is_a_failure(home, capsys):
    only(home, "arena")
    assert run(["weaver", "--health"]) == 1
    assert "no heartbeat yet" in capsys.readouterr().out


def test_an_unknown_service_is_an_error_that_names_it(home, capsys):
    only(home, "forge")
    for arguments in (["up"], ["weaver", "--status"], ["weaver", "--dry-run"]):
        assert run(arguments) == 2
        assert "'forge'" in capsys.readouterr().err


def test_a_host_without_services_is_an_error(home, capsys):
    only(home)
    assert run(["up"]) == 2
    assert "no services" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["weaver", "--status", "--daemon"], ["up", "--detach", "--until-idle"]])
def test_flags_that_exclude_each_other(home, flags, capsys):
    assert run(flags) == 2
    assert "exclude each other" in capsys.readouterr().err


def test_a_taken_port_is_foretold(home, capsys):
    only(home, "tavern")
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", 0))
        foreign.listen()
        port = foreign.getsockname()[1]
        assert run(["weaver", "--dry-run", "--port-base", str(port - 888)]) == 0
    assert f"port {port} is taken by process {os.getpid()}" in capsys.readouterr().out


def test_the_table_is_aligned_and_missing_values_are_shown():
    lines = render([Strand("tavern", "running", 8888, 12, "now", 1, "why"), Strand("arena", "stopped")]).splitlines()
    assert lines[0].split() == ["service", "state", "port", "pid", "since", "restarts", "reason"]
    assert lines[2].split() == ["arena", "stopped", "-", "-", "-", "0", "-"]
    assert lines[1].index("running") == lines[2].index("stopped")


def test_health_is_judged_against_what_the_weaver_started():
    web = Service("tavern", ("x",), 1, "health", HEALTH, 1)
    beat = Service("arena", ("x",), None, "heartbeat", HEARTBEAT, 1)
    strand = Strand("tavern", "running", 1, 12, instance="mine")
    assert judge(web, strand, Answered("tavern", "mine", 9), 10).well
    assert not judge(web, strand, Answered("tavern", "other", 9), 10).well
    assert not judge(web, strand, Silent("tavern", "refused"), 10).well
    assert not judge(web, Strand("tavern", "stopped"), Answered("tavern", "", 9), 10).well
    assert judge(beat, strand, Answered("arena", "mine", 0), 60).well
    assert not judge(beat, strand, Answered("arena", "mine", 0), 61).well


@pytest.mark.slow
def test_a_realm_in_the_background_from_start_to_end(home, capsys):
    paths = only(home, "vault")
    flags = ["--port-base", "23500"]
    try:
        assert run(["up", "--detach", *flags]) == 0
        assert "vault: ready" in capsys.readouterr().out
        assert run(["weaver", "--health", *flags]) == 0
        assert run(["up", "--detach", *flags]) == 0
        assert "already runs as process" in capsys.readouterr().out
        assert run(["up", *flags]) == 3
        assert "weaver already runs" in capsys.readouterr().err
        assert run(["weaver", *flags]) == 0
        assert "to mend: nothing" in capsys.readouterr().out
        assert run(["weaver", "--dry-run", *flags]) == 0
        assert "nothing to mend" in capsys.readouterr().out
    finally:
        assert run(["down"]) == 0
    assert "all services have ended" in capsys.readouterr().out
    assert run(["weaver", "--health", *flags]) == 1
    assert (paths.logs / "weaver.out").is_file()


@pytest.mark.slow
def test_without_a_flag_a_weaver_is_started_when_none_runs(home, capsys):
    only(home, "vault")
    try:
        assert run(["weaver", "--port-base", "23600"]) == 0
        said = capsys.readouterr().out
        assert "starting one in the background" in said
        assert "running" in said
    finally:
        assert run(["down"]) == 0


@pytest.mark.slow
def test_until_idle_ends_by_itself_and_a_signal_ends_it_too(home):
    only(home, "vault")
    command = [sys.executable, "-m", "realm.cli", "up", "--port-base", "23700"]
    began = time.monotonic()
    found = subprocess.run([*command, "--until-idle"], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert found.returncode == 0, found.stderr
    assert "nothing is left to do" in found.stdout
    assert time.monotonic() - began < LIMIT_S
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as weaver:
        assert weaver.stdout is not None
        while "vault is ready" not in (line := weaver.stdout.readline()):
            assert line
        weaver.send_signal(signal.SIGTERM)
        assert weaver.wait(30) == 0
