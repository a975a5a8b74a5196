"""Loss points, receipts, replay and fork: what is told of a step is what was trained, and it comes out again bit for bit."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fight_kit import Battle, battle, put, quest_named
from quest_files import configure, digests, trained_examples

from realm.arena.quests.quest import quest_path
from realm.arena.quests.receipts import receipt_of, receipt_text
from realm.arena.replay import replay, replay_text
from realm.arena.timeline import find_places, places_of, rows_text, step_rows
from realm.cli import run
from realm.core.errors import Corrupt, RealmError, Unknown
from realm.core.paths import Paths
from realm.core.store import open_facts, open_telemetry, read_facts, read_telemetry, transaction
from realm.gate.forking import fork
from realm.vault import ledger

HELD_OUT = b'{"messages": [{"role": "user", "content": "Compute: add(7)"}, {"role": "assistant", "content": "add = 4"}]}\n'


@pytest.fixture
def trained(home: Paths) -> Paths:
    """Two quests of five and three steps, a checkpoint every two steps, a restart in the first quest."""
    configure(home, threads=1, training={"save_steps": 2, "batching": "packing"}, profile="emoji_think")
    (home.validation / "general.jsonl").write_bytes(HELD_OUT)
    put(home, "a.jsonl", 20)
    put(home, "b.jsonl", 12, start=500)
    for most in (3, None):
        with battle(home) as one:
            one.fight(max_steps=most)
    return home


def trace_of(home: Paths) -> Path:
    return home.home.parent / f"{home.home.name}.trace"


def checkpoint(home: Paths, step: int) -> str:
    return next(folder.name for folder in ledger.folders(home) if ledger.extract_step(folder.name) == step)


def test_every_step_is_told_as_it_was_traced(trained: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, _ = trained_examples(trace_of(trained))
    for step in range(1, 9):
        found = step_rows(trained, step)
        assert found["examples"] == steps[step]
        assert found["trace_agrees"] is True
        assert found["loss"] is not None
        assert set(found["texts"]) == set(found["rows"])
    assert (step_rows(trained, 6)["name"], step_rows(trained, 6)["number"]) == ("b.jsonl", 0)
    assert "step 1 of 3 of b.jsonl" in rows_text(step_rows(trained, 6))
    with pytest.raises(Unknown, match="no checkpoint contains step 9"):
        step_rows(trained, 9)
    quest_path(trained, quest_named(trained, "b.jsonl")).unlink()
    assert step_rows(trained, 6)["texts"] is None
    assert step_rows(trained, 6)["examples"] == steps[6]
    assert "not kept" in rows_text(step_rows(trained, 6))


def test_a_record_with_too_few_steps_is_told(trained: Paths) -> None:
    record = ledger.read_record(trained.current_model / checkpoint(trained, 4) / ledger.SIDECAR)
    assert [place.step for place in places_of(record, 3)] == [4]
    with pytest.raises(Corrupt, match="1 steps of quests"):
        places_of(record, 1)
    assert [place.step for place in find_places(trained, 2, 5)] == [2, 3, 4, 5]


def test_replay_comes_out_bit_for_bit_across_a_restart(trained: Paths) -> None:
    found = replay(trained, checkpoint(trained, 2), 6)
    assert (len(found.steps), found.differences, found.missing) == (6, 0, None)
    assert [one["equal"] for one in found.checkpoints] == [True] * len(found.checkpoints)
    assert {ledger.extract_step(one["checkpoint"]) for one in found.checkpoints} == {3, 4, 6, 8}
    whole = replay(trained, "0", 99)
    assert (len(whole.steps), whole.differences) == (8, 0)
    assert "only 8 steps" in replay_text(whole)


def test_replay_says_what_differs_and_what_is_missing(trained: Paths) -> None:
    with closing(open_telemetry(trained)) as telemetry, transaction(telemetry):
        telemetry.execute("UPDATE steps SET loss = loss + 1e-12 WHERE step = 5")
        telemetry.execute("DELETE FROM steps WHERE step = 6")
    found = replay(trained, checkpoint(trained, 4), 4)
    assert found.differences == 1
    assert "step 5 (a.jsonl)" in replay_text(found)
    quest_path(trained, quest_named(trained, "b.jsonl")).unlink()
    found = replay(trained, checkpoint(trained, 4), 4)
    assert (len(found.steps), found.missing) == (1, "step 6: the file of b.jsonl is not kept any more")
    with pytest.raises(Unknown, match="no recorded step follows"):
        replay(trained, checkpoint(trained, 8), 4)
    with pytest.raises(Unknown):
        replay(trained, "checkpoint-7-20260101-0000", 4)


def test_replay_stops_where_the_settings_changed(trained: Paths) -> None:
    configure(trained, training={"learning_rate": 0.001})
    put(trained, "c.jsonl", 8, start=900)
    with battle(trained) as one:
        one.fight()
    found = replay(trained, checkpoint(trained, 6), 4)
    assert (len(found.steps), found.differences) == (2, 0)
    assert "settings were changed" in str(found.missing)


def test_a_receipt_sums_up_the_recorded_steps(trained: Paths) -> None:
    with closing(read_facts(trained)) as facts, closing(read_telemetry(trained)) as telemetry:
        quest = quest_named(trained, "a.jsonl")
        found = receipt_of(facts, quest)
        losses = [row["loss"] for row in telemetry.execute("SELECT loss FROM steps WHERE step <= 5 ORDER BY step")]
        tokens = telemetry.execute("SELECT sum(tokens) FROM steps WHERE step <= 5").fetchone()[0]
        other = receipt_of(facts, quest_named(trained, "b.jsonl"))
    told = found["measured"]
    assert (told["steps"], told["steps_measured"], told["first_step"], told["last_step"]) == (5, 5, 1, 5)
    assert told["tokens"] == tokens
    assert told["strain"] == pytest.approx(sum(loss - min(losses) for loss in losses) / 5)
    assert (told["loss_first"], told["loss_last"]) == (losses[0], losses[-1])
    assert (found["accuracy"], found["val_loss"]["before"]) == (None, None)
    assert "no checkpoint before" in found["val_loss"]["change_reason"]
    assert other["val_loss"]["before"]["step"] == 4
    assert other["val_loss"]["after"]["step"] == 8
    assert other["val_loss"]["change"] == other["val_loss"]["after"]["loss"] - other["val_loss"]["before"]["loss"]
    assert "strain" in receipt_text(found)


def test_accuracies_are_those_of_the_nearest_evals_of_one_level(trained: Paths) -> None:
    def insert(facts: Any, name: str, step: int, level: int, correct: int) -> None:
        facts.execute(
            "INSERT INTO evals(id, checkpoint, step, skill, level, kind, state, n, correct, queued_at, finished)"
            " VALUES (?,?,?,'bin',?,'gate','done',20,?,'t',?)", (name, name, step, level, correct, step)
        )  # fmt: skip

    with closing(open_facts(trained)) as facts:
        facts.execute("UPDATE quests SET skill = 'bin', level = 1 WHERE name = 'b.jsonl'")
        for name, step, level, correct in (("e2", 2, 1, 2), ("e4", 4, 1, 5), ("e9", 9, 1, 12), ("e10", 10, 1, 20)):
            insert(facts, name, step, level, correct)
        found = receipt_of(facts, quest_named(trained, "b.jsonl"))["accuracy"]
        assert (found["before"]["correct"], found["after"]["correct"]) == (5, 12)
        assert found["change"] == pytest.approx(0.35)
        facts.execute("UPDATE evals SET level = 2 WHERE id = 'e9'")
        found = receipt_of(facts, quest_named(trained, "b.jsonl"))["accuracy"]
    assert found["change"] is None
    assert found["change_reason"] == "measured on level 1 before and on level 2 after it"


def test_a_quest_that_is_not_completed_has_no_receipt(home: Paths) -> None:
    quest = put(home, "a.jsonl", 4)
    with closing(read_facts(home)) as facts:
        found = receipt_of(facts, quest)
    assert (found["measured"], found["measured_reason"]) == (None, "the quest is queued, not completed")
    assert run(["--home", str(home.home), "quests", "receipt", quest.id]) == 0


def test_a_receipt_that_a_crash_prevented_is_made_at_the_next_start(trained: Paths) -> None:
    with closing(open_facts(trained)) as facts:
        facts.execute("DELETE FROM receipts")
    with battle(trained):
        pass
    with closing(read_facts(trained)) as facts:
        assert receipt_of(facts, quest_named(trained, "b.jsonl"))["measured"]["steps_measured"] == 3


def test_a_fork_goes_on_with_the_same_bits_in_a_home_of_its_own(trained: Paths, tmp_path: Path) -> None:
    name = checkpoint(trained, 8)
    made = fork(trained, name, "mira", tmp_path / "fork")
    assert run(["--home", str(made.home), "doctor"]) == 0
    heroes: list[Battle] = []
    for home in (trained, made):
        put(home, "c.jsonl", 8, start=900)
        with battle(home) as one:
            assert one.arena.step == 8
            one.fight()
            heroes.append(one)
    assert heroes[1].arena.hero.id == "mira"
    assert digests(ledger.folders(trained)[-1]) == digests(ledger.folders(made)[-1])
    record = ledger.read_record(ledger.folders(made)[-1] / ledger.SIDECAR)
    assert (record.hero, record.parent) == ("mira", name)
    assert step_rows(made, 9)["name"] == "c.jsonl"
    told = json.loads((made.base_hero("mira") / "hero.json").read_text())["forked_from"]
    assert told["checkpoint"] == name
    assert told["weights_sha256"] == ledger.read_record(trained.current_model / name / ledger.SIDECAR).weights_sha256


@pytest.mark.parametrize(("checkpoint_name", "hero", "place"), [
    ("checkpoint-7-20260101-0000", "mira", "x"), ("no-name", "mira", "x"), (None, "dio", "x"), (None, "../x", "x"),
    (None, "current_model", "x"), (None, "mira", ""),
])  # fmt: skip
def test_a_fork_that_cannot_be_made_leaves_nothing(
    trained: Paths, tmp_path: Path, checkpoint_name: str | None, hero: str, place: str
) -> None:
    target = tmp_path / place if place else trained.home
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(RealmError):
        fork(trained, checkpoint_name or checkpoint(trained, 8), hero, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
