from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from asset_kit import TOKENIZER, fill, flip, make_checkpoint, mark
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.core import durable, events
from realm.core.clock import FakeClock
from realm.core.errors import Unknown
from realm.core.ids import sha256_file
from realm.core.paths import Paths
from realm.core.store import open_facts
from realm.vault.keeper import sharing
from realm.vault.keeper.catalogue import Catalogue, Place
from realm.vault.keeper.discovery import VaultDiscovery
from realm.vault.keeper.drill import drill, last_drill
from realm.vault.keeper.scrub import last_scrub, scrub
from realm.vault.keeper.sharing import MOST_NAMES, plan_group, share

FILES = ["model.safetensors", "tokenizer.json", "config.json", ".ledger.json", "manifest.json"]
NAS = Place(zone="cellar", stronghold="nas1", kind="nas", path="c50")


@pytest.fixture
def paths(tmp_path) -> Paths:
    found = Paths(tmp_path / "home").ensure()
    fill(found)
    return found


@pytest.fixture
def catalogue(paths: Paths) -> Iterator[Catalogue]:
    VaultDiscovery(paths).scan()
    with closing(open_facts(paths)) as facts:
        yield Catalogue(facts)


def folder(paths: Paths, step: int = 50) -> Path:
    return paths.current_model / f"checkpoint-{step}-20260101-0000"


def everything(paths: Paths) -> dict[str, str]:
    return {str(p.relative_to(paths.models)): sha256_file(p) for p in paths.models.rglob("*") if p.is_file()}


def bring_from(kept: Path):
    def bring(location, manifest, into: Path) -> None:
        assert location.kind == "nas"
        shutil.copytree(kept, into, dirs_exist_ok=True)

    return bring


def test_a_whole_vault_is_read_once_and_oldest_first(paths: Paths, catalogue: Catalogue) -> None:
    report = scrub(paths, catalogue.connection)
    assert (report.checked, report.healed, report.lost) == (7, {}, {})
    assert last_scrub(catalogue.connection)["checked"] == 7

    seen = []
    for _ in range(7):
        before = {one["asset_id"]: one["checked"] for one in catalogue.connection.execute("SELECT * FROM locations")}
        assert scrub(paths, catalogue.connection, budget=1).checked == 1
        after = {one["asset_id"]: one["checked"] for one in catalogue.connection.execute("SELECT * FROM locations")}
        seen += [name for name in after if after[name] != before[name]]
    assert sorted(seen) == sorted(after)


def test_what_was_verified_lately_rests(paths: Paths, catalogue: Catalogue) -> None:
    assert scrub(paths, catalogue.connection, rest=timedelta(hours=1)).checked == 0
    later = FakeClock()
    later.advance(10 * 365 * 86_400)
    assert scrub(paths, catalogue.connection, rest=timedelta(hours=1), clock=later).checked == 7


@pytest.mark.parametrize("file", FILES)
def test_a_rotten_byte_is_found_named_and_quarantined(paths: Paths, catalogue: Catalogue, file: str) -> None:
    shutil.rmtree(paths.models / "Qwen3-0.6B")
    shutil.rmtree(folder(paths, 100))
    VaultDiscovery(paths).scan()
    flip(folder(paths) / file, 5, quietly=True)
    assert VaultDiscovery(paths).scan().bytes_hashed == 0

    report = scrub(paths, catalogue.connection)

    assert report.lost == {"checkpoint_50": [file]}
    assert not folder(paths).exists()
    assert (paths.current_model / ".quarantine" / folder(paths).name / file).is_file()
    assert catalogue.locations("checkpoint_50") == []
    (said,) = events.latest(catalogue.connection, 5, "patrol.failed")
    assert file in said["data"]["reason"]
    VaultDiscovery(paths).scan()
    assert catalogue.locations("checkpoint_50") == []


@pytest.mark.parametrize("file", FILES)
def test_a_rotten_byte_is_healed_from_a_verified_copy(paths: Paths, catalogue: Catalogue, tmp_path: Path, file: str) -> None:
    kept = shutil.copytree(folder(paths), tmp_path / "nas")
    catalogue.place("checkpoint_50", NAS)
    before = everything(paths)
    flip(folder(paths) / file, 5, quietly=True)

    report = scrub(paths, catalogue.connection, bring=bring_from(kept))

    assert report.healed == {"checkpoint_50": [file]}
    assert everything(paths) == before
    assert catalogue.locations("checkpoint_50")[0].kind == "local"
    (said,) = events.latest(catalogue.connection, 5, "asset.healed")
    assert list(said["data"]["files"]) == [file]
    assert not any(path.name.startswith(".heal") for path in paths.store.iterdir())


def test_a_damaged_copy_elsewhere_heals_nothing(paths: Paths, catalogue: Catalogue, tmp_path: Path) -> None:
    kept = shutil.copytree(folder(paths), tmp_path / "nas")
    catalogue.place("checkpoint_50", NAS)
    for place in (kept, folder(paths)):
        flip(place / "model.safetensors", 7, quietly=True)

    report = scrub(paths, catalogue.connection, bring=bring_from(kept))

    assert report.lost == {"checkpoint_50": ["model.safetensors"]}


def test_a_file_that_another_checkpoint_holds_heals_without_a_copy(paths: Paths, catalogue: Catalogue) -> None:
    before = everything(paths)
    flip(folder(paths) / "tokenizer.json", 5, quietly=True)

    assert scrub(paths, catalogue.connection).healed == {"checkpoint_50": ["tokenizer.json"]}

    assert everything(paths) == before


def test_a_rotten_shared_file_is_healed_in_every_checkpoint_that_has_it(paths: Paths, catalogue: Catalogue) -> None:
    share(paths)
    before = everything(paths)
    assert (folder(paths) / "tokenizer.json").samefile(folder(paths, 100) / "tokenizer.json")
    flip(folder(paths) / "tokenizer.json", 5, quietly=True)

    report = scrub(paths, catalogue.connection, budget=1)

    assert report.healed in ({}, {key: ["tokenizer.json"] for key in ("checkpoint_50", "checkpoint_100")})
    scrub(paths, catalogue.connection)
    assert everything(paths) == before


def test_a_gone_file_is_healed_too(paths: Paths, catalogue: Catalogue) -> None:
    (folder(paths) / "tokenizer.json").unlink()
    assert scrub(paths, catalogue.connection).healed == {"checkpoint_50": ["tokenizer.json"]}


def test_equal_files_are_kept_once_and_stay_whole(paths: Paths, catalogue: Catalogue) -> None:
    before = everything(paths)
    blank = os.statvfs(paths.models).f_blocks
    assert blank
    big = TOKENIZER * 10
    for step in (50, 100):
        shutil.rmtree(folder(paths, step))
    for step in range(1, 21):
        made = make_checkpoint(paths, step, tokenizer=big)
    VaultDiscovery(paths).scan()
    before = everything(paths)

    found = share(paths)

    inodes = {(folder(paths, step) / "tokenizer.json").stat().st_ino for step in range(1, 21)}
    assert (len(inodes), found.linked, found.shared) == (2, 18, 18)
    assert found.saved == 18 * len(big)
    assert everything(paths) == before
    assert share(paths).linked == 0
    assert VaultDiscovery(paths).scan().bytes_hashed == 0
    # whoever replaces one name changes that one alone
    durable.write_bytes(made / "tokenizer.json", b"other")
    changed = {name for name, digest in everything(paths).items() if before[name] != digest}
    assert changed == {f"current_model/{made.name}/tokenizer.json"}
    # and an ordinary write in place is refused by the mode, for everyone but root
    assert not (folder(paths, 1) / "tokenizer.json").stat().st_mode & 0o222


def test_damage_is_not_hidden_by_a_link(paths: Paths, catalogue: Catalogue) -> None:
    big = TOKENIZER * 10
    for step in (1, 2):
        make_checkpoint(paths, step, tokenizer=big)
    VaultDiscovery(paths).scan()
    flip(folder(paths, 2) / "tokenizer.json", 5, quietly=True)

    share(paths)

    assert scrub(paths, catalogue.connection).healed == {"checkpoint_2": ["tokenizer.json"]}


def test_without_hard_links_nothing_changes(paths: Paths, catalogue: Catalogue, monkeypatch) -> None:
    for step in (1, 2):
        make_checkpoint(paths, step, tokenizer=TOKENIZER * 10)
    VaultDiscovery(paths).scan()
    before = {path: mark(paths.models / path) for path in everything(paths)}

    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(sharing.durable, "share_file", refuse)
    assert share(paths) == sharing.Sharing(0, 0, 0, possible=False)
    assert {path: mark(paths.models / path) for path in everything(paths)} == before


@settings(deadline=None)
@given(st.lists(st.integers(min_value=1, max_value=40), min_size=1, max_size=12))
def test_the_plan_never_puts_too_many_names_on_one_file(sizes: list[int]) -> None:
    group = [{"inode": inode, "path": f"{inode}/{n}"} for inode, size in enumerate(sizes) for n in range(size)]
    names = dict(enumerate(sizes))
    for source, targets in plan_group(group):
        for target in targets:
            names[target["inode"]] -= 1
            names[source["inode"]] += 1
        assert names[source["inode"]] <= max(MOST_NAMES, sizes[source["inode"]])
    assert sum(names.values()) == sum(sizes)
    assert sum(1 for size in names.values() if 0 < size < MOST_NAMES) <= 1


def test_the_drill_restores_proves_and_leaves_nothing(paths: Paths, catalogue: Catalogue, tmp_path: Path) -> None:
    report = drill(paths, catalogue.connection)
    assert report.ok
    assert report.tensors == 1
    assert last_drill(catalogue.connection)["asset_id"] == report.asset_id

    kept = shutil.copytree(folder(paths), tmp_path / "nas")
    catalogue.place("checkpoint_50", NAS)
    again = drill(paths, catalogue.connection, bring_from(kept), choose=lambda ids: "checkpoint_50")
    assert again.ok
    assert again.source == "cellar/nas1/c50"
    flip(kept / "config.json", 3)
    failed = drill(paths, catalogue.connection, bring_from(kept), choose=lambda ids: "checkpoint_50")
    assert not failed.ok
    assert "config.json" in failed.reason
    assert not any(path.name.startswith(".drill") for path in paths.store.iterdir())


def test_a_drill_without_a_checkpoint_is_an_error(tmp_path: Path) -> None:
    empty = Paths(tmp_path / "empty").ensure()
    with closing(open_facts(empty)) as facts, pytest.raises(Unknown):
        drill(empty, facts)
