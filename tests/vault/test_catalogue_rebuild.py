from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from asset_kit import fill, flip

from realm.core import events
from realm.core.errors import Corrupt
from realm.core.paths import Paths
from realm.core.store import open_facts
from realm.gate.rebuild import rebuild
from realm.vault.keeper.catalogue import Catalogue, Place
from realm.vault.keeper.discovery import VaultDiscovery

NAS = Place(zone="cellar", stronghold="nas1", kind="nas", path="c50")
GONE = Place(zone="cellar", stronghold="nas1", kind="nas", path="c100")


def picture(facts: sqlite3.Connection) -> list[tuple[object, ...]]:
    assets = facts.execute("SELECT id, type, name, size, file_count, digest, created_at, meta FROM assets ORDER BY id")
    files = facts.execute("SELECT asset_id, files FROM asset_manifests ORDER BY asset_id")
    copies = facts.execute("SELECT asset_id, zone, stronghold, kind, path, state FROM locations ORDER BY path")
    return [tuple(row) for rows in (assets, files, copies) for row in rows]


@pytest.fixture
def paths(tmp_path) -> Paths:
    found = Paths(tmp_path / "home").ensure()
    fill(found)
    VaultDiscovery(found).scan()
    with closing(open_facts(found)) as facts:
        catalogue = Catalogue(facts)
        catalogue.place("checkpoint_50", NAS)
        catalogue.place("checkpoint_100", GONE)
        catalogue.forget("checkpoint_100", GONE)
    return found


def test_both_databases_gone_give_an_equal_catalogue(paths: Paths) -> None:
    with closing(open_facts(paths)) as facts:
        before, told = picture(facts), [event["kind"] for event in events.since(facts, 0)]
    for file in paths.store.glob("*.db*"):
        file.unlink()

    rebuild(paths)

    with closing(open_facts(paths)) as facts:
        assert picture(facts) == before
        assert [event["kind"] for event in events.since(facts, 0)][: len(told)] == told
        assert Catalogue(facts).search("syllo").rows
        assert Catalogue(facts).at(NAS).verified_at is None
    assert VaultDiscovery(paths).scan().bytes_hashed == 0


def test_a_rebuild_names_what_is_damaged(paths: Paths) -> None:
    flip(paths.current_model / "checkpoint-50-20260101-0000" / "config.json", 2)
    try:
        _, damage = rebuild(paths)
    except Corrupt as error:
        damage = [error.message]
    assert any("checkpoint" in line for line in damage)
