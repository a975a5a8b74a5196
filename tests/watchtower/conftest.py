"""A home with both databases open and a tower that looks at it through fakes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from realm.core.clock import FakeClock
from realm.core.paths import Paths
from realm.core.store import open_facts, open_telemetry
from realm.watchtower import SkillCard, Watchtower
from realm.watchtower.forge import Forge, no_gpu

CARDS = {
    "bin": SkillCard("bin", "Binary Alchemy", "🔢", "game-icons:abacus", "#F59E0B", 30),
    "sy": SkillCard("sy", "Word Weaving", max_level=50),
}


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
def telemetry(paths: Paths) -> Iterator[sqlite3.Connection]:
    connection = open_telemetry(paths)
    yield connection
    connection.close()


@pytest.fixture
def alive() -> set[int]:
    return set()


@pytest.fixture
def tower(
    paths: Paths, db: sqlite3.Connection, telemetry: sqlite3.Connection, clock: FakeClock, alive: set[int]
) -> Iterator[Watchtower]:
    def lives(pid: int, _created: Any) -> bool:
        return pid in alive

    forge = Forge(lambda: no_gpu("no GPU here"), clock)
    tower = Watchtower(paths, CARDS, forge=forge, clock=clock, alive=lives)
    yield tower
    tower.close()
