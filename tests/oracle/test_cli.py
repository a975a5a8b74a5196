from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from realm.cli import run
from realm.core.web import serve_in_thread
from realm.oracle.server import build_app
from realm.oracle.service import Oracle, Settings
from tests.free_ports import free_port
from tests.oracle.conftest import Home


@pytest.fixture
def port(home: Home, monkeypatch: pytest.MonkeyPatch) -> int:
    """A free port that the inference service is moved to."""
    free = free_port()
    monkeypatch.setenv("REALM_HOME", str(home.paths.home))
    monkeypatch.setenv("REALM_PORT_BASE", str(free - 765))
    return free


@pytest.fixture
def _served(home: Home, port: int) -> Iterator[None]:
    server, thread = serve_in_thread(build_app(home.paths, Oracle(home.paths, Settings(preload="none")), port=port))
    while not server.started:
        thread.join(0.01)
    yield
    server.should_exit = True
    thread.join(10)


@pytest.mark.usefixtures("_served")
def test_ask_loads_and_names_what_answered(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["oracle", "ask", "--step", "0", "Compute: add(①, ①)", "--max-new-tokens", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["step"], found["model"], found["model_path"]) == (0, "tiny", "models/tiny")
    assert run(["oracle", "ask", "--step", "5", "hi"]) == 2
    assert "step 5" in capsys.readouterr().err


@pytest.mark.usefixtures("port")
def test_ask_without_a_server_says_how_to_start_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["oracle", "ask", "--step", "0", "hi"]) == 5
    assert "realm oracle serve" in capsys.readouterr().err
