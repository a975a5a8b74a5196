from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from realm.guild.mastery import SkillState
from realm.watchtower.battle_block import battle_block, loss_delta
from realm.watchtower.hero_block import hero_block, short_count
from realm.watchtower.inputs import ChampionRow, CheckpointRow, EvalRow, FactRows, Inputs, ServiceRow, SkillCard
from realm.watchtower.life import SILENCE_S, judge_life
from realm.watchtower.snapshot import build_snapshot, status_of, tick_of

HERO = {"id": "dio", "name": "DIO", "model": "tiny", "preset": "tiny", "params": 232_000}
BEAT = {"pid": 7, "instance": "i1", "monotonic": 100.0, "at": "x", "progress": ""}
STATUS: dict[str, Any] = {
    "state": "training", "state_reason": "", "quest": "train_bin_level1.jsonl", "quest_id": "01q", "kind": "generated",
    "skill": "bin", "quest_level": 1, "step": 12_482, "steps_in_quest": 2480, "steps_done_in_quest": 1240,
    "rows_in_quest": 5000, "loss": 0.621, "raw_loss": 0.651, "best_loss": 0.617, "lr": 1e-3, "grad_norm": 0.8,
    "tokens_per_s": 9000.0, "steps_per_s": 7.0, "eta_s": 177.1, "val_loss": 0.787, "val_loss_step": 12_000,
    "threads": 1, "pid": 7, "instance": "i1", "at": "x", "monotonic": 100.0,
}  # fmt: skip
CARDS = {"bin": SkillCard("bin", "Binary Alchemy", "i", "g", "#fff", 30), "sy": SkillCard("sy", "Word Weaving")}


def state(skill: str, **more: Any) -> SkillState:
    table: dict[str, Any] = {
        "skill": skill, "mastered": 0, "training": 1, "max_level": 30, "n": 0, "correct": 0, "passes": 0,
        "passes_needed": 3, "threshold": 0.8, "rusty": (), "last_evals": (),
    }  # fmt: skip
    return SkillState(**{**table, **more})


def an_eval(skill: str, correct: int, n: int, finished: int, level: int = 1) -> EvalRow:
    return EvalRow(skill, level, correct, n, 12_000, "t", finished)


STATES = {"bin": state("bin"), "sy": state("sy")}
LIVE = Inputs(
    now=datetime(2026, 1, 1, tzinfo=UTC), monotonic=101.5, facts=FactRows(skills=STATES), cards=CARDS, home_name="realm",
    build="abc", hero=HERO, status=STATUS, heartbeat=BEAT, arena_process=True, free_bytes=5,
)  # fmt: skip
SAVED = CheckpointRow(12_000, "checkpoint-12000-20260101-0000", {"loss": 0.7})
DEAD = replace(LIVE, arena_process=False)


def with_facts(inputs: Inputs, **more: Any) -> Inputs:
    return replace(inputs, facts=replace(inputs.facts, **more))


def hero(inputs: Inputs) -> dict[str, Any]:
    return hero_block(inputs, judge_life(inputs))


FORMULAS: list[tuple[str, Inputs, Any]] = [
    ("name", LIVE, "DIO"),
    ("model", LIVE, "tiny (232 k parameters)"),
    ("step", LIVE, 12_482),
    ("step", with_facts(DEAD, latest=SAVED), 12_000),
    ("step", DEAD, 0),
    ("xp", LIVE, 12_482),
    ("level", LIVE, 12),
    ("level", replace(LIVE, status=STATUS | {"step": 999}), 0),
    ("level", replace(LIVE, status=STATUS | {"step": 1000}), 1),
    ("xp_in_level", LIVE, 482),
    ("next_level_eta_s", LIVE, 74.0),
    ("loss", LIVE, 0.621),
    ("loss", with_facts(DEAD, latest=SAVED), 0.7),
    ("atk", LIVE, 1 / 0.621),
    ("atk", with_facts(DEAD, latest=SAVED), 1 / 0.7),
    ("atk", replace(LIVE, status=STATUS | {"loss": 0.0001}), 999.0),
    ("atk", replace(LIVE, status=STATUS | {"loss": 0}), 999.0),
    ("val_loss", LIVE, 0.787),
    ("val_loss_step", LIVE, 12_000),
    ("val_loss", replace(DEAD, validation=(11_900, 0.8)), 0.8),
    ("val_loss_step", replace(DEAD, validation=(11_900, 0.8)), 11_900),
    ("def", LIVE, 1 / 0.787),
    ("def", replace(DEAD, validation=(11_900, 0.5)), 2.0),
    ("acc", with_facts(LIVE, newest_evals={"bin": (an_eval("bin", 21, 25, 1),)}), 0.84),
    ("acc_n", with_facts(LIVE, newest_evals={"bin": (an_eval("bin", 21, 25, 1),)}), 25),
    ("acc_correct", with_facts(LIVE, newest_evals={"bin": (an_eval("bin", 21, 25, 1),)}), 21),
    ("gold", with_facts(LIVE, quests={("completed", ""): 7, ("failed", ""): 2}), 700),
    ("quests_completed", with_facts(LIVE, quests={("completed", ""): 7}), 7),
]


@pytest.mark.parametrize(("field", "inputs", "value"), FORMULAS)
def test_every_stat_follows_its_formula(field: str, inputs: Inputs, value: Any) -> None:
    block = hero(inputs)
    assert block[field] == pytest.approx(value) if isinstance(value, float) else block[field] == value
    assert f"{field}_reason" not in block


NO_HERO = replace(LIVE, hero=None, status=None, heartbeat=None, arena_process=False)
MISSING: list[tuple[str, Inputs, str]] = [
    ("name", NO_HERO, "there is no hero yet"),
    ("model", NO_HERO, "there is no hero yet"),
    ("step", NO_HERO, "there is no hero yet"),
    ("level", NO_HERO, "there is no hero yet"),
    ("loss", DEAD, "no step has been trained and saved"),
    ("atk", DEAD, "no step has been trained and saved"),
    ("loss", with_facts(DEAD, latest=CheckpointRow(5, "c5", {})), "c5 carries no loss"),
    ("loss", replace(LIVE, status=STATUS | {"loss": float("nan")}), "nan"),
    ("atk", replace(LIVE, status=STATUS | {"loss": float("nan")}), "nan"),
    ("atk", replace(LIVE, status=STATUS | {"loss": None}), "no step has been trained since the arena started"),
    ("def", DEAD, "no validation loss"),
    ("def", replace(DEAD, validation=(1, 0.0)), "1 / 0.0 has no meaning"),
    ("val_loss_step", DEAD, "no validation loss"),
    ("acc", LIVE, "no eval of bin has finished"),
    ("acc_n", DEAD, "no eval has finished"),
    ("next_level_eta_s", DEAD, "the arena does not run"),
    ("next_level_eta_s", replace(LIVE, status=STATUS | {"steps_per_s": 0}), "no training speed"),
]


@pytest.mark.parametrize(("field", "inputs", "reason"), MISSING)
def test_a_missing_stat_is_null_with_its_reason(field: str, inputs: Inputs, reason: str) -> None:
    block = hero(inputs)
    assert block[field] is None
    assert reason in block[f"{field}_reason"]


def test_accuracy_is_of_the_skill_in_training_and_else_of_the_newest_eval() -> None:
    evals = {"bin": (an_eval("bin", 1, 20, 5),), "sy": (an_eval("sy", 19, 20, 9),)}
    assert hero(with_facts(LIVE, newest_evals=evals))["acc_skill"] == "bin"
    assert hero(with_facts(DEAD, newest_evals=evals))["acc_skill"] == "sy"
    dropped = replace(with_facts(LIVE, newest_evals=evals), status=STATUS | {"skill": None})
    assert hero(dropped)["acc_skill"] == "sy"


LIVES: list[tuple[Inputs, str, str]] = [
    (LIVE, "training", "fighting"),
    (replace(LIVE, status=STATUS | {"state": "paused", "state_reason": "by hand"}), "paused", "by hand"),
    (replace(LIVE, status=None), "starting", "not run"),
    (replace(LIVE, status=STATUS | {"pid": 6}), "starting", "not reported yet"),
    (replace(LIVE, status=STATUS | {"instance": "old"}), "starting", "not reported yet"),
    (replace(LIVE, status=STATUS | {"state": "dancing"}), "error", "dancing"),
    (replace(LIVE, monotonic=100.0 + SILENCE_S + 1), "offline", "no word from the arena for 46 s"),
    (DEAD, "offline", "last word 2 s ago"),
    (replace(DEAD, status=STATUS | {"state": "stopped", "state_reason": "by hand"}), "stopped", "by hand"),
    (replace(DEAD, status=STATUS | {"state": "error", "state_reason": "loss is NaN"}), "error", "loss is NaN"),
    (replace(LIVE, monotonic=50.0), "offline", "does not run"),
    (NO_HERO, "offline", "has not run"),
]


@pytest.mark.parametrize(("inputs", "expected", "reason"), LIVES)
def test_the_state_is_believed_only_while_the_arena_gives_a_sign_of_life(
    inputs: Inputs, expected: str, reason: str
) -> None:
    life = judge_life(inputs)
    assert life.state == expected
    assert reason in life.reason


def test_an_earlier_arenas_numbers_are_not_shown_as_this_ones() -> None:
    inputs = with_facts(replace(LIVE, status=STATUS | {"pid": 6}), latest=SAVED)
    block = hero(inputs)
    assert (block["step"], block["loss"]) == (12_000, 0.7)
    assert battle_block(inputs, judge_life(inputs))["loss"] is None


def test_the_battle_block_carries_the_report_unchanged() -> None:
    block = battle_block(LIVE, judge_life(LIVE))
    same = ("quest", "quest_id", "kind", "skill", "quest_level", "step", "steps_in_quest", "steps_done_in_quest",
            "rows_in_quest", "loss", "best_loss", "lr", "grad_norm", "tokens_per_s", "steps_per_s",
            "eta_s", "threads")  # fmt: skip
    assert {name: block[name] for name in same} == {name: STATUS[name] for name in same}
    assert block["heartbeat_age_s"] == 1.5
    assert not [name for name in block if name.endswith("_reason") and name != "state_reason"]


def test_loss_delta_is_the_last_move_of_the_moving_average() -> None:
    before, raw = 0.7, 0.4
    smoothed = 0.9 * before + 0.1 * raw
    assert loss_delta({"loss": smoothed, "raw_loss": raw}) == pytest.approx(smoothed - before, abs=1e-6)
    assert loss_delta({"loss": 1.0}) is None


def test_speed_is_not_shown_while_nothing_moves() -> None:
    paused = replace(LIVE, status=STATUS | {"state": "paused"})
    block = battle_block(paused, judge_life(paused))
    assert block["tokens_per_s"] is None
    assert "paused" in block["tokens_per_s_reason"]
    assert block["quest"] == STATUS["quest"]
    idle = replace(LIVE, status=STATUS | {"state": "idle"})
    assert battle_block(idle, judge_life(idle))["quest"] is None


def test_every_missing_value_of_the_snapshot_has_a_reason_beside_it() -> None:
    for inputs in (LIVE, DEAD, NO_HERO):
        snapshot = build_snapshot(inputs)
        holders = [snapshot[name] for name in ("hero", "battle", "queue", "checkpoints", "forge")]
        for block in [*holders, *snapshot["skills"].values()]:
            silent = [name for name, value in block.items() if value is None and not block.get(f"{name}_reason")]
            assert silent == []


def test_the_blocks_show_the_facts() -> None:
    crown = ChampionRow(11_000, "checkpoint-11000", "eval", 0.95)
    services = (
        ServiceRow("oracle", "up", 9, 1.0, 8765, "t", 2, ""),
        ServiceRow("weaver", "up", 8, 1.0, None, "t", 0, ""),
    )
    facts = {
        "quests": {("queued", "high"): 1, ("queued", "low"): 2, ("processing", ""): 1, ("failed", ""): 3},
        "checkpoints": 4, "checkpoint_bytes": 99, "latest": SAVED, "champion": crown, "services": services,
    }  # fmt: skip
    snapshot = build_snapshot(replace(with_facts(LIVE, **facts), gone=frozenset({"oracle"})))
    assert [snapshot["queue"][name] for name in ("high", "normal", "low", "processing", "failed")] == [1, 0, 2, 1, 3]
    kept = snapshot["checkpoints"]
    assert (kept["count"], kept["latest"], kept["champion"], kept["size_bytes"]) == (4, 12_000, 11_000, 99)
    assert (kept["champion_metric"], kept["champion_value"]) == ("eval", 0.95)
    assert snapshot["services"]["oracle"]["state"] == "down"
    assert "process 9 is gone" in snapshot["services"]["oracle"]["reason"]
    assert snapshot["services"]["weaver"]["state"] == "up"
    assert snapshot["services"]["weaver"]["port"] is None


def test_status_and_tick_are_parts_of_the_snapshot() -> None:
    snapshot = build_snapshot(LIVE)
    assert set(status_of(snapshot)) >= {"hero", "battle", "skills", "queue", "checkpoints", "services", "cursor", "at"}
    assert set(tick_of(snapshot)) == {"hero", "battle", "forge", "at"}


@pytest.mark.parametrize(("n", "said"), [(5, "5"), (232_000, "232 k"), (596_049_920, "596 M"), (7_000_000_000, "7 G")])
def test_short_count(n: int, said: str) -> None:
    assert short_count(n) == said
