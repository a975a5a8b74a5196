"""How often the gate errs: stub heroes of known accuracy, looked at after every eval, static problems fixed per hero."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from realm.guild.gate import EvalCount, GateRules, Standing, counts_as_failed, judge, window_size

RULES = GateRules()
LOOKS = 40


def stub_eval(rng: random.Random, accuracy: float, static: int, number: int) -> EvalCount:
    fresh = sum(rng.random() < accuracy for _ in range(15))
    return EvalCount(str(number), f"checkpoint-{number}", 100 * number, 20, static + fresh, 5, static)


def looks_until_pass(rng: random.Random, accuracy: float) -> int | None:
    """Train nothing, look `LOOKS` times; the static problems are answered the same way in every eval."""
    static = sum(rng.random() < accuracy for _ in range(5))
    standing, evals, last_failed = Standing("bin", 1), [], set()
    for number in range(1, LOOKS + 1):
        evals.append(stub_eval(rng, accuracy, static, number))
        recent = evals[-RULES.grown_evals :]
        # A window whose sum cannot reach the threshold need not be judged in full; it only counts as failed.
        window = recent[-window_size(RULES, standing.failed_windows) :]
        if 100 * sum(e.correct for e in window) < 80 * sum(e.n for e in window):
            if len(window) == window_size(RULES, standing.failed_windows) and not last_failed & {e.id for e in window}:
                last_failed = {e.id for e in window}
                standing = replace(standing, failed_windows=standing.failed_windows + 1)
            continue
        result = judge(recent, {}, standing, RULES)
        if result.passed:
            return number
        if counts_as_failed(result, last_failed):
            last_failed = {e.id for e in result.window}
            standing = replace(standing, failed_windows=standing.failed_windows + 1)
    return None


def pass_rate(accuracy: float, heroes: int) -> float:
    rng = random.Random(f"gate {accuracy}")
    return sum(looks_until_pass(rng, accuracy) is not None for _ in range(heroes)) / heroes


@pytest.mark.parametrize(
    ("accuracy", "heroes", "low", "high"),
    [
        (0.50, 1500, 0.0, 0.001),
        (0.60, 4000, 0.0, 0.005),
        (0.65, 1000, 0.0, 0.08),
        (0.85, 300, 0.90, 1.0),
        (0.90, 300, 0.95, 1.0),
        (0.97, 300, 0.99, 1.0),
    ],
)
def test_pass_rate_within_forty_looks(accuracy: float, heroes: int, low: float, high: float) -> None:
    assert low <= pass_rate(accuracy, heroes) <= high


def test_a_good_hero_passes_at_the_first_full_window() -> None:
    rng = random.Random(1)
    first = sum(looks_until_pass(rng, 0.9) == 3 for _ in range(300)) / 300
    assert first > 0.85


def test_counting_static_problems_thrice_would_let_weak_heroes_pass() -> None:
    """The reason for `distinct_counts`: a hero right on 60 % with five lucky static problems."""
    evals = [EvalCount(str(k), f"checkpoint-{k}", 100 * k, 20, 5 + 11, 5, 5) for k in (1, 2)]
    evals.append(EvalCount("3", "checkpoint-3", 300, 20, 5 + 12, 5, 5))
    result = judge(evals, {}, Standing("bin", 1), RULES)
    assert {c.name for c in result.conditions if not c.passed} == {"lower_bound"}
