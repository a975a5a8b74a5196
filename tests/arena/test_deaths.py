"""A quest that kills the process is set aside after three deaths at one place; kills from outside set nothing aside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from unittest.mock import ANY

import pytest
import torch
from fight_kit import battle, kinds, put, quest_named
from quest_files import as_bytes, configure, rows
from safetensors.torch import load_file
from test_kill import Forge

from realm.arena.memory_fault import OutOfMemory
from realm.arena.quests import board, intake
from realm.arena.quests.deaths import Death, FightMark, note_death, read_mark, times_there
from realm.core.clock import FakeClock
from realm.core.errors import BadInput
from realm.core.paths import Paths
from realm.core.store import open_facts
from realm.vault import ledger

DEADLY = 100  # tokens; the other rows of these tests have fewer than 60


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    made = Forge(tmp_path_factory.mktemp("deaths") / "log")
    yield made
    made.close()


def put_deadly(home: Paths) -> None:
    """A quest of six steps, one row of it so long that it ends the process; `good` waits behind it."""
    items = rows(24)
    items[13]["messages"][0]["content"] = "a" * DEADLY
    spool = home.home / "queue" / ".given"
    spool.write_bytes(as_bytes(items))
    with closing(open_facts(home)) as facts:
        intake.accept_spool(home, facts, spool, name="deadly.jsonl", priority="high")
    spool.unlink()
    put(home, "good.jsonl", 12, start=500)


def assert_set_aside(home: Paths, why: str) -> None:
    """The deadly quest waits among the failed ones, with its row named, and the next one trained."""
    found = quest_named(home, "deadly.jsonl")
    assert (found.state, found.attempts) == ("failed", 3)
    assert why in found.reason
    assert "13" in found.reason.split("rows ")[1].split(",")
    assert quest_named(home, "good.jsonl").state == "completed"
    deadly = int(found.reason.split("at its step ")[1].split(",")[0])
    steps = [ledger.extract_step(folder.name) for folder in ledger.folders(home)]
    assert steps == sorted({deadly - 1, deadly - 1 + 3} - {0}), "what was trained before the deadly step is kept"


def test_three_deaths_in_one_step_set_the_quest_aside_and_the_next_one_trains(forge: Forge, home: Paths) -> None:
    configure(home, threads=1)
    put_deadly(home)
    for _ in range(3):
        assert forge.run(home, "train", "--once", deadly=DEADLY) == -9
        assert quest_named(home, "deadly.jsonl").state == "processing"
    assert forge.run(home, "train", "--once", deadly=DEADLY) == 0, forge.log.read_text()

    assert_set_aside(home, "the process died 3 times while training it")
    assert kinds(home).count("queue.failed") == 1
    with closing(open_facts(home)) as facts:
        board.retry(home, facts, quest_named(home, "deadly.jsonl").id)
    with battle(home) as one:  # nothing deadly here: a retry goes on at the step that killed
        one.fight()
        assert one.arena.step == 6 + 3
    assert quest_named(home, "deadly.jsonl").state == "completed"


def test_refused_memory_ends_with_its_name_and_after_three_times_the_next_quest_trains(forge: Forge, home: Paths) -> None:
    """The kernel refuses a real allocation of torch in the middle of a step (RLIMIT_AS)."""
    configure(home, threads=1)
    put_deadly(home)
    for _ in range(3):
        assert forge.run(home, "train", "--once", starved=DEADLY) == OutOfMemory.exit_code, forge.log.read_text()
        assert quest_named(home, "deadly.jsonl").state == "processing"
        told = json.loads((home.status / "training_status.json").read_text())
        assert told["state"] == "error"
        assert "out of memory in step" in told["state_reason"]
        assert "can't allocate memory" in told["state_reason"]
    assert "error: out of memory in step" in forge.log.read_text()
    assert forge.run(home, "train", "--once", starved=DEADLY) == 0, forge.log.read_text()

    assert_set_aside(home, "died 3 times while training it (out of memory), each time at its step")
    assert kinds(home).count("battle.failed") == 3
    for folder in ledger.folders(home):
        assert all(tensor.isfinite().all() for tensor in load_file(folder / "model.safetensors").values())


@pytest.mark.parametrize("fault", [
    MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), RuntimeError("std::bad_alloc"),
], ids=["python", "cuda", "c++"])  # fmt: skip
def test_memory_refused_in_the_middle_of_an_update_is_not_saved(home: Paths, fault: Exception) -> None:
    put(home, "a.jsonl", 40)
    configure(home, threads=1, training={"save_steps": 2})
    with battle(home) as one:
        real = one.arena.stepper.optimiser.step

        def half() -> None:
            real()
            if one.arena.step == 4:
                raise fault

        one.arena.stepper.optimiser.step = half
        with pytest.raises(OutOfMemory, match=r"out of memory in step 4 of quest a\.jsonl, 4 rows of up to \d+ tokens"):
            one.fight()
    assert [ledger.extract_step(folder.name) for folder in ledger.folders(home)] == [2]
    assert read_mark(home) == Death(quest_named(home, "a.jsonl").id, 3, ANY, "out of memory")
    with battle(home) as two:
        two.fight()
        assert two.arena.step == 10
    assert quest_named(home, "a.jsonl").state == "completed"


def test_memory_refused_to_a_save_keeps_the_checkpoint_before(home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    put(home, "a.jsonl", 40)
    configure(home, threads=1, training={"save_steps": 2})
    with battle(home) as one:
        one.fight(max_steps=2)

        def refuse(*_: object) -> None:
            raise MemoryError

        monkeypatch.setattr("realm.arena.saver.write_checkpoint", refuse)
        with pytest.raises(OutOfMemory, match="out of memory after step"):
            one.fight()
    monkeypatch.undo()
    assert [ledger.extract_step(folder.name) for folder in ledger.folders(home)] == [2]
    assert read_mark(home) is None, "no quest is to blame"
    with battle(home) as two:
        two.fight()
    assert quest_named(home, "a.jsonl").state == "completed"


def test_deaths_at_different_places_are_no_ones_fault(home: Paths) -> None:
    put(home, "a.jsonl", 40)
    with closing(open_facts(home)) as facts:
        quest = board.claim(home, facts, step=0)
        assert quest is not None
        for place in (4, 7, 4, 7, 3, 3, 9):
            assert note_death(home, facts, Death(quest.id, place, ""), 0, FakeClock()) == {quest.id: place}
        assert quest_named(home, "a.jsonl").state == "processing"
        for _ in range(2):
            found = note_death(home, facts, Death(quest.id, 9, "1,2"), 0, FakeClock())
    assert found == {}
    assert quest_named(home, "a.jsonl").reason.endswith("at its step 10, rows 1,2")


def test_the_mark_is_read_once(home: Paths) -> None:
    assert read_mark(home) is None
    mark = FightMark(home)
    with mark.during("Q", 3, range(20)):
        assert read_mark(home) == Death("Q", 3, "0,1,2,3,4,5,6,7,8,9,10,11,...")
    assert read_mark(home) is None
    with pytest.raises(BadInput), mark.during("Q", 1):
        raise BadInput("a row")
    assert read_mark(home) is None, "an expected error is no death"
    with pytest.raises(KeyError), mark.during("Q", 1):
        raise KeyError("no such\nthing")
    assert read_mark(home) == Death("Q", 1, "", "KeyError: 'no such\\nthing'")
    with pytest.raises(KeyboardInterrupt), mark.during("Q", 1):
        raise KeyboardInterrupt
    assert read_mark(home) is None, "an interrupt is no death"
    with mark.during("Q", 1):
        FightMark(home).close()
        assert read_mark(home) is None
    mark.close()
    assert times_there(None, Death("Q", 1, "")) == 1


def test_a_torn_mark_is_nobody(home: Paths) -> None:
    for text in ("", "\n", "Q", "Q x", "\x00\x00"):
        (home.run / "arena.fight").write_text(text)
        assert read_mark(home) is None, json.dumps(text)
