"""A damaged telemetry database is set aside, named, told, and does not stop anything."""

from __future__ import annotations

from contextlib import closing

import pytest

from realm.core import events
from realm.core.paths import Paths
from realm.core.store import open_facts, open_telemetry, read_facts, transaction


def fill(paths: Paths, steps: int) -> None:
    with closing(open_telemetry(paths)) as telemetry:
        with transaction(telemetry):
            telemetry.executemany("INSERT INTO steps VALUES (?, '', 1.0, 1.0, 1.0, 1, 1, 1.0, 'q')", [(n,) for n in range(steps)])
        telemetry.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.mark.parametrize("where", ["head", "page"])
def test_damage_is_set_aside_and_told(empty_home: Paths, where: str) -> None:
    open_facts(empty_home).close()
    fill(empty_home, 4000)
    data = bytearray(empty_home.telemetry_db.read_bytes())
    at = 0 if where == "head" else len(data) // 2 // 4096 * 4096
    data[at : at + 100] = b"\xff" * 100
    empty_home.telemetry_db.write_bytes(data)

    with closing(open_telemetry(empty_home, check=True)) as telemetry:
        assert telemetry.execute("SELECT count(*) FROM steps").fetchone()[0] == 0
    fill(empty_home, 3)

    [aside] = empty_home.store.glob("telemetry.damaged-*.db")
    assert aside.read_bytes() == data
    with closing(read_facts(empty_home)) as facts:
        [told] = events.latest(facts, 5, "store.set_aside")
    assert told["subject"] == aside.name
    assert "damaged" in told["data"]["reason"]


def test_a_whole_one_is_left_alone(empty_home: Paths) -> None:
    fill(empty_home, 3)
    with closing(open_telemetry(empty_home, check=True)) as telemetry:
        assert telemetry.execute("SELECT count(*) FROM steps").fetchone()[0] == 3
    assert not list(empty_home.store.glob("telemetry.damaged-*"))
