from __future__ import annotations

import random
from math import comb
from pathlib import Path

import pytest
from eval_fakes import Absent, Home, Oracle
from hypothesis import given
from hypothesis import strategies as st

from realm.arena.evals.compare import (
    ask_for,
    compare,
    compare_checkpoints,
    find_eval,
    mcnemar,
    read_samples,
    resolve_checkpoint,
)
from realm.arena.evals.now import see_through
from realm.core.daemon import single_instance
from realm.core.errors import Conflict, Unavailable, Unknown


@pytest.mark.parametrize(("n01", "n10", "p"), [(0, 0, 1.0), (1, 0, 1.0), (0, 6, 0.03125), (5, 5, 1.0), (2, 10, 0.03857421875)])
def test_mcnemars_p_by_hand(n01: int, n10: int, p: float) -> None:
    assert mcnemar(n01, n10) == mcnemar(n10, n01) == pytest.approx(p)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemars_p_is_the_binomial_tail(n01: int, n10: int) -> None:
    n = n01 + n10
    far = abs(n01 - n10)
    expected = sum(comb(n, k) for k in range(n + 1) if abs(n - 2 * k) >= far) / 2**n
    assert mcnemar(n01, n10) == pytest.approx(min(1.0, expected))


def test_equal_heroes_are_told_apart_about_as_often_as_p_says() -> None:
    rng = random.Random(1)
    found = 0
    for _ in range(400):
        sides = [{str(k): rng.random() < 0.7 for k in range(100)} for _ in range(2)]
        found += compare(*sides).p < 0.05
    assert found <= 0.05 * 400


def test_other_problems_cannot_be_compared() -> None:
    with pytest.raises(Conflict, match="2 of 3 problems"):
        compare({"a": True, "b": True}, {"a": True, "c": False})
    with pytest.raises(Conflict):
        compare({}, {})


def accuracy(step: int, _prompt: str) -> float:
    return 0.5 if step == 50 else 0.8


def test_two_checkpoints_see_the_same_problems(tmp_path: Path) -> None:
    home = Home(tmp_path, Oracle(accuracy))
    names = [home.save(step) for step in (50, 100)]
    sides = []
    for name in names:
        row = resolve_checkpoint(home.facts, name)
        asked = ask_for(home.facts, row, "bin", 3, "full")
        home.evaluator.work(asked)
        done = find_eval(home.facts, name, "bin", 3, "full")
        assert done is not None
        assert (done["state"], done["n"]) == ("done", 100)
        sides.append(done)
    assert sides[0]["prompts_sha256"] == sides[1]["prompts_sha256"]
    first, second = (read_samples(home.paths, side) for side in sides)
    assert [s["prompt"] for s in first] == [s["prompt"] for s in second]
    found = compare_checkpoints(home.paths, home.facts, *sides)
    assert (found.n, found.right_a, found.right_b) == (100, sides[0]["correct"], sides[1]["correct"])
    assert found.n01 - found.n10 == found.right_b - found.right_a
    assert found.p < 0.01
    assert home.evals(kind="gate", state="queued")  # only what was asked for was done


def test_a_finished_eval_is_reused_and_a_dropped_one_asked_again(tmp_path: Path) -> None:
    oracle = Oracle()
    home = Home(tmp_path, oracle)
    row = resolve_checkpoint(home.facts, home.save(50))
    asked = ask_for(home.facts, row, "bin", 1, "full")
    home.facts.execute("UPDATE evals SET state = 'dropped' WHERE id = ?", (asked,))
    assert ask_for(home.facts, row, "bin", 1, "full") == asked
    home.evaluator.work(asked)
    calls = len(oracle.calls)
    assert ask_for(home.facts, row, "bin", 1, "full") == asked
    home.evaluator.work(asked)
    assert len(oracle.calls) == calls


def test_checkpoints_by_step_or_name(tmp_path: Path) -> None:
    home = Home(tmp_path, Oracle())
    name = home.save(50)
    assert resolve_checkpoint(home.facts, "50")["name"] == resolve_checkpoint(home.facts, name)["name"] == name
    for wrong in ("5", "checkpoint-50"):
        with pytest.raises(Unknown):
            resolve_checkpoint(home.facts, wrong)
    home.facts.execute("UPDATE checkpoints SET state = 'dropped'")
    with pytest.raises(Conflict, match="dropped by retention"):
        ask_for(home.facts, resolve_checkpoint(home.facts, "50"), "bin", 1, "full")


def test_an_eval_is_seen_through_here_or_by_the_evaluator_that_runs(tmp_path: Path) -> None:
    oracle = Absent()
    home = Home(tmp_path, oracle)
    asked = ask_for(home.facts, resolve_checkpoint(home.facts, home.save(50)), "bin", 1, "full")

    def make(_paths: object, _own: object) -> object:
        return home.evaluator

    with pytest.raises(Unavailable, match="ReadTimeout"):
        see_through(home.paths, home.facts, asked, 5, make)  # type: ignore[arg-type]
    oracle.back = True
    with single_instance(home.paths, "evaluator"), pytest.raises(Unavailable, match="no result yet"):
        see_through(home.paths, home.facts, asked, 0, make)  # type: ignore[arg-type]
    assert see_through(home.paths, home.facts, asked, 0, make)["correct"] == 100  # type: ignore[arg-type]


def test_an_eval_without_samples_is_said(tmp_path: Path) -> None:
    home = Home(tmp_path, Oracle())
    home.save(50)
    waiting = home.evals()[0]
    with pytest.raises(Conflict, match="is queued"):
        read_samples(home.paths, waiting)
    home.work()
    done = home.evals()[0]
    (home.paths.home / done["file"]).with_suffix(".jsonl").unlink()
    with pytest.raises(Conflict, match="are gone"):
        read_samples(home.paths, done)
