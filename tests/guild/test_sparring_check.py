"""The validator refuses what would teach the wrong thing, with the numbers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from sparring_kit import FIGHTER, BinSkill, StubHero, order

from realm.core.errors import Corrupt
from realm.guild.skills.bin import SKILL
from realm.guild.sparring import spar
from realm.guild.sparring_check import Refused, Report, check_rows, give_away
from realm.guild.sparring_corrupt import corrupt, corruptions, distance
from realm.guild.sparring_rows import VERDICTS, row

Rows = list[dict[str, Any]]
SOURCES = {"bin": BinSkill()}


@pytest.fixture(scope="module")
def good() -> Rows:
    return list(spar(FIGHTER, BinSkill(), StubHero(0.5), order()).rows)


def check(rows: Rows) -> Report:
    return check_rows(rows, SOURCES)


def kinds(rows: Rows, *wanted: int) -> Rows:
    return [one for one in rows if one["metadata"]["sparring"]["type"] in wanted]


def test_a_session_passes(good: Rows) -> None:
    assert check(good).problems == []


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda rows: kinds(rows, 1, 2, 3), "author hero: 100.0% of"),
        (lambda rows: kinds(rows, 1, 2, 3, 4, 6, 7), "author skill: 0.0% of"),
        (lambda rows: kinds(rows, 1, 2, 5, 6), "overall: 100.0% of"),
        (lambda rows: [*rows, rows[0]], "1 of 366 prompts are repeated"),
        (lambda rows: kinds(rows, 2, 6, 7), "no verdict rows"),
        (lambda rows: [], "no rows"),
    ],
)
def test_a_file_out_of_balance_is_refused_with_numbers(good: Rows, spoil: Callable[[Rows], Rows], told: str) -> None:
    told = told.replace("366", str(len(good) + 1))
    report = check(spoil(good))
    assert any(problem.startswith(told) for problem in report.problems), report.problems
    with pytest.raises(Refused, match="file"):
        report.refuse("file")


def test_a_false_label_is_found_by_grading_anew(good: Rows) -> None:
    rows = copy.deepcopy(good)
    for kind, other in ((1, "correct"), (4, "incorrect")):
        one = next(one for one in rows if one["metadata"]["sparring"]["type"] == kind)
        one["metadata"]["sparring"]["label"] = other
        one["messages"][1]["content"] = VERDICTS[other]
    assert "2 labels are false" in check(rows).problems[0]


def test_a_verdict_that_is_not_its_label_and_a_false_correction_are_found(good: Rows) -> None:
    rows = copy.deepcopy(good)
    kinds(rows, 1)[0]["messages"][1]["content"] = "It is correct."
    kinds(rows, 2)[0]["messages"][1]["content"] = kinds(rows, 2)[0]["metadata"]["sparring"]["shown"]
    kinds(rows, 7)[0]["messages"][1]["content"] = "I do not know."
    assert check(rows).numbers["false_labels"] == 3


def test_eval_problems_are_found() -> None:
    item = SKILL.generate(3, 1, 1, "eval", {"brief": 1.0})[0].sample()
    report = check([row(6, item, "golden", None, str(item["assistant_response"]))])
    assert "1 rows are of eval problems, first row 1" in report.problems


def test_a_message_that_differs_from_its_metadata_is_no_sparring_row(good: Rows) -> None:
    rows = copy.deepcopy(good)
    rows[3]["messages"][0]["content"] += " "
    with pytest.raises(Corrupt, match="row 4"):
        check(rows)
    with pytest.raises(Corrupt, match="row 1 is no sparring row"):
        check([{"messages": [], "metadata": {}}])


def test_length_that_tells_the_label_is_refused(good: Rows) -> None:
    rows = copy.deepcopy(good)
    for one in kinds(rows, 1, 5):
        told = one["metadata"]["sparring"]
        told["shown"] += " " * 30
        one["messages"][0]["content"] = one["messages"][0]["content"].replace("\nIs this", " " * 30 + "\nIs this")
    problems = check(rows).problems
    assert any("median length" in problem for problem in problems)
    assert any(problem.startswith("characters of the answer alone tells") for problem in problems)


def test_what_a_threshold_can_tell() -> None:
    assert give_away([1, 2, 3], [1, 2, 3]) == 0.5
    assert give_away([1, 1, 1], [2, 2]) == 1.0
    assert give_away([2, 2], [1, 1, 1]) == 1.0
    assert give_away([1, 1, 2, 2], [1, 2, 2, 2]) == pytest.approx(0.625)


@pytest.mark.parametrize(("one", "other", "far"), [("", "", 0), ("abc", "abc", 0), ("abc", "axc", 1), ("abcd", "acd", 1),
                                                  ("kitten", "sitting", 3), ("", "abc", 3)])  # fmt: skip
def test_edit_distance(one: str, other: str, far: int) -> None:
    assert distance(one, other) == distance(other, one) == far


@pytest.mark.parametrize("level", [1, 3, 7, 8, 10, 14, 20, 24])
@pytest.mark.parametrize("style", ["brief", "trace"])
def test_corrupted_answers_differ_in_one_place_and_are_wrong(level: int, style: str) -> None:
    source = BinSkill()
    styles = {style: 1.0} if level < 15 else {"brief": 1.0}
    items = source.generate(level, 40, 5, "train", styles)
    made = corrupt(source, items, 3, 40)
    assert len(made) >= 38
    for one in made:
        assert distance(one.golden, one.corrupted) <= 2
        assert len(one.golden) == len(one.corrupted)
    assert not any(grade.correct for grade in source.grade([one.item for one in made], [one.corrupted for one in made]))


def test_tiles_and_letters_of_other_skills_are_exchanged() -> None:
    import random

    golden = "1. rap+ture = RAPTURE\n2. in+so+far = INSOFAR"
    offers = list(corruptions("Syllacrostic.", golden, random.Random(1)))
    assert len(offers) == 2
    assert all(sorted(offer) == sorted(golden) for offer in offers)
    assert next(corruptions("Sum?", "the sum = 47", random.Random(1))).startswith("the sum = 4")
    assert list(corruptions("?", "a", random.Random(1))) == []
