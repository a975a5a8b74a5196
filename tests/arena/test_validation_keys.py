"""Eval problems are found by what they are, whatever a row says of itself."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import pytest
from board_kit import count_characters
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.arena.quests import validation, validation_report
from realm.arena.quests.validation import RowError
from realm.arena.quests.validation_keys import eval_problem, problems_in
from realm.arena.quests.validation_recent import asked_prompts
from realm.core.paths import Paths
from realm.guild.skills.bin.level_of import content_of
from realm.guild.skills.bin.levels import LEVELS
from realm.guild.skills.bin.reading import Unreadable
from realm.guild.skills.bin.skill import SKILL
from realm.guild.skills.gym import frame as gym
from realm.guild.skills.split import split_of
from realm.guild.skills.sy import SKILL as SY
from realm.guild.skills.types import Item
from realm.guild.sparring_rows import show


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


def deep(asked: frozenset[bytes] = frozenset()) -> validation.Policy:
    return validation.Policy("deep", asked=lambda: asked)


def look(policy: validation.Policy, *lines: bytes) -> validation.Survey:
    found, checked = validation.survey(lines, count_characters, 100_000, policy)
    assert b"".join(checked) == b"".join(lines)
    return found


SY_LEVELS = (1, 2, 9, 17, 24, 27, 33, 36, 43, 50)


@pytest.mark.parametrize("level", SY_LEVELS)
def test_an_sy_eval_problem_is_refused_at_deep_by_what_it_is(level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation_report, "static_prompts", dict)  # the static sets are recognised by another check
    train, held = SY.generate(level, 2, 3), SY.generate(level, 2, 3, "eval")
    good = [line(one.user_prompt, one.assistant_response, skill="sy", level=level, key=one.key) for one in train]
    look(deep(), *good)
    wrapped = f"Please solve this:\n\n{held[0].user_prompt} Thank you.\nTake your time."
    for text in (held[0].user_prompt, wrapped, show(held[0].user_prompt, "1. a = A", 1)):
        for claim in ({}, {"skill": "sy", "level": level, "key": train[0].key}, {"skill": "mine", "level": 1, "key": "k"}):
            if claim and split_of(str(claim["skill"]), int(str(claim["level"])), str(claim["key"])) == "eval":
                continue
            with pytest.raises(RowError, match=rf"row 3: eval_prompts: a problem of the eval set of sy level .*\b{level}\b"):
                look(deep(), *good, line(text, "x", **claim))


def test_a_prompt_that_an_eval_asked_is_refused_at_deep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation_report, "static_prompts", dict)
    asked = frozenset({validation_report.normalised("What is the tide at noon?")})
    look(deep(asked), line("What is the tide at one?", "x"))
    with pytest.raises(RowError, match="row 2: eval_prompts: a prompt that an eval of this base directory asked"):
        look(deep(asked), line("What is the tide at one?", "x"), line("  What is the tide\nat noon? ", "x"))


def test_the_prompts_of_stored_reports_are_known(empty_home: Paths) -> None:
    folder = empty_home.evals / "checkpoint-50"
    folder.mkdir(parents=True)
    (folder / "mine-L1-gate-x.jsonl").write_text(json.dumps({"prompt": "How deep?"}) + "\n")
    (folder / "torn.jsonl").write_text('{"prompt": "Ho')
    assert asked_prompts(empty_home) == {validation_report.normalised("How deep?")}


def test_an_eval_question_of_reasoning_gym_is_refused_without_the_package() -> None:
    questions = [f"What is {number} times {number}?" for number in range(60)]
    prompts = {part: [gym.write_prompt("rg_x", q, "a number") for q in questions if gym.partition("rg_x", q) == part]
               for part in ("train", "eval")}  # fmt: skip
    good = line(prompts["train"][0], "x")
    held = prompts["eval"][0]
    for text in (held, f"Hello.\n{prompts['train'][1]}\n{held} Now.", show(held, "4", 1)):
        with pytest.raises(RowError, match="row 2: it contains a question of the eval set of rg_x"):
            judge(good, line(text, "x", skill="rg_x", level=1))
    judge(*(line(text, "x") for text in prompts["train"]))
