"""Orders, errors and restarts of a battle: nothing lost, each example exactly once, the same bits."""

from __future__ import annotations

import errno
import json
import resource
import shutil
import signal
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fight_kit import battle, kinds, once_each, put, quest_named, waiting
from quest_files import board_files, configure, digests, leftovers, wait_until
from safetensors.torch import load_file

from realm.arena import checkpoint_io, control, saver
from realm.arena.battle import enter, leave
from realm.arena.quests import board
from realm.arena.saver import Poisoned
from realm.arena.stepper import NonFinite
from realm.core import durable
from realm.core.errors import BadInput, Conflict, Corrupt, NoSpace
from realm.core.paths import Paths
from realm.core.store import open_facts, read_telemetry
from realm.vault import ledger


@pytest.fixture
def ground(home: Paths) -> Paths:
    configure(home, threads=1)
    return home


def last(paths: Paths) -> Path:
    return ledger.folders(paths)[-1]


def twin(paths: Paths) -> Paths:
    """A copy of a home, to train the same in another way."""
    shutil.copytree(paths.home, paths.home.parent / "twin")
    return Paths(paths.home.parent / "twin")


def test_twenty_steps_are_ten_and_ten(ground: Paths) -> None:
    put(ground, "a.jsonl", 80)
    other = twin(ground)
    with battle(ground) as straight:
        straight.fight()
    with battle(other) as first:
        first.fight(max_steps=10)
        assert first.arena.step == 10
    assert ledger.extract_step(last(other).name) == 10
    with battle(other) as second:
        assert second.arena.step == 10
        second.fight()
    assert ledger.extract_step(last(ground).name) == ledger.extract_step(last(other).name) == 20
    assert digests(last(ground)) == digests(last(other))
    once_each(other, quest_named(other, "a.jsonl"))
    told = [json.loads((last(paths) / ".ledger.json").read_text()) for paths in (ground, other)]
    assert told[0]["train_loss"] == told[1]["train_loss"]
    assert (told[0]["tokens"], told[0]["trained_tokens"]) == (told[1]["tokens"], told[1]["trained_tokens"])


def test_another_batch_size_and_seed_do_not_disturb_a_quest_that_was_begun(ground: Paths) -> None:
    quest = put(ground, "a.jsonl", 40)
    with battle(ground) as first:
        first.fight(max_steps=3)
    configure(ground, seed=5, training={"batch_size": 8})
    with battle(ground) as second:
        second.fight()
    once_each(ground, quest)
    assert quest_named(ground, "a.jsonl").state == "completed"


def test_the_stop_signal_saves_at_the_step_boundary(ground: Paths) -> None:
    quest = put(ground, "a.jsonl", 40)
    with battle(ground) as one:
        one.at(4, one.stop.set)
        one.fight()
    assert ledger.extract_step(last(ground).name) == 4
    assert quest_named(ground, "a.jsonl").state == "processing"
    with battle(ground) as two:
        two.fight()
    once_each(ground, quest)
    assert leftovers(ground) == []


def test_pause_holds_and_saves_and_resume_goes_on(ground: Paths) -> None:
    quest = put(ground, "a.jsonl", 40)
    held: list[int] = []

    def resume() -> None:
        wait_until(lambda: status(ground)["state"] == "paused")
        held.append(ledger.extract_step(last(ground).name))
        control.give(ground, "resume")

    with battle(ground) as one:
        thread = threading.Thread(target=resume)
        one.at(3, lambda: (control.give(ground, "pause"), thread.start()))
        one.fight()
        thread.join()
    assert held == [3]
    assert quest_named(ground, "a.jsonl").state == "completed"
    once_each(ground, quest)
    told = kinds(ground)
    assert told.index("battle.paused") < told.index("battle.resumed") < told.index("queue.completed")


def status(paths: Paths) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((paths.status / "training_status.json").read_text())
    return found


SLOW = pytest.mark.slow


@pytest.mark.parametrize(("save_steps", "at"), [
    (1, 4), (2, 4), (50, 1), *(pytest.param(*both, marks=SLOW) for both in ((1, 1), (1, 5), (2, 1), (2, 5), (50, 4), (50, 5))),
])  # fmt: skip
def test_skip_ends_the_quest_and_retry_goes_on_at_its_cursor(ground: Paths, save_steps: int, at: int) -> None:
    """A save in flight when the order comes must not swallow it (save_steps 1 and 2)."""
    configure(ground, training={"save_steps": save_steps})
    skipped, other = put(ground, "a.jsonl", 40), put(ground, "b.jsonl", 12, start=500)
    with battle(ground) as one:
        one.at(at, lambda: control.give(ground, "skip"))
        one.fight()
        assert one.arena.step == at + 3
    assert waiting(ground) == []
    found = quest_named(ground, "a.jsonl")
    assert (found.state, found.rows_done) == ("skipped", at * 4)
    assert quest_named(ground, "b.jsonl").state == "completed"
    assert board_files(ground)[found.file] == "failed"
    facts = open_facts(ground)
    board.retry(ground, facts, found.id)
    facts.close()
    with battle(ground) as two:
        two.fight()
        assert two.arena.step == 13
    once_each(ground, skipped, other)
    assert quest_named(ground, "a.jsonl").state == "completed"


def test_skip_with_the_last_step_does_not_hit_the_next_quest(ground: Paths) -> None:
    put(ground, "a.jsonl", 12)
    put(ground, "b.jsonl", 12, start=500)
    with battle(ground) as one:
        one.at(3, lambda: control.give(ground, "skip"))
        one.fight()
    assert quest_named(ground, "a.jsonl").state == "completed"
    assert quest_named(ground, "b.jsonl").state == "completed"
    assert control.read_orders(ground) == control.Orders()


def test_skip_right_after_a_resume_at_a_saved_step(ground: Paths) -> None:
    put(ground, "a.jsonl", 40)
    with battle(ground) as one:
        one.fight(max_steps=3)
    control.give(ground, "skip")
    # Orders given while nobody trained are for the quest that is in progress only once it is fought again.
    with battle(ground) as two:
        two.fight()
    assert quest_named(ground, "a.jsonl").state in ("skipped", "completed")
    assert waiting(ground) == []


def test_stop_saves_and_holds(ground: Paths) -> None:
    quest = put(ground, "a.jsonl", 40)

    def end() -> None:
        wait_until(lambda: status(ground)["state"] == "stopped")
        one.stop.set()

    with battle(ground) as one:
        thread = threading.Thread(target=end)
        one.at(5, lambda: (control.give(ground, "stop"), thread.start()))
        one.fight()
        thread.join()
    assert ledger.extract_step(last(ground).name) == 5
    control.give(ground, "resume")
    with battle(ground) as two:
        two.fight()
    once_each(ground, quest)


@pytest.mark.parametrize("held", [False, True])
def test_a_restart_saves_and_ends_and_the_next_start_goes_on(ground: Paths, held: bool) -> None:
    quest = put(ground, "a.jsonl", 40)

    def ask() -> None:
        wait_until(lambda: status(ground)["state"] == "paused")
        control.give(ground, "restart")

    with battle(ground) as one:
        thread = threading.Thread(target=ask)
        one.at(4, lambda: (control.give(ground, "pause"), thread.start()) if held else control.give(ground, "restart"))
        one.fight(until_idle=False)
        assert one.arena.step == 4
        assert ledger.extract_step(last(ground).name) == 4
    if held:
        thread.join()
        control.give(ground, "resume")
    assert control.read_orders(ground) == control.Orders()
    control.give(ground, "restart")  # nobody is there to obey: the next start is the one
    with battle(ground) as two:
        control.give(ground, "restart")  # the settings were read before this
        two.fight()
        assert two.arena.step == 4
    with battle(ground) as three:
        three.fight()
        assert three.arena.step == 10
    once_each(ground, quest)


def test_stop_after_quest_finishes_it_first(ground: Paths) -> None:
    first, second = put(ground, "a.jsonl", 12), put(ground, "b.jsonl", 12, start=500)

    def end() -> None:
        wait_until(lambda: status(ground)["state"] == "stopped")
        one.stop.set()

    with battle(ground) as one:
        thread = threading.Thread(target=end)
        one.at(2, lambda: (control.give(ground, "stop_after_quest"), thread.start()))
        one.fight()
        thread.join()
        assert one.arena.step == 3
    assert [quest_named(ground, name).state for name in ("a.jsonl", "b.jsonl")] == ["completed", "queued"]
    control.give(ground, "resume")
    with battle(ground) as two:
        two.fight()
    once_each(ground, first, second)


@pytest.mark.parametrize("save_steps", [1, 50])
def test_a_non_finite_step_sets_the_quest_aside_after_three_tries(ground: Paths, save_steps: int) -> None:
    configure(ground, training={"save_steps": save_steps})
    put(ground, "bad.jsonl", 20, priority="high")
    good = put(ground, "good.jsonl", 12, start=500)
    with battle(ground) as one:
        real = one.arena.stepper.step

        def step(rows: Any) -> Any:
            if len(rows) == 4 and quest_named(ground, "bad.jsonl").state == "processing" and one.arena.step == 2:
                raise NonFinite(f"step 3: loss nan, rows {[row.index for row in rows]}")
            return real(rows)

        one.arena.stepper.step = step
        one.fight()
    bad = quest_named(ground, "bad.jsonl")
    assert (bad.state, bad.attempts) == ("failed", 3)
    assert "loss nan, rows [" in bad.reason
    assert board_files(ground)[bad.file] == "failed"
    found = quest_named(ground, "good.jsonl")
    assert found.state == "completed"
    assert kinds(ground).count("battle.failed") == 3
    assert ledger.extract_step(last(ground).name) == 2 + 3
    assert all(tensor.isfinite().all() for tensor in load_file(last(ground) / "raw.safetensors").values())
    assert good.id == found.id


def test_weights_that_overflow_are_never_saved_and_the_quest_is_given_up_after_three_starts(ground: Paths) -> None:
    good = put(ground, "good.jsonl", 12, priority="high")
    put(ground, "bad.jsonl", 20, start=500)
    after = put(ground, "after.jsonl", 12, start=900)
    tries = 0
    for _ in range(6):
        with battle(ground) as one:
            real = one.arena.stepper.step

            def step(rows: Any, real: Any = real, one: Any = one) -> Any:
                result = real(rows)
                if quest_named(ground, "bad.jsonl").state == "processing":
                    one.arena.stepper.optimiser.buffers[0].weights.view(-1)[3] = float("inf")
                return result

            one.arena.stepper.step = step
            try:
                one.fight()
                break
            except Poisoned:
                tries += 1
    assert tries == 3
    for folder in ledger.folders(ground):
        for name in ("model", "raw", "optimizer"):
            tensors = load_file(folder / f"{name}.safetensors").values()
            assert all(tensor.isfinite().all() for tensor in tensors if tensor.is_floating_point())
    bad = quest_named(ground, "bad.jsonl")
    assert (bad.state, bad.attempts) == ("failed", 3)
    assert "not finite" in bad.reason
    assert quest_named(ground, "after.jsonl").state == "completed"
    assert ledger.extract_step(last(ground).name) == 6
    assert (good.rows, after.rows) == (12, 12)


def test_a_poisoned_learning_rate_saves_nothing_bad(ground: Paths) -> None:
    configure(ground, training={"learning_rate": 1e30, "muon_learning_rate": 1e30, "save_steps": 2})
    put(ground, "a.jsonl", 40)
    for _ in range(4):
        with battle(ground) as one:
            try:
                one.fight()
            except Poisoned:
                continue
    for folder in ledger.folders(ground):
        assert all(tensor.isfinite().all() for tensor in load_file(folder / "model.safetensors").values())
    assert quest_named(ground, "a.jsonl").state == "failed"


def test_a_damaged_quest_file_is_set_aside_and_the_others_go_on(ground: Paths) -> None:
    put(ground, "bad.jsonl", 12, priority="high")
    good = put(ground, "good.jsonl", 12, start=500)
    bad = quest_named(ground, "bad.jsonl")
    path = ground.queue("high") / bad.file
    path.write_bytes(path.read_bytes().replace(b"Compute", b"Compude", 1))
    with battle(ground) as one:
        one.fight()
    assert quest_named(ground, "bad.jsonl").state == "failed"
    assert "not the file that was accepted" in quest_named(ground, "bad.jsonl").reason
    once_each(ground, good)


def test_a_quest_that_vanishes_while_it_is_fought(ground: Paths) -> None:
    quest = put(ground, "a.jsonl", 12)
    after = put(ground, "b.jsonl", 12, start=500)
    with battle(ground) as one:
        one.at(1, (ground.queue("processing") / quest.file).unlink)
        one.fight()
    assert quest_named(ground, "a.jsonl").state == "completed"
    assert quest_named(ground, "b.jsonl").state == "completed"
    once_each(ground, quest, after)


BROKEN = [b"{oops\n", b"\n\n", b"\xff\n", b'{"messages": [{"role": "x"}]}\n', b"{}\n", b'{"messages": 5}\n']


@pytest.mark.parametrize("data", BROKEN)
def test_a_broken_validation_file_is_told_and_stops_nothing(ground: Paths, data: bytes) -> None:
    quest = put(ground, "a.jsonl", 12)
    folder = ground.home / "data" / "validation"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "general.jsonl").write_bytes(data)
    with battle(ground) as one:
        one.fight()
    once_each(ground, quest)
    assert "patrol.failed" in kinds(ground)


def test_a_validation_loss_is_recorded(ground: Paths) -> None:
    put(ground, "a.jsonl", 12)
    folder = ground.home / "data" / "validation"
    folder.mkdir(parents=True, exist_ok=True)
    source = quest_named(ground, "a.jsonl")
    shutil.copy(ground.queue("normal") / source.file, folder / "general.jsonl")
    configure(ground, training={"save_steps": 3})
    with battle(ground) as one:
        one.fight()
    record = ledger.read_record(last(ground) / ledger.SIDECAR)
    assert record.val_set == "general"
    assert record.val_loss is not None
    assert record.val_loss > 0


def settle(made: Any) -> None:
    """Let the save in flight end, so that the test and the disk agree on the moment."""
    if made.arena.saver._thread is not None:
        made.arena.saver._thread.join()


Refuse = Callable[..., Any]


def full_disk(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def broken_disk(*_: Any, **__: Any) -> Any:
    raise OSError(errno.EIO, "Input/output error")


def read_only(*_: Any, **__: Any) -> Any:
    raise OSError(errno.EROFS, "Read-only file system")


PLACES = ("save_file", "new_dir", "commit_dir", "copy_file")


@pytest.mark.parametrize(("place", "fault"), [
    ("save_file", full_disk), ("commit_dir", broken_disk), ("new_dir", read_only),
    *(pytest.param(place, fault, marks=SLOW) for place in PLACES for fault in (full_disk, broken_disk, read_only)),
])  # fmt: skip
def test_a_save_that_fails_keeps_the_old_checkpoint_and_is_made_up_later(
    ground: Paths, place: str, fault: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(ground, training={"save_steps": 2})
    quest = put(ground, "a.jsonl", 40)
    where: Any = checkpoint_io if place == "save_file" else durable
    real = getattr(where, place)
    seen: list[list[str]] = []

    def break_it() -> None:
        settle(one)
        monkeypatch.setattr(where, place, fault)

    def heal() -> None:
        settle(one)
        seen.append([folder.name.split("-")[1] for folder in ledger.folders(ground)])
        monkeypatch.setattr(where, place, real)

    with battle(ground) as one:
        one.at(3, break_it)
        one.at(7, heal)
        one.fight()
    assert seen == [["2"]]
    assert "patrol.failed" in kinds(ground)
    assert ledger.extract_step(last(ground).name) == 10
    assert quest_named(ground, "a.jsonl").state == "completed"
    assert leftovers(ground) == []
    once_each(ground, quest)


def test_a_disk_that_stays_full_is_an_error_at_the_end(ground: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    put(ground, "a.jsonl", 12)
    monkeypatch.setattr(durable, "commit_dir", full_disk)
    with battle(ground) as one, pytest.raises((NoSpace, RuntimeError, OSError, saver.Unavailable)):
        one.fight()
    assert ledger.folders(ground) == []
    assert quest_named(ground, "a.jsonl").state == "processing"


def test_a_store_that_cannot_be_written_while_saving(ground: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is committed but could not be recorded: the next save records it instead of failing for ever."""
    quest = put(ground, "a.jsonl", 12)
    real, calls = saver.open_facts, []

    def flaky(paths: Paths) -> sqlite3.Connection:
        calls.append(1)
        if len(calls) == 1:
            raise sqlite3.OperationalError("disk I/O error")
        return real(paths)

    configure(ground, training={"save_steps": 3})
    monkeypatch.setattr(saver, "open_facts", flaky)
    with battle(ground) as one:
        one.fight()
    assert len(ledger.folders(ground)) == 1
    assert quest_named(ground, "a.jsonl").state == "completed"
    assert kinds(ground).count("checkpoint.saved") == 1
    once_each(ground, quest)


def test_the_librarys_own_error_of_a_disk_that_takes_no_more(ground: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file size limit while the weights are written: the error as safetensors gives it, not as a test imagines it."""
    quest = put(ground, "a.jsonl", 40)
    configure(ground, training={"save_steps": 2})
    real, before = checkpoint_io.save_file, resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    refused: list[str] = []

    def limited(*args: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
        try:
            real(*args)
        except Exception as error:
            refused.append(type(error).__name__)
            raise
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    with battle(ground) as one:
        monkeypatch.setattr(checkpoint_io, "save_file", limited)
        one.at(5, lambda: (settle(one), monkeypatch.setattr(checkpoint_io, "save_file", real)))
        one.fight()
    assert refused
    assert ledger.extract_step(ledger.folders(ground)[0].name) == 6
    assert quest_named(ground, "a.jsonl").state == "completed"
    assert leftovers(ground) == []
    once_each(ground, quest)


@pytest.mark.parametrize("order", ["pause", "stop"])
def test_the_stop_signal_ends_a_battle_that_is_held(ground: Paths, order: str) -> None:
    put(ground, "a.jsonl", 40)

    def end() -> None:
        wait_until(lambda: status(ground)["state"] in ("paused", "stopped"))
        one.stop.set()

    with battle(ground) as one:
        thread = threading.Thread(target=end)
        one.at(2, lambda: (control.give(ground, order), thread.start()))
        one.fight()
        thread.join()
    assert kinds(ground).count("battle.paused") + kinds(ground).count("battle.stopped") == 1
    assert ledger.extract_step(last(ground).name) == 2


def test_a_checkpoint_folder_deleted_by_hand_does_not_spoil_the_next_saves(ground: Paths) -> None:
    configure(ground, training={"save_steps": 2}, retention={"newest": 1, "hours": 0, "days": 0})
    put(ground, "a.jsonl", 40)
    with battle(ground) as one:
        one.at(5, lambda: (settle(one), shutil.rmtree(last(ground))))
        one.fight()
        assert one.arena.saved_step == 10
    assert ledger.extract_step(last(ground).name) == 10
    assert quest_named(ground, "a.jsonl").state == "completed"


def test_another_heros_line_is_refused(ground: Paths) -> None:
    put(ground, "a.jsonl", 12)
    with battle(ground) as one:
        one.fight()
    shutil.copytree(ground.models / "dio", ground.models / "mia")
    told = json.loads((ground.models / "mia" / "hero.json").read_text())
    (ground.models / "mia" / "hero.json").write_text(json.dumps({**told, "id": "mia"}))
    configure(ground, hero="mia")
    with pytest.raises(Corrupt, match="belongs to hero dio"):
        leave(enter(ground, lambda *_: None))


def test_telemetry_has_each_step_once_after_a_restart(ground: Paths) -> None:
    put(ground, "a.jsonl", 40)
    with battle(ground) as one:
        one.fight(max_steps=4)
    facts = read_telemetry(ground)
    assert [row["step"] for row in facts.execute("SELECT step FROM steps ORDER BY step")] == [1, 2, 3, 4]
    facts.close()
    with battle(ground) as two:
        two.fight()
    facts = read_telemetry(ground)
    assert [row["step"] for row in facts.execute("SELECT step FROM steps ORDER BY step")] == list(range(1, 11))
    facts.close()


def test_every_start_counts_a_generation(ground: Paths) -> None:
    put(ground, "a.jsonl", 20)
    for expected in (1, 2):
        with battle(ground) as one:
            one.fight(max_steps=1)
        assert ledger.read_record(last(ground) / ledger.SIDECAR).generation == expected


def test_resume_restores_the_random_sources(ground: Paths) -> None:
    put(ground, "a.jsonl", 20)
    with battle(ground) as one:
        one.fight(max_steps=2)
        expected = torch.rand(3)
    with battle(ground):
        assert torch.equal(torch.rand(3), expected)


def test_a_claim_that_fails_for_ever_is_loud(ground: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    put(ground, "a.jsonl", 12)

    def refuse(*_: Any, **__: Any) -> Any:
        raise Conflict("no")

    monkeypatch.setattr(board, "change", refuse)
    with battle(ground) as one, pytest.raises(Conflict, match="20 tries"):
        one.fight()


def test_a_line_with_an_adapter_is_repeated_bit_for_bit_and_takes_no_other(ground: Paths) -> None:
    configure(ground, training={"adapter": {"kind": "lora", "rank": 2}})
    put(ground, "a.jsonl", 24)
    other = twin(ground)
    with battle(ground) as straight:
        straight.fight()
    for steps in (3, None):
        with battle(other) as part:
            part.fight(max_steps=steps)
    one, two = (load_file(last(paths) / "model.safetensors") for paths in (ground, other))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert (last(ground) / "raw.safetensors").stat().st_size < (last(ground) / "model.safetensors").stat().st_size
    configure(ground, training={"adapter": {"kind": "none"}})
    with pytest.raises(BadInput, match="was trained with adapter"), battle(ground):
        pass


def test_a_large_state_is_written_from_the_live_tensors(ground: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    put(ground, "a.jsonl", 80)
    other = twin(ground)
    with battle(ground) as straight:
        straight.fight()
    monkeypatch.setattr("realm.arena.saves.SNAPSHOT_MOST", 0)
    with battle(other) as large:
        weights = large.arena.stepper.optimiser.buffers[-1].weights
        _, raw, _ = large.arena.stepper.state_tensors(live=True)
        assert raw is not None
        assert any(tensor.untyped_storage().data_ptr() == weights.untyped_storage().data_ptr() for tensor in raw.values())
        large.fight()
    assert [path.name[:14] for path in ledger.folders(ground)] == [path.name[:14] for path in ledger.folders(other)]
    for one, two in zip(ledger.folders(ground), ledger.folders(other), strict=True):
        assert digests(one) == digests(two)
