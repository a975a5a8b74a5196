"""Eval problems are found by what they are, whatever a row says of itself."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import pytest
from board_kit import count_characters
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.arena import validation
from realm.arena.validation import RowError
from realm.arena.validation_keys import eval_problem, problems_in
from realm.guild.skills.bin.level_of import content_of
from realm.guild.skills.bin.levels import LEVELS
from realm.guild.skills.bin.reading import Unreadable
from realm.guild.skills.bin.skill import SKILL
from realm.guild.skills.types import Item


@lru_cache(maxsize=64)
def items(level: int, split: str) -> list[Item]:
    styles = dict.fromkeys(LEVELS[level].offered, 1.0)
    return SKILL.generate(level, 12, 3, "eval" if split == "eval" else "train", styles)


def line(prompt: str, answer: str, **metadata: Any) -> bytes:
    row: dict[str, Any] = {"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]}
    return (json.dumps({**row, "metadata": metadata} if metadata else row) + "\n").encode()


def judge(*lines: bytes) -> validation.Survey:
    found, checked = validation.survey(lines, count_characters, 100_000)
    assert b"".join(checked) == b"".join(lines)
    return found


@pytest.mark.parametrize("level", sorted(LEVELS))
def test_level_and_key_are_read_off_the_prompt(level: int) -> None:
    for item in items(level, "train") + items(level, "eval"):
        found = content_of(item.user_prompt)
        assert (found.level, found.key) == (level, item.key), item.user_prompt


@pytest.mark.parametrize("text", ["Compute: add(①, ①) please", "Compute: forge(①)", "hello", "Compute: negate(①)",
                                  "Rules: signed operations use two's complement of 99 digits and wrap.\nCompute: negate(①)",
                                  "Compute: add(" + "①" * 33 + ", ①)"])  # fmt: skip
def test_what_no_level_poses_has_no_content(text: str) -> None:
    with pytest.raises(Unreadable):
        content_of(text)


@pytest.mark.parametrize("level", [1, 7, 10, 19, 23, 28, 30])
def test_an_eval_problem_is_refused_by_row_number_without_with_and_under_false_metadata(level: int) -> None:
    train, bad = items(level, "train")[0], items(level, "eval")[0]
    good = line(train.user_prompt, "x", skill="bin", level=level, key=train.key)
    claims: list[dict[str, Any]] = [
        {}, {"skill": "bin", "level": level, "key": train.key}, {"skill": "bin", "level": 30 if level < 30 else 1},
        {"skill": "mine", "level": 1, "key": "k"},
    ]  # fmt: skip
    for claim in claims:
        with pytest.raises(RowError, match=rf"^row 3: it (contains a problem|belongs).* of bin level {level}"):
            judge(good, good, line(bad.user_prompt, "x", **claim))


WRAPPINGS = (
    "{}", "Solve this, please.\n\n{}", "The Key to it all:\n{}", "{}\nThink before you answer.", "{} Answer briefly.",
)


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_words_around_a_problem_do_not_hide_it(wrapping: str) -> None:
    for level in (2, 9, 20):
        for item in items(level, "eval"):
            if item.user_prompt.endswith("]") and wrapping.startswith("{} "):
                continue  # the words stand between problem and style, so it is another problem
            text = wrapping.format(item.user_prompt)
            assert eval_problem([{"role": "user", "content": text}]) == (level, item.key), text


def test_a_later_message_and_the_second_problem_of_a_message_are_looked_at() -> None:
    bad, good = items(4, "eval")[0], items(4, "train")[0]
    both = f"{good.user_prompt}\n\n{bad.user_prompt}"
    assert eval_problem([{"role": "user", "content": both}]) == (4, bad.key)
    turns = [{"role": "user", "content": good.user_prompt}, {"role": "assistant", "content": f"It is 1.\n{bad.user_prompt}"}]
    assert eval_problem(turns) == (4, bad.key)


def test_train_problems_and_other_text_pass() -> None:
    rows = [line(item.user_prompt, item.assistant_response, skill="bin", level=lv, key=item.key)
            for lv in (1, 12, 26) for item in items(lv, "train")]  # fmt: skip
    assert judge(*rows, line("Compute: my taxes", "no")).rows == len(rows) + 1


def test_a_forged_key_is_refused() -> None:
    one, other = items(5, "train")[:2]
    with pytest.raises(RowError, match=r"^row 1: its key is not the key of its problem"):
        judge(line(one.user_prompt, "x", skill="bin", level=5, key=other.key))


@settings(max_examples=60)
@given(st.text(alphabet="Compute: ad(①⓪,)\n[]verify🍆=Key Rules", max_size=80))
def test_any_text_is_looked_at_without_an_error(text: str) -> None:
    eval_problem([{"role": "user", "content": text}])
    assert sum(1 for _ in problems_in(text * 50)) <= 2 * 32
