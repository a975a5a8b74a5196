"""The weaver with real, tiny processes. Waits are for conditions with a limit, never for a time."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from realm.core import events
from realm.core.paths import Paths
from realm.core.store import read_facts
from realm.weaver.handle import bring_down
from realm.weaver.orphans import carries, end_orphans, find_orphans
from realm.weaver.tapestry import read_rows, read_tapestry, weaver_pid
from tests.free_ports import free_port

pytestmark = pytest.mark.slow
RUN = Path(__file__).with_name("fakes") / "run.py"
LIMIT_S = 20.0
T = TypeVar("T")


def until(ask: Callable[[], T], what: str) -> T:
    end = time.monotonic() + LIMIT_S
    while not (found := ask()):
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.05)
    return found


class Realm:
    """A base directory and the weavers started on it."""

    def __init__(self, home: Path) -> None:
        self.paths = Paths(home).ensure()
        self.weavers: list[subprocess.Popen[str]] = []

    def start(self, *services: str) -> subprocess.Popen[str]:
        weaver = subprocess.Popen(
            [sys.executable, str(RUN), str(self.paths.home), *services],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "REALM_HOME": ""},
        )
        self.weavers.append(weaver)
        return weaver

    def pids(self) -> dict[str, int]:
        strands = read_tapestry(self.paths, [])
        return {strand.service: strand.pid for strand in strands if strand.state == "running" and strand.pid}

    def running(self, *names: str) -> dict[str, int]:
        return until(lambda: found if set(found := self.pids()) == set(names) else None, f"{names} running")

    def told(self) -> list[tuple[str, str]]:
        connection = read_facts(self.paths)
        found = [(event["kind"], event["subject"]) for event in events.since(connection, 0)]
        connection.close()
        return found

    def clean(self) -> None:
        for weaver in self.weavers:
            weaver.kill()
            weaver.communicate()
        instances = [row.instance for row in read_rows(self.paths)]
        assert not end_orphans(find_orphans(self.paths, instances), print, leave_s=0.5)


@pytest.fixture
def realm(tmp_path) -> Iterator[Realm]:
    found = Realm(tmp_path / "a home")
    yield found
    found.clean()


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_killed_service_is_started_again(realm):
    port = free_port()
    weaver = realm.start("beat:arena", f"web:tavern:{port}")
    first = realm.running("arena", "tavern")
    for name in ("arena", "tavern"):
        os.kill(first[name], signal.SIGKILL)
    second = until(
        lambda: found if len(found := realm.pids()) == 2 and not set(found.values()) & set(first.values()) else None,
        "both again",
    )
    assert weaver.poll() is None
    assert until(lambda: len(realm.told()) >= 6 and realm.told(), "events")[2:4] in (
        [("service.down", "arena"), ("service.down", "tavern")],
        [("service.down", "tavern"), ("service.down", "arena")],
    )
    assert {kind for kind, _ in realm.told()[4:]} == {"service.mended"}
    assert all(not gone(pid) for pid in second.values())


def test_services_end_when_the_weaver_is_killed(realm):
    weaver = realm.start("beat:arena", "beat:evaluator")
    pids = realm.running("arena", "evaluator")
    weaver.kill()
    weaver.wait()
    until(lambda: all(gone(pid) for pid in pids.values()), "services gone")
    shown = read_tapestry(realm.paths, [])
    assert shown == []
    assert weaver_pid(realm.paths) is None


def test_a_stubborn_leftover_is_ended_before_the_next_start_and_nobody_else(realm, monkeypatch):
    bystander = subprocess.Popen(
        [sys.executable, "-S", "-c", "import time; time.sleep(60)"],
        env={**os.environ, "REALM_HOME": str(realm.paths.home), "REALM_INSTANCE": "0" * 26},
    )
    try:
        weaver = realm.start("stubborn:arena")
        pid = realm.running("arena")["arena"]
        weaver.kill()
        weaver.wait()
        assert not gone(pid)
        (row,) = read_rows(realm.paths)
        assert carries(psutil.Process(pid), realm.paths, {row.instance})
        (shown,) = read_tapestry(realm.paths, [])
        assert "left over" in shown.reason
        orphans = find_orphans(realm.paths, [row.instance])
        assert [process.pid for process in orphans] == [pid]
        assert not end_orphans(orphans, lambda _text: None, leave_s=0.3)
        assert gone(pid)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_second_weaver_refuses_and_names_the_first(realm):
    first = realm.start("beat:arena")
    realm.running("arena")
    second = realm.start("beat:arena")
    said, _ = second.communicate(timeout=LIMIT_S)
    assert second.returncode == 3
    assert f"process {first.pid}" in said
    assert first.poll() is None


def test_down_ends_everything_it_started_and_nothing_else(realm, tmp_path):
    other = Realm(tmp_path / "other")
    try:
        weaver, neighbour = realm.start("beat:arena", "stubborn:evaluator"), other.start("beat:arena")
        pids, kept = realm.running("arena", "evaluator"), other.running("arena")
        said: list[str] = []
        began = time.monotonic()
        assert bring_down(realm.paths, said.append)
        assert time.monotonic() - began < 30
        assert weaver.wait(5) == 0
        assert all(gone(pid) for pid in pids.values())
        assert str(weaver.pid) in said[0]
        assert {row.state for row in read_rows(realm.paths)} == {"stopped"}
        assert neighbour.poll() is None
        assert not gone(kept["arena"])
        assert not bring_down(realm.paths, said.append)
    finally:
        other.clean()


def test_a_foreign_process_on_the_port_is_named(realm):
    port = free_port()
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", port))
        foreign.listen()
        realm.start(f"web:tavern:{port}")
        row = until(lambda: next((row for row in read_rows(realm.paths) if row.state == "backoff"), None), "back-off")
        assert f"port {port} is taken by process {os.getpid()}" in row.reason
    assert realm.running("tavern")


def test_a_stopped_process_is_found_hung_and_replaced(realm):
    port = free_port()
    realm.start(f"web:tavern:{port}")
    pid = realm.running("tavern")["tavern"]
    os.kill(pid, signal.SIGSTOP)
    until(lambda: realm.pids().get("tavern") not in (pid, None), "replaced")
    assert gone(pid)


def test_sigterm_twice_ends_at_once(realm):
    weaver = realm.start("stubborn:arena")
    pid = realm.running("arena")["arena"]
    weaver.send_signal(signal.SIGTERM)
    until(lambda: any(row.state == "stopping" for row in read_rows(realm.paths)), "stopping")
    weaver.send_signal(signal.SIGTERM)
    assert weaver.wait(LIMIT_S) == 0
    assert gone(pid)
