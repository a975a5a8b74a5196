"""The sequential rule: passes as often as its table says, on one eval, and not more often by looking again."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from realm.core.errors import BadInput
from realm.guild.gate import EvalCount, GateRules, ProbeCount, Standing, judge, sprt_verdict, window_size
from realm.guild.schedule import parse_schedule
from realm.guild.sprt import bounds, log_ratio

RULES = GateRules(rule="sprt")
FIRST = Standing("bin", 1)


def one(step: int, correct: int, n: int, **more: int) -> EvalCount:
    return EvalCount(f"e{step}", f"checkpoint-{step}", step, n, correct, 5, min(5, correct), **more)


def play(accuracy: float, rng: random.Random, failed: int = 0) -> tuple[bool, int]:
    correct = n = 0
    while n < RULES.sprt_cap:
        n += 1
        correct += rng.random() < accuracy
        if (said := sprt_verdict(correct, n, RULES, failed)) != "open":
            return said == "accept", n
    return False, n


@pytest.mark.parametrize(("accuracy", "passes", "items"), [(0.6, 0.002, 16), (0.7, 0.046, 32), (0.8, 0.596, 54),
                                                            (0.85, 0.916, 42), (0.9, 0.992, 28)])  # fmt: skip
def test_passes_and_items_as_in_the_table(accuracy: float, passes: float, items: int) -> None:
    rng = random.Random(7)
    found = [play(accuracy, rng) for _ in range(2000)]
    assert sum(passed for passed, _ in found) / 2000 == pytest.approx(passes, abs=0.035)
    assert sum(n for _, n in found) / 2000 == pytest.approx(items, rel=0.12)


def test_looking_again_does_not_wear_the_test_down() -> None:
    rng = random.Random(3)
    passed = sum(any(play(0.7, rng, failed)[0] for failed in range(40)) for _ in range(250))
    assert passed / 250 <= 0.11  # 40 looks at a fixed 0.05 would let 85 % pass


def test_a_hero_of_90_percent_still_passes_its_tenth_test() -> None:
    rng = random.Random(4)
    assert sum(play(0.9, rng, 9)[0] for _ in range(300)) / 300 > 0.9


def test_bounds() -> None:
    assert bounds(0.05, 0.10) == pytest.approx((-2.251, 2.890), abs=1e-3)
    assert log_ratio(10, 10, 0.7, 0.85) == pytest.approx(1.9415, abs=1e-3)


def test_one_eval_decides_and_only_the_newest_one_counts() -> None:
    assert window_size(RULES, 9) == 1
    good = judge([one(100, 18, 20)], {}, FIRST, RULES)
    assert (good.passed, good.full, len(good.window)) == (False, False, 1)  # 18 of 20 is not decided yet
    assert judge([one(100, 29, 30)], {}, FIRST, RULES).passed
    later = judge([one(100, 29, 30), one(200, 10, 20)], {}, FIRST, RULES)
    assert (later.passed, later.full) == (False, True)
    assert [c.found for c in later.conditions if c.name == "sprt"] == ["-4.99 (10 of 20)"]


def test_retention_and_verifier_hold_as_under_the_other_rule() -> None:
    second = replace(FIRST, level=2, mastered=(1,), last_mastery_step=50)
    waiting = judge([one(100, 29, 30)], {}, second, RULES)
    assert (waiting.passed, waiting.awaiting) == (False, (1,))
    clean = {"checkpoint-100": {1: ProbeCount("checkpoint-100", 100, 1, 20, 19)}}
    assert judge([one(100, 29, 30)], clean, second, RULES).passed
    assert not judge([one(100, 29, 30, errors=1)], clean, second, RULES).passed
    assert not judge([one(40, 29, 30)], clean, second, RULES).passed  # older than the level before


def test_the_schedule_names_the_rule() -> None:
    assert parse_schedule({"skills": {"bin": {}}, "gate": "sprt"}, "test").gate.rule == "sprt"
    assert parse_schedule({"skills": {"bin": {}}, "gate": {"rule": "sprt", "sprt_cap": 60}}, "test").gate.sprt_cap == 60
    assert parse_schedule({"skills": {"bin": {}}}, "test").gate.rule == "window"
    for wrong in ("sprd", {"sprt_p0": 0.9}):
        with pytest.raises(BadInput):
            parse_schedule({"skills": {"bin": {}}, "gate": wrong}, "test")
