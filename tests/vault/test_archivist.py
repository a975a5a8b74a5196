"""A backup is proved when it is made, restores what it holds, and a failure on the way leaves everything as it was."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from test_ledger import make

from realm.arena import crown
from realm.core import durable, events
from realm.core.clock import FakeClock
from realm.core.daemon import single_instance
from realm.core.errors import Conflict, Corrupt, NoSpace, Unknown
from realm.core.paths import Paths
from realm.core.store import open_facts, read_facts, transaction
from realm.vault import ledger
from realm.vault.keeping import archivist, restoring
from realm.vault.keeping.archivist import Backup

OWN = {"store", "journal", "backups", "logs"}


@pytest.fixture
def kept(home: Paths) -> Paths:
    """A home with a hero, settings and a champion."""
    make(home, 7)
    with closing(open_facts(home)) as facts:
        ledger.adopt(home, facts)
        crown.promote(facts, ledger.folders(home)[-1].name, "val_loss")
    return home


def hero(paths: Paths) -> Path:
    return paths.models / "dio"


def put(paths: Paths, key: str) -> None:
    with closing(open_facts(paths)) as facts, transaction(facts):
        facts.execute("INSERT INTO facts VALUES (?, '1')", (key,))


def keys(paths: Paths) -> list[str]:
    with closing(read_facts(paths)) as facts:
        return [row[0] for row in facts.execute("SELECT key FROM facts ORDER BY key")]


def digests(paths: Paths) -> dict[str, str]:
    found = [path for path in paths.home.rglob("*") if path.is_file() and not OWN & set(path.parts)]
    return {path.relative_to(paths.home).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_a_backup_holds_everything_and_restores_it(kept: Paths) -> None:
    put(kept, "before")
    config = kept.config.read_bytes()
    made = archivist.make(kept, hero(kept), "by the player")
    champion = made.holds["champion"]
    assert set(made.holds) == {"store", "settings", "hero", "champion"}
    put(kept, "after")
    kept.config.write_text("{}")
    durable.remove_tree(kept.current_model / champion)
    durable.remove_tree(hero(kept))

    restored = restoring.restore(kept, hero(kept), made.name)

    assert set(restored) == set(made.holds)
    assert keys(kept) == ["before"]
    assert kept.config.read_bytes() == config
    assert (kept.current_model / champion / "model.safetensors").is_file()
    assert (hero(kept) / "model.safetensors").is_file()
    [before, _] = [one for one in archivist.list_backups(kept) if isinstance(one, Backup)]
    assert before.why == f"before restoring {made.name}"
    restoring.restore(kept, hero(kept), before.name, ["store"])
    assert keys(kept) == ["after", "before"]
    with closing(read_facts(kept)) as facts:
        assert events.latest(facts, 1)[0]["kind"] == "backup.restored"


@pytest.mark.parametrize("file", ["store/realm.db", "hero/dio/model.safetensors", "settings/config.json"])
def test_a_damaged_backup_is_named_and_not_restored(kept: Paths, file: str) -> None:
    made = archivist.make(kept, hero(kept), "by the player")
    path = kept.backups / made.name / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.unlink()
    path.write_bytes(data)
    before = digests(kept)
    for act in (lambda: archivist.prove(kept.backups / made.name), lambda: restoring.restore(kept, None, made.name)):
        with pytest.raises(Corrupt, match=file):
            act()
    assert digests(kept) == before
    with pytest.raises(Unknown):
        archivist.find(kept, "../backups")


@pytest.mark.parametrize("call", range(1, 30, 4))
def test_a_full_disk_leaves_the_old_state(kept: Paths, monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """The disk is full at the n-th copy, move or write: no half backup, no half restore."""
    put(kept, "before")
    made = archivist.make(kept, hero(kept), "by the player")
    put(kept, "after")
    kept.config.write_text("{}")
    before, backups = digests(kept), sorted(path.name for path in kept.backups.iterdir())
    count = 0

    def full(real: object) -> object:
        def wrapped(*args: object, **more: object) -> object:
            nonlocal count
            count += 1
            if count == call:
                raise NoSpace("no space left")
            return real(*args, **more)  # type: ignore[operator]

        return wrapped

    with monkeypatch.context() as patch:
        for name in ("copy_file", "move", "write_json", "commit_dir"):
            patch.setattr(durable, name, full(getattr(durable, name)))
        try:
            restoring.restore(kept, hero(kept), made.name, ["store", "settings"])
        except NoSpace:
            assert digests(kept) == before
            assert keys(kept) == ["after", "before"]
            assert not [path.name for path in kept.home.rglob(".*.incoming")]
            assert len(sorted(path.name for path in kept.backups.iterdir())) - len(backups) in (0, 1)
        else:
            assert count < call


def test_nothing_is_restored_under_a_running_arena(kept: Paths) -> None:
    made = archivist.make(kept, None, "by the player")
    with single_instance(kept, "arena"), pytest.raises(Conflict, match="arena runs"):
        restoring.restore(kept, None, made.name)


def test_a_damaged_store_is_no_reason_not_to_restore(kept: Paths) -> None:
    put(kept, "before")
    made = archivist.make(kept, hero(kept), "by the player")
    for end in ("-wal", "-shm"):
        kept.facts_db.with_name(kept.facts_db.name + end).unlink(missing_ok=True)
    kept.facts_db.write_bytes(b"junk" * 5000)
    restoring.restore(kept, hero(kept), made.name, ["store"])
    assert keys(kept) == ["before"]
    [aside] = kept.store.glob("before-restore-*/store/realm.db")
    assert aside.read_bytes().startswith(b"junk")


def test_a_store_that_cannot_be_copied_gives_no_backup(kept: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> None:
        raise Corrupt("the copy of realm.db is not whole")

    monkeypatch.setattr(archivist, "check_database", broken)
    with pytest.raises(Corrupt):
        archivist.make(kept, None, "daily")
    assert list(kept.backups.iterdir()) == []


def test_seven_daily_ones_and_seven_others_stay(empty_home: Paths) -> None:
    clock = FakeClock()
    for day in range(9):
        archivist.make(empty_home, None, "daily", clock)
        clock.advance(timedelta(days=1).total_seconds())
        if day < 2:
            archivist.make(empty_home, None, "by the player", clock)
    gone = archivist.prune(empty_home)
    left = [one for one in archivist.list_backups(empty_home) if isinstance(one, Backup)]
    assert len(gone) == 2
    assert [one.why for one in left].count("daily") == 7
    assert [one.why for one in left].count("by the player") == 2


def test_two_within_a_second_have_two_names(empty_home: Paths) -> None:
    clock = FakeClock()
    assert len({archivist.make(empty_home, None, "x", clock).name for _ in range(3)}) == 3


def test_the_copy_is_the_database_of_one_moment(empty_home: Paths) -> None:
    with closing(open_facts(empty_home)) as facts, transaction(facts):
        facts.execute("INSERT INTO facts VALUES ('a', '1')")
    made = archivist.make(empty_home, None, "x")
    with closing(sqlite3.connect(empty_home.backups / made.name / "store" / "realm.db")) as copy:
        assert copy.execute("SELECT key FROM facts").fetchall() == [("a",)]
