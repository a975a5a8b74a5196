"""After any crash and any hand in the folders: every quest in one state, every checkpoint whole or in quarantine."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from board_kit import Kit, make_kit
from fight_kit import battle, kinds, once_each, put, quest_named
from quest_files import as_bytes, board_files, configure, leftovers, rows

from realm.arena import reconcile
from realm.arena.quests import board
from realm.arena.quests.quest import MOVES, Quest, file_name, folder_of, quest_path, sidecar_of
from realm.core import durable
from realm.core.ids import new_ulid
from realm.core.paths import BOARD_FOLDERS, Paths
from realm.core.store import open_facts
from realm.vault import ledger
from realm.vault.keeper.discovery import VaultDiscovery
from realm.vault.keeper.quarantine import QUARANTINE


@pytest.fixture
def kit(empty_home: Paths) -> Iterator[Kit]:
    made = make_kit(empty_home)
    yield made
    made.facts.close()


def mend(kit: Kit) -> list[str]:
    changed = reconcile.mend_board(kit.paths, kit.facts, kit.clock)
    assert reconcile.mend_board(kit.paths, kit.facts, kit.clock) == [], "mending twice changes nothing"
    for quest in kit.quests():
        if quest.state not in ("deleted", "completed"):
            assert os.path.lexists(quest_path(kit.paths, quest)), f"{quest.state}: {quest.file} is not where it should be"
    return changed


def brought_to(kit: Kit, state: str) -> Quest:
    """A quest in that state, by ordinary moves."""
    quest = kit.add()
    if state == "rejected":
        kit.drop("bad.jsonl", b"bad")
        return kit.take_in()[0]
    if state in ("processing", "completed", "failed", "skipped"):
        quest = kit.claim()
    if state in ("completed", "failed", "skipped"):
        quest = board.change(kit.paths, kit.facts, quest, state, f"queue.{state}", reason="because")
    if state == "deleted":
        quest = board.delete(kit.paths, kit.facts, quest.id)
    return kit.get(quest)


CRASHES = [(state, target) for state, targets in MOVES.items() for target in sorted(targets)]


@pytest.mark.parametrize(("state", "target"), CRASHES)
def test_a_crash_between_the_files_move_and_the_rows(kit: Kit, state: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    quest = brought_to(kit, state)

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(board.events, "append", die)
        patch.setattr(board._Move, "back", lambda self: None)  # a killed process moves nothing back
        with pytest.raises(KeyboardInterrupt):
            board.change(kit.paths, kit.facts, quest, target, "queue.restored", reason="x")
    assert kit.get(quest).state == state
    at = folder_of(kit.paths, target, quest.priority)
    mend(kit)
    found = kit.get(quest)
    assert os.path.lexists(sidecar_of(quest_path(kit.paths, found))) or state == "rejected"
    if (state, target) == ("processing", "completed"):
        assert found.state == "processing"  # only a checkpoint can say that it is completed
    elif state == "rejected" and target == "queued":
        assert found.state == "deleted"  # it goes through the gate again instead
        assert [path.name for path in (kit.paths.inbox / "normal").glob("*.jsonl")] == [quest.file]
    else:
        assert quest_path(kit.paths, found).parent == at
        assert found.state in (target, state) or {found.state, target} <= {"failed", "skipped", "rejected"}
    if target == "deleted":
        assert board.undelete(kit.paths, kit.facts, quest.id).state in (state, "queued")


def test_a_crash_in_a_claim_keeps_the_order(kit: Kit) -> None:
    first, second = kit.add(name="a.jsonl"), kit.add(name="b.jsonl")
    kit.claim()
    source = quest_path(kit.paths, second)
    durable.move(source, kit.paths.queue("processing") / source.name)
    mend(kit)
    assert [quest.id for quest in board.processing(kit.facts)] == [first.id, second.id]
    assert [quest.attempts for quest in board.processing(kit.facts)] == [1, 1]
    assert kit.events().count("queue.claimed") == 2


@pytest.mark.parametrize("state", ["queued", "processing", "completed", "failed", "skipped", "rejected", "deleted"])
@pytest.mark.parametrize("folder", [*BOARD_FOLDERS, "trash"])
def test_a_file_moved_by_hand(kit: Kit, state: str, folder: str) -> None:
    quest = brought_to(kit, state)
    source = quest_path(kit.paths, quest)
    target = (kit.paths.trash if folder == "trash" else kit.paths.queue(folder)) / source.name
    source.rename(target) if source != target else None
    mend(kit)
    found = kit.get(quest)
    files = board_files(kit.paths)
    if state == "rejected" and folder not in ("failed", "trash"):
        assert found.state == "deleted"
        assert quest.file in [path.name for path in kit.paths.inbox.rglob("*.jsonl")]
        return
    assert files[quest.file] in (folder, "processing")
    assert quest_path(kit.paths, found).is_file()
    if folder in ("high", "normal", "low") and state != "processing":
        assert (found.state, found.priority) == ("queued", folder)


def test_a_file_taken_away_by_hand(kit: Kit) -> None:
    for state in ("queued", "processing", "failed", "completed"):
        quest = brought_to(kit, state)
        quest_path(kit.paths, quest).unlink()
        mend(kit)
        assert kit.get(quest).state == ("completed" if state == "completed" else "deleted")


def test_files_put_there_by_hand_go_through_the_gate(kit: Kit) -> None:
    (kit.paths.inbox / "high").mkdir()
    (kit.paths.inbox / "high" / "mine.jsonl").write_bytes(as_bytes(rows(1, 70)))
    for number, folder in enumerate(BOARD_FOLDERS):
        (kit.paths.queue(folder) / "mine.jsonl").write_bytes(as_bytes(rows(2, number * 10)))
    changed = mend(kit)
    assert len(changed) == 5
    kept = [folder for folder in BOARD_FOLDERS if (kit.paths.queue(folder) / "mine.jsonl").exists()]
    assert kept == ["recently_completed"]
    taken = kit.take_in()
    assert [quest.state for quest in taken] == ["queued"] * 6
    assert sorted(quest.priority for quest in taken) == ["high", "high", "low", "normal", "normal", "normal"]


def test_a_copy_made_by_hand_is_a_new_arrival(kit: Kit) -> None:
    quest = kit.add(priority="low")
    at = quest_path(kit.paths, quest)
    shutil.copy(at, kit.paths.queue("high") / at.name)
    mend(kit)
    assert kit.get(quest).state == "queued"
    assert kit.get(quest).priority == "low"
    assert [one.priority for one in kit.take_in()] == ["high"]
    assert len(board_files(kit.paths)) == 2


def test_a_second_name_of_the_same_file_is_removed(kit: Kit) -> None:
    """What a crash leaves where renames are made of link and unlink."""
    quest = kit.add()
    at = quest_path(kit.paths, quest)
    os.link(at, kit.paths.queue("processing") / at.name)
    mend(kit)
    assert board_files(kit.paths) == {quest.file: "normal"}
    assert at.stat().st_nlink == 1


def crashed_place(kit: Kit, monkeypatch: pytest.MonkeyPatch, moment: str) -> Path:
    """A kill while a dropped file is placed: nothing is cleaned up."""
    path = kit.drop("x.jsonl", as_bytes(rows(3)))
    held: dict[str, bytes] = {}

    def die(*_: Any, **__: Any) -> None:
        for folder in (kit.paths.queue("normal"), kit.paths.home / "queue"):
            held.update({str(p): p.read_bytes() for p in folder.iterdir() if p.is_file()})
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(board.durable if moment == "move" else board.events, "move" if moment == "move" else "append", die)
        with pytest.raises(KeyboardInterrupt):
            kit.take_in()
    for name, data in held.items():
        Path(name.replace(f".{os.getpid()}.", ".999999999.")).write_bytes(data)
    return path


@pytest.mark.parametrize("moment", ["move", "record"])
def test_a_crash_while_a_dropped_file_is_placed_trains_it_once(kit: Kit, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    path = crashed_place(kit, monkeypatch, moment)
    assert path.exists()
    kit.settling.seen.clear()
    reconcile.sweep_leftovers(kit.paths)
    mend(kit)
    taken = kit.take_in()
    assert [quest.state for quest in taken] == ["queued"]
    assert len(kit.quests()) == 1
    assert list(board_files(kit.paths).values()).count("normal") == 1
    assert kit.take_in() == []
    assert leftovers(kit.paths) == []
    assert {p.name for p in kit.paths.queue("normal").iterdir()} == {taken[0].file, taken[0].file + ".meta.json"}


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(kit: Kit) -> None:
    living, dead = os.getppid(), 999_999_999
    for folder in (kit.paths.home / "queue", kit.paths.queue("high"), kit.paths.status, kit.paths.models, kit.paths.run):
        for pid in (living, dead):
            (folder / f".x.{pid}.0123abcd.tmp").write_bytes(b"half")
    (kit.paths.current_model / f".checkpoint-5.{dead}.0123abcd.incoming").mkdir()
    (kit.paths.current_model / f".checkpoint-4.{dead}.0123abcd.gone" / "x").mkdir(parents=True)
    (kit.paths.home / "queue" / ".mine.tmp").write_bytes(b"a person's")
    reconcile.sweep_leftovers(kit.paths)
    left = leftovers(kit.paths)
    assert len(left) == 6
    assert all(str(living) in name or name.endswith(".mine.tmp") for name in left)


# Checkpoints


@pytest.fixture(scope="module")
def trained(small_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two quests in two checkpoints: a in checkpoint 3, b in checkpoint 6."""
    paths = Paths(tmp_path_factory.mktemp("trained") / "home")
    shutil.copytree(small_home, paths.home)
    configure(paths.ensure(), threads=1, training={"save_steps": 3})
    put(paths, "a.jsonl", 12)
    put(paths, "b.jsonl", 12, start=500)
    with battle(paths) as one:
        one.fight()
    assert [ledger.extract_step(folder.name) for folder in ledger.folders(paths)] == [3, 6]
    return paths.home


@pytest.fixture
def field(trained: Path, tmp_path: Path) -> Paths:
    shutil.copytree(trained.parent, tmp_path / "field")
    return Paths(tmp_path / "field" / "home")


def run(paths: Paths) -> Path | None:
    with closing(open_facts(paths)) as facts:
        return reconcile.reconcile(paths, facts, lambda *_: None)


def indexed(paths: Paths) -> dict[str, str]:
    with closing(open_facts(paths)) as facts:
        return {row["name"]: row["state"] for row in facts.execute("SELECT name, state FROM checkpoints")}


FILES = ("model.safetensors", "raw.safetensors", "optimizer.safetensors", "state.json", "config.json", "tokenizer.json",
         "hero.json", ".ledger.json", "manifest.json")  # fmt: skip


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 0x04
    path.write_bytes(data)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("where", [0.0, 0.37, 0.98])
def test_a_flipped_byte_is_found_named_and_the_checkpoint_before_used(field: Paths, name: str, where: float) -> None:
    older, newer = ledger.folders(field)
    path = newer / name
    flip(path, int(path.stat().st_size * where))
    assert run(field) == older
    assert [p.name for p in (field.current_model / QUARANTINE).iterdir()] == [newer.name]
    assert indexed(field) == {older.name: "present", newer.name: "dropped"}
    assert quest_named(field, "a.jsonl").state == "completed"
    assert quest_named(field, "b.jsonl").state == "processing"
    with closing(open_facts(field)) as facts:
        told = json.loads(facts.execute("SELECT data FROM events WHERE kind = 'patrol.failed'").fetchone()["data"])
    assert told["name"] == newer.name
    assert name in told["reason"] or "manifest" in told["reason"]


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "hero.json"])
def test_a_file_that_the_vault_knows_elsewhere_is_mended_and_training_goes_on_there(field: Paths, name: str) -> None:
    _, newer = ledger.folders(field)
    VaultDiscovery(field).scan()
    before = (newer / name).read_bytes()
    flip(newer / name, 11)
    assert run(field) == newer
    assert (newer / name).read_bytes() == before
    with closing(open_facts(field)) as facts:
        told = json.loads(facts.execute("SELECT data FROM events WHERE kind = 'asset.healed'").fetchone()["data"])
        assert not facts.execute("SELECT 1 FROM events WHERE kind = 'patrol.failed'").fetchone()
    assert list(told["files"]) == [name]


def test_no_flipped_byte_of_a_manifest_is_overlooked(field: Paths) -> None:
    newer = ledger.folders(field)[-1]
    path = newer / "manifest.json"
    original = path.read_bytes()
    with closing(open_facts(field)) as facts:
        for at in range(0, len(original), 7):
            for mask in (0x01, 0x20):
                data = bytearray(original)
                data[at] ^= mask
                path.write_bytes(data)
                with pytest.raises(reconcile.Corrupt):
                    reconcile._verify(facts, newer)
        path.write_bytes(original)
        reconcile._verify(facts, newer)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_truncated_file_is_found(field: Paths, name: str) -> None:
    older, newer = ledger.folders(field)
    if name.startswith("m"):
        (newer / name).unlink()
    else:
        os.truncate(newer / name, (newer / name).stat().st_size // 2)
    assert run(field) == older


def test_quests_of_a_lost_checkpoint_are_fought_again_and_end_with_the_same_bits(field: Paths) -> None:
    from quest_files import digests

    expected = digests(ledger.folders(field)[-1])
    flip(ledger.folders(field)[-1] / "raw.safetensors", 5000)
    with battle(field) as one:
        assert one.arena.step == 3
        one.fight()
    assert digests(ledger.folders(field)[-1]) == expected
    assert quest_named(field, "b.jsonl").state == "completed"
    once_each(field, quest_named(field, "a.jsonl"), quest_named(field, "b.jsonl"))
    flip(ledger.folders(field)[-1] / "raw.safetensors", 5000)
    with battle(field) as one:  # the same name may be in quarantine already
        one.fight()
    assert digests(ledger.folders(field)[-1]) == expected
    assert indexed(field)[ledger.folders(field)[-1].name] == "present"


def test_all_checkpoints_lost_starts_from_the_base_hero(field: Paths) -> None:
    for folder in ledger.folders(field):
        shutil.rmtree(folder)
    assert run(field) is None
    assert set(indexed(field).values()) == {"dropped"}
    assert [quest_named(field, name).state for name in ("a.jsonl", "b.jsonl")] == ["processing", "processing"]
    for name in ("a.jsonl", "b.jsonl"):
        at = field.queue("processing") / quest_named(field, name).file
        assert sidecar_of(at).is_file()


def test_a_deleted_older_checkpoint_is_noted(field: Paths) -> None:
    older, newer = ledger.folders(field)
    shutil.rmtree(older)
    assert run(field) == newer
    assert indexed(field) == {older.name: "dropped", newer.name: "present"}
    assert quest_named(field, "a.jsonl").state == "completed"


def test_a_half_made_checkpoint_is_removed(field: Paths) -> None:
    newer = ledger.folders(field)[-1]
    shutil.copytree(newer, field.current_model / ".checkpoint-9-20270101-0000.999999999.0123abcd.incoming")
    assert run(field) == newer
    assert leftovers(field) == []


def forget(paths: Paths, name: str) -> None:
    with closing(open_facts(paths)) as facts:
        facts.execute("DELETE FROM checkpoints WHERE name = ?", (name,))


def test_a_checkpoint_that_was_not_recorded_is_adopted(field: Paths) -> None:
    for folder in ledger.folders(field):
        forget(field, folder.name)
    run(field)
    assert indexed(field) == {folder.name: "present" for folder in ledger.folders(field)}


def test_an_older_unknown_folder_that_is_broken_does_not_stop_the_start(field: Paths) -> None:
    older, newer = ledger.folders(field)
    forget(field, older.name)
    (older / "state.json").unlink()
    assert run(field) == newer
    assert indexed(field) == {newer.name: "present"}
    assert [p.name for p in (field.current_model / QUARANTINE).iterdir()] == [older.name]


def test_a_folder_renamed_to_another_step_is_found(field: Paths) -> None:
    older, newer = ledger.folders(field)
    shutil.copytree(older, field.current_model / "checkpoint-900-20270101-0000")
    assert run(field) == newer
    assert "checkpoint-900-20270101-0000" not in indexed(field)


def test_a_crash_right_after_a_commit_is_finished(field: Paths) -> None:
    """The folder is there, the store knows nothing of it yet, the quest's file may or may not be moved."""
    newer = ledger.folders(field)[-1]
    quest = quest_named(field, "b.jsonl")
    for moved in (True, False):
        forget(field, newer.name)
        with closing(open_facts(field)) as facts:
            facts.execute("UPDATE quests SET state = 'processing', checkpoint = NULL, rows_done = 0 WHERE id = ?", (quest.id,))
        if not moved:
            durable.move(field.queue("recently_completed") / quest.file, field.queue("processing") / quest.file)
        before = kinds(field).count("queue.completed")
        assert run(field) == newer
        found = quest_named(field, "b.jsonl")
        assert (found.state, found.checkpoint, found.rows_done) == ("completed", newer.name, 12)
        assert kinds(field).count("queue.completed") == before + 1
        assert sidecar_of(field.queue("recently_completed") / quest.file).is_file()
        assert run(field) == newer
        assert kinds(field).count("queue.completed") == before + 1


def test_a_skip_survives_a_crash_right_after_its_checkpoint(home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    from realm.arena import control, saver

    configure(home, threads=1)
    put(home, "a.jsonl", 40)

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(saver, "finish", die)
        with battle(home) as one:
            one.at(4, lambda: control.give(home, "skip"))
            with pytest.raises(KeyboardInterrupt):
                one.fight()
            one.arena.saver._crash = None  # told already
    assert quest_named(home, "a.jsonl").state == "processing"
    run(home)
    assert (quest_named(home, "a.jsonl").state, quest_named(home, "a.jsonl").rows_done) == ("skipped", 16)
    with closing(open_facts(home)) as facts:
        board.retry(home, facts, quest_named(home, "a.jsonl").id)
        board.claim(home, facts, step=4)
    run(home)  # the skip belongs to the past: it is not applied a second time
    assert quest_named(home, "a.jsonl").state == "processing"


def test_reconcile_of_an_untouched_home_changes_nothing(field: Paths) -> None:
    def state() -> Any:
        with closing(sqlite3.connect(field.facts_db)) as facts:
            told = [line for line in facts.iterdump() if '"changes"' not in line and "sqlite_sequence" not in line]
            return told, sorted(str(p) for p in field.home.rglob("*") if "realm.db" not in p.name)

    run(field)
    before = state()
    run(field)
    assert state() == before


def test_names_of_unknown_quests_are_no_paths(kit: Kit) -> None:
    name = file_name(new_ulid(), "../../etc/passwd")
    assert "/" not in name
    (kit.paths.queue("normal") / name).write_bytes(as_bytes(rows(1)))
    mend(kit)
    assert [quest.state for quest in kit.take_in()] == ["queued"]
