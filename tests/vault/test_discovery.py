from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from asset_kit import fill, flip, make_checkpoint

from realm.core import durable, events
from realm.core.paths import Paths
from realm.core.store import open_facts
from realm.vault.keeper.assets import digest_of
from realm.vault.keeper.catalogue import Catalogue
from realm.vault.keeper.discovery import VaultDiscovery
from realm.vault.keeper.finds import Find, walk
from realm.vault.keeper.reading import Share

ALL = [
    "backup_before", "checkpoint_100", "checkpoint_50", "config_config", "data_train_syllo_abc", "model_qwen3_0.6b",
    "snapshot_2026_01_01",
]  # fmt: skip


@pytest.fixture
def paths(tmp_path) -> Paths:
    found = Paths(tmp_path / "home").ensure()
    fill(found)
    return found


@pytest.fixture
def catalogue(paths: Paths) -> Iterator[Catalogue]:
    with closing(open_facts(paths)) as facts:
        yield Catalogue(facts)


def dump(facts: sqlite3.Connection) -> list[tuple[object, ...]]:
    tables = ("assets", "asset_manifests", "locations", "scanned_files", "events")
    return [tuple(row) for table in tables for row in facts.execute(f"SELECT * FROM {table}")]


def test_every_type_is_found_under_the_promised_ids(paths: Paths, catalogue: Catalogue) -> None:
    report = VaultDiscovery(paths).scan()

    assert sorted(report.registered) == ALL
    assert (report.seen, report.unchanged, report.problems, report.damaged) == (7, 0, [], [])
    assert sorted(asset.id for asset in catalogue.page().rows) == ALL
    checkpoint = catalogue.get("checkpoint_50")
    assert checkpoint.meta["step"] == 50
    assert checkpoint.created_at == "2026-01-01T00:00:00.000Z"
    assert checkpoint.digest == digest_of(catalogue.manifest("checkpoint_50").files)
    assert {file.path for file in catalogue.manifest("data_train_syllo_abc").files} == {
        "train_syllo_abc.jsonl", "train_syllo_abc.jsonl.meta.json"}  # fmt: skip
    assert all(catalogue.locations(asset_id)[0].verified_at for asset_id in ALL)


def test_a_second_scan_reads_and_changes_nothing(paths: Paths, catalogue: Catalogue) -> None:
    VaultDiscovery(paths).scan()
    before = dump(catalogue.connection)

    report = VaultDiscovery(paths).scan()

    assert (report.unchanged, report.bytes_hashed, report.registered) == (7, 0, [])
    assert dump(catalogue.connection) == before


def test_what_comes_and_goes(paths: Paths, catalogue: Catalogue) -> None:
    VaultDiscovery(paths).scan()
    make_checkpoint(paths, 150)
    shutil.rmtree(paths.current_model / "checkpoint-50-20260101-0000")
    (paths.data / "train_syllo_abc.jsonl").unlink()

    report = VaultDiscovery(paths).scan()

    assert report.registered == ["checkpoint_150"]
    assert sorted(report.missing) == ["checkpoint_50", "data_train_syllo_abc"]
    assert catalogue.locations("checkpoint_50") == []
    make_checkpoint(paths, 50)
    assert VaultDiscovery(paths).scan().registered == ["checkpoint_50"]
    assert len(catalogue.locations("checkpoint_50")) == 1


def test_what_the_ledger_dropped_leaves_the_catalogue(paths: Paths, catalogue: Catalogue) -> None:
    name = "checkpoint-50-20260101-0000"
    VaultDiscovery(paths).scan()
    catalogue.connection.execute(
        "INSERT INTO checkpoints(name, step, state, generation, weights_sha256, manifest_sha256, size, created_at, record)"
        " VALUES (?, 50, 'dropped', 1, '', '', 0, '', '{}')", (name,)
    )  # fmt: skip
    shutil.rmtree(paths.current_model / name)

    report = VaultDiscovery(paths).scan()

    assert (report.dropped, report.missing) == (["checkpoint_50"], [])
    assert catalogue.find("checkpoint_50") is None
    assert [event["kind"] for event in events.latest(catalogue.connection, 1)] == ["asset.dropped"]


def test_going_of_one_takes_no_neighbour_along(paths: Paths, catalogue: Catalogue) -> None:
    for name in ("m", "m-a", "m.b", "m0"):
        shutil.copytree(paths.models / "Qwen3-0.6B", paths.models / name)
    VaultDiscovery(paths).scan()
    shutil.rmtree(paths.models / "m")

    report = VaultDiscovery(paths).scan()

    assert report.missing == ["model_m"]
    assert report.bytes_hashed == 0
    assert VaultDiscovery(paths).scan().unchanged == 10


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json", ".ledger.json", "manifest.json"])
def test_one_flipped_byte_of_a_checkpoint_is_named(paths: Paths, catalogue: Catalogue, file: str) -> None:
    VaultDiscovery(paths).scan()
    flip(paths.current_model / "checkpoint-50-20260101-0000" / file, 3)

    report = VaultDiscovery(paths).scan()

    assert report.damaged == ["checkpoint_50"]
    (location,) = catalogue.locations("checkpoint_50", present=False)
    assert location.state == "quarantined"
    assert file.strip(".") in location.reason or "manifest" in location.reason
    assert [event["subject"] for event in events.latest(catalogue.connection, 9, "asset.dropped")] == ["checkpoint_50"]
    flip(paths.current_model / "checkpoint-50-20260101-0000" / file, 3)
    assert VaultDiscovery(paths).scan().registered == ["checkpoint_50"]


def test_a_checkpoint_that_is_damaged_when_it_is_first_seen(paths: Paths, catalogue: Catalogue) -> None:
    flip(paths.current_model / "checkpoint-50-20260101-0000" / "model.safetensors", 60)

    assert VaultDiscovery(paths).scan().damaged == ["checkpoint_50"]

    assert catalogue.locations("checkpoint_50") == []
    assert VaultDiscovery(paths).scan().damaged == ["checkpoint_50"]


@pytest.mark.parametrize("path", ["models/Qwen3-0.6B/tokenizer.json", "snapshots/2026-01-01/realm.db", "backups/before/realm.db"])
def test_what_never_changes_is_damaged_when_it_does(paths: Paths, path: str) -> None:
    VaultDiscovery(paths).scan()
    flip(paths.home / path)

    assert len(VaultDiscovery(paths).scan().damaged) == 1


@pytest.mark.parametrize(("path", "asset_id"), [("config.json", "config_config"),
                                                 ("data/train_syllo_abc.jsonl", "data_train_syllo_abc")])  # fmt: skip
def test_configs_and_data_may_be_written_anew(paths: Paths, catalogue: Catalogue, path: str, asset_id: str) -> None:
    VaultDiscovery(paths).scan()
    before = catalogue.get(asset_id).digest
    durable.write_text(paths.home / path, '{"a": 1}\n')

    report = VaultDiscovery(paths).scan()

    assert report.registered == [asset_id]
    assert report.damaged == []
    assert catalogue.get(asset_id).digest != before
    assert [one.state for one in catalogue.locations(asset_id, present=False)] == ["present"]


def test_a_sidecar_that_comes_later_becomes_part_of_the_asset(paths: Paths, catalogue: Catalogue) -> None:
    (paths.data / "train_syllo_abc.jsonl.meta.json").unlink()
    VaultDiscovery(paths).scan()
    (paths.data / "train_syllo_abc.jsonl.meta.json").write_text("{}")

    assert VaultDiscovery(paths).scan().registered == ["data_train_syllo_abc"]
    assert catalogue.get("data_train_syllo_abc").file_count == 2


def test_two_assets_of_one_id_are_told_and_the_others_go_on(paths: Paths, catalogue: Catalogue) -> None:
    make_checkpoint(paths, 50, day=2)
    (paths.data / "train-syllo-abc.jsonl").write_text("other\n")

    report = VaultDiscovery(paths).scan()

    assert len(report.problems) == 2
    assert all("another asset of that id" in problem for problem in report.problems)
    assert sorted(report.registered) == ALL


def test_the_same_asset_in_two_folders_is_one_asset_with_two_copies(paths: Paths, catalogue: Catalogue) -> None:
    for end in ("", ".meta.json"):
        shutil.copy2(paths.data / f"train_syllo_abc.jsonl{end}", paths.queue("recently_completed"))

    VaultDiscovery(paths).scan()

    assert len(catalogue.locations("data_train_syllo_abc")) == 2
    assert [row.id for row in catalogue.page("data").rows] == ["data_train_syllo_abc"]


def test_links_devices_and_half_made_things_are_no_assets(paths: Paths, catalogue: Catalogue) -> None:
    (paths.models / "linked").symlink_to(paths.models / "Qwen3-0.6B")
    (paths.data / "link.jsonl").symlink_to(paths.config)
    os.mkfifo(paths.models / "Qwen3-0.6B" / "pipe")
    (paths.models / ".half.12.0123abcd.incoming").mkdir()
    (paths.current_model / "checkpoint-7-20260101-0000").mkdir()
    (paths.current_model / "checkpoint-7-20260101-0000" / "model.safetensors").write_bytes(b"x")

    report = VaultDiscovery(paths).scan()

    assert sorted(report.registered) == [one for one in ALL if one != "model_qwen3_0.6b"]
    assert len(report.problems) == 3


def test_a_home_that_was_given_another_id_keeps_its_copies(paths: Paths, catalogue: Catalogue, monkeypatch) -> None:
    VaultDiscovery(paths).scan()
    paths.hosts.write_text('{"hosts": {"4090": {"name": "Box", "host": "127.0.0.1"}}}')

    report = VaultDiscovery(paths).scan()

    assert report.registered == ["config_hosts"]
    assert {one.zone for one in catalogue.locations("checkpoint_50", present=False)} == {"4090"}


def test_a_walk_is_in_the_order_of_steps(paths: Paths) -> None:
    make_checkpoint(paths, 9)
    assert [find.id for find in walk(paths) if isinstance(find, Find)][:3] == ["checkpoint_9", "checkpoint_50", "checkpoint_100"]


def test_reading_keeps_to_its_share_of_a_core() -> None:
    spent, waited = iter([0.0, 0.001, 0.5, 0.5]), []
    pace = Share(0.1, waited.append, lambda: next(spent))
    pace(1)
    pace(1)
    assert waited == [pytest.approx(4.5)]
