from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest
from sparring_kit import DIGEST, FIGHTER, BinSkill, Texts, miss

from realm.core import events
from realm.core.errors import Corrupt
from realm.core.paths import Paths
from realm.core.store import open_facts
from realm.guild.skills.bin import SKILL
from realm.guild.skills.types import Item
from realm.guild.sparring import Sampling
from realm.guild.sparring_exam import Exam, Verdicts, hold_exam, raise_alarms, read_verdict


class Judge:
    """Answers right with some probability; its verdicts and second attempts are as it is told."""

    def __init__(self, accuracy: float, judges: float = 1.0, spoils: float = 0.0, says: str | None = None) -> None:
        self.accuracy, self.judges, self.spoils, self.says, self.asked = accuracy, judges, spoils, says, 0

    def __call__(self, step: int, prompts: Sequence[str], sampling: Sampling) -> Texts:
        self.asked += len(prompts)
        return Texts(tuple(self._say(prompt) for prompt in prompts), ("stop",) * len(prompts), DIGEST)

    def _say(self, prompt: str) -> str:
        head, _, question = prompt.rpartition("\n")
        if question not in ("Is this correct?", "Check and give the final solution."):
            golden = self._solve(prompt)
            right = random.Random(prompt).random() < self.accuracy
            return golden if right else miss(golden, random.Random(prompt))
        problem, _, shown = head.rpartition("\nAnswer: ")
        rng = random.Random(prompt)
        if question.startswith("Check"):
            return miss(self._solve(problem), rng) if rng.random() < self.spoils else shown
        if self.says is not None:
            return self.says
        right = SKILL.score(self._item(problem), shown).strict == 1
        truthful = rng.random() < self.judges
        return "It is correct." if right == truthful else "It is incorrect."

    def _item(self, problem: str) -> Item:
        return Item("", "bin", "", 3, "eval", problem, "", "")

    def _solve(self, problem: str) -> str:
        return SKILL.solve(self._item(problem))


def exam(judge: Judge, count: int = 80) -> Exam:
    return hold_exam(FIGHTER, BinSkill(), judge, 3, count, 1, {"brief": 1.0})


def test_a_perfect_judge_is_seen_as_one_and_asked_held_out_problems_only() -> None:
    source = BinSkill()
    found = hold_exam(FIGHTER, source, Judge(0.7), 3, 80, 1, {"brief": 1.0})
    assert {split for _, split in source.drawn} == {"eval"}
    numbers = found.numbers()
    assert numbers["verdicts"] | {"n": 0} == {
        "tpr": 1.0, "tnr": 1.0, "balanced_accuracy": 1.0, "mcc": 1.0, "n": 0, "unclear": 0, "incorrect_share": 0.5,
    }  # fmt: skip
    assert 40 < numbers["right"] < 72
    assert numbers["ci95"][0] < numbers["right"] / 80 < numbers["ci95"][1]
    assert found.verdicts.right == found.verdicts.wrong > 80
    assert (found.spoiled, found.mended, found.alarms()) == (0, 0, [])
    assert found.stayed_right + found.stayed_wrong == 80


@pytest.mark.parametrize(("says", "tpr", "tnr"), [("It is correct.", 1.0, 0.0), ("It is incorrect.", 0.0, 1.0)])
def test_a_one_sided_judge_raises_the_alarm(says: str, tpr: float, tnr: float) -> None:
    found = exam(Judge(0.7, says=says))
    numbers = found.verdicts.numbers()
    assert (numbers["tpr"], numbers["tnr"], numbers["balanced_accuracy"], numbers["mcc"]) == (tpr, tnr, 0.5, None)
    assert "of the verdicts are 'incorrect' on a balanced set" in found.alarms()[0]


def test_a_guessing_judge_and_one_that_says_neither() -> None:
    guessing = exam(Judge(0.7, judges=0.5)).verdicts.numbers()
    assert abs(guessing["mcc"]) < 0.25
    silent = exam(Judge(0.7, says="Perhaps.")).verdicts
    assert (silent.unclear, silent.right_confirmed, silent.wrong_found) == (silent.right + silent.wrong, 0, 0)
    assert read_verdict(" It is correct.\n") == "correct"
    assert read_verdict("It is correct. It is incorrect.") is None


def test_a_second_attempt_that_spoils_answers_raises_the_alarm() -> None:
    found = exam(Judge(0.8, spoils=0.3))
    assert found.spoiled > 0.05 * found.right
    assert any("right answers wrong" in text for text in found.alarms())


def test_correlation_is_matthews() -> None:
    verdicts = Verdicts(right_confirmed=40, right=50, wrong_found=30, wrong=50, said_incorrect=40, unclear=0)
    assert verdicts.numbers()["mcc"] == pytest.approx((40 * 30 - 20 * 10) / (60 * 50 * 50 * 40) ** 0.5)


def test_other_weights_are_no_exam() -> None:
    def other(step: int, prompts: Sequence[str], sampling: Sampling) -> Any:
        return Texts(("x",) * len(prompts), ("stop",) * len(prompts), "e" * 64)

    with pytest.raises(Corrupt, match="other weights"):
        hold_exam(FIGHTER, BinSkill(), other, 3, 10, 1, None)


@pytest.fixture
def facts(empty_home: Paths) -> Iterator[sqlite3.Connection]:
    with closing(open_facts(empty_home)) as connection:
        yield connection


def test_an_alarm_is_told_once_until_it_ended(facts: sqlite3.Connection) -> None:
    bad, good = exam(Judge(0.7, says="It is correct."), 30), exam(Judge(0.7), 30)
    for found in (bad, bad, good, bad):
        raise_alarms(facts, "bin", found, 500)
    told = [event for event in events.since(facts, 0) if event["kind"] == "patrol.failed"]
    seen = [(event["subject"], event["data"]["check"], event["step"]) for event in told]
    assert seen == [("sparring-bin", "sparring", 500)] * 2
