"""The five masking validators: right rows pass, each kind of wrong mask is caught and named."""

from __future__ import annotations

from typing import Any

import pytest

from realm.arena.formation.masking_validators import BadMask, Check, check_masks, refuse_bad_masks
from realm.arena.formation.rows import EncodedRow, form_quest
from realm.armory.hero_loading import LoadedHero
from realm.core.errors import BadInput


@pytest.fixture(scope="module")
def rows(loaded: LoadedHero, conversations: list[Any]) -> list[EncodedRow]:
    return form_quest(conversations, loaded.template, 256).rows


def found(rows: list[EncodedRow], loaded: LoadedHero, name: str) -> Check:
    return next(check for check in check_masks(rows, loaded.template).checks if check.name == name)


def spoiled(rows: list[EncodedRow], at: int, trained: list[bool]) -> list[EncodedRow]:
    return [EncodedRow(row.ids, trained, row.index) if n == at else row for n, row in enumerate(rows)]


def test_right_rows_pass_all_five(rows: list[EncodedRow], loaded: LoadedHero):
    report = check_masks(rows, loaded.template)
    assert [check.name for check in report.checks] == [
        "MaskingRatio", "ResponseTemplateCount", "TrainedTokenContent", "PackedSequence", "LabelDistribution"]  # fmt: skip
    assert report.passed, report.as_json()
    refuse_bad_masks(report, "q")


def test_everything_trained_aborts(rows: list[EncodedRow], loaded: LoadedHero):
    everything = [EncodedRow(row.ids, [True] * len(row), row.index) for row in rows]
    report = check_masks(everything, loaded.template)
    names = {check.name for check in report.aborting}
    assert names >= {"MaskingRatio", "ResponseTemplateCount", "TrainedTokenContent", "PackedSequence"}
    with pytest.raises(BadMask, match=r"MaskingRatio: 0\.0% masked"):
        refuse_bad_masks(report, "q")


@pytest.mark.parametrize(("answer", "prompt", "passed", "aborts"), [(9, 20, True, False), (50, 12, False, False),
                                                                   (400, 1, False, True), (1, 200, False, False)])  # fmt: skip
def test_the_band_of_the_ratio(loaded: LoadedHero, answer: int, prompt: int, passed: bool, aborts: bool):
    row: list[Any] = [
        {"role": "user", "content": "⓪" * prompt},
        {"role": "assistant", "content": "①⓪" * (answer // 2 + 1)},
    ]
    check = found(form_quest([row], loaded.template, 1000).rows, loaded, "MaskingRatio")
    assert (check.passed, check.aborts) == (passed, aborts), check


def test_the_floor_is_the_callers_to_lower(loaded: LoadedHero):
    row: list[Any] = [{"role": "user", "content": "⓪"}, {"role": "assistant", "content": "①⓪" * 60}]
    rows = form_quest([row], loaded.template, 1000).rows
    assert check_masks(rows, loaded.template).aborting
    report = check_masks(rows, loaded.template, abort_below=0.02)
    assert not report.aborting
    assert not report.passed


def test_only_the_first_answer_trained_is_caught(rows: list[EncodedRow], loaded: LoadedHero):
    second = rows[0].trained.index(False, rows[0].trained.index(True))
    wrong = spoiled(rows, 0, [*rows[0].trained[:second], *[False] * (len(rows[0]) - second)])
    check = found(wrong, loaded, "ResponseTemplateCount")
    assert (check.aborts, check.row, check.found) == (True, 0, "2 assistant heads, 1 trained regions")


def test_trained_instructions_are_caught(rows: list[EncodedRow], loaded: LoadedHero):
    first = rows[3].trained.index(True)
    check = found(spoiled(rows, 3, [*[True] * first, *rows[3].trained[first:]]), loaded, "TrainedTokenContent")
    assert (check.aborts, check.row) == (True, 3)


def test_a_missing_end_mark_is_caught(rows: list[EncodedRow], loaded: LoadedHero):
    last = len(rows[3]) - 1 - rows[3].trained[::-1].index(True)
    wrong = [t and n != last for n, t in enumerate(rows[3].trained)]
    check = found(spoiled(rows, 3, wrong), loaded, "TrainedTokenContent")
    assert (check.aborts, check.found) == (True, "a region with 0 end marks")


def test_a_row_that_starts_inside_an_answer_is_caught(rows: list[EncodedRow], loaded: LoadedHero):
    first = rows[2].trained.index(True)
    cut = EncodedRow(rows[2].ids[first:], rows[2].trained[first:], 2)
    check = found([*rows[:2], cut], loaded, "PackedSequence")
    assert (check.aborts, check.row) == (True, 2)


def test_a_holed_mask_is_caught(rows: list[EncodedRow], loaded: LoadedHero):
    wrong = [t and n % 2 == 0 for n, t in enumerate(rows[4].trained)]
    assert found(spoiled(rows, 4, wrong), loaded, "PackedSequence").row == 4


def test_labels_of_one_token_are_remarked_but_do_not_abort(loaded: LoadedHero):
    row: list[Any] = [{"role": "user", "content": "⓪⓪⓪⓪"}, {"role": "assistant", "content": "①①①①"}]
    check = found(form_quest([row] * 60, loaded.template, 100).rows, loaded, "LabelDistribution")
    assert (check.passed, check.aborts) == (False, False)
    assert "'①' 100%" in check.found


def test_a_row_without_labels_aborts(rows: list[EncodedRow], loaded: LoadedHero):
    assert found(spoiled(rows, 1, [False] * len(rows[1])), loaded, "LabelDistribution").aborts


def test_an_empty_quest_is_refused(loaded: LoadedHero):
    with pytest.raises(BadInput):
        check_masks([], loaded.template)
