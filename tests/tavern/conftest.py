"""The Tavern's app over a home of its own, with fakes for the clock, the machine and the oracles."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "watchtower")]

from tavern_scene import CARDS, HOSTS, PORT, MakeApp  # noqa: E402

from realm.core.clock import FakeClock  # noqa: E402
from realm.core.paths import Paths  # noqa: E402
from realm.core.store import open_facts  # noqa: E402
from realm.tavern.app import make_tavern  # noqa: E402
from realm.watchtower import Watchtower  # noqa: E402
from realm.watchtower.forge import Forge, no_gpu  # noqa: E402


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "home").ensure()


@pytest.fixture
def db(paths: Paths) -> Iterator[sqlite3.Connection]:
    connection = open_facts(paths)
    yield connection
    connection.close()


@pytest.fixture
def tower(paths: Paths, db: sqlite3.Connection, clock: FakeClock) -> Iterator[Watchtower]:
    tower = Watchtower(paths, CARDS, forge=Forge(lambda: no_gpu("none"), clock), clock=clock, alive=lambda *_: False)
    yield tower
    tower.close()


@pytest.fixture
def static(tmp_path: Path) -> Path:
    """A small built web app beside a file that must never be served."""
    (tmp_path / "secret.txt").write_text("secret")
    root = tmp_path / "static"
    (root / "assets").mkdir(parents=True)
    (root / "index.html").write_text("<!doctype html><title>Tavern</title>")
    (root / "assets" / "main-D4fG7h_2.js").write_text("1;")
    (root / "favicon.svg").write_text("<svg/>")
    (root / "build.json").write_text('{"build": "b1"}')
    (root / "leak.txt").symlink_to(tmp_path / "secret.txt")
    return root


@pytest.fixture
def make(paths: Paths, tower: Watchtower, clock: FakeClock, static: Path) -> MakeApp:
    def build(routers: list[APIRouter] | None = None, oracle: Any = None, port: int = PORT, **more: Any) -> FastAPI:
        table = {"watchtower": tower, "clock": clock, "read_hosts": lambda: HOSTS, "static": static,
                 "oracle_transport": oracle, "upload_paths": ("/api/quests/upload",), **more}  # fmt: skip
        return make_tavern(paths, port, routers or [], **table)

    return build
