"""Sessions from end to end against heroes whose accuracy is known: every wrong answer, balanced rows, true labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sparring_kit import DIGEST, FIGHTER, BinSkill, StubHero, Texts, order

from realm.core.errors import BadInput, Conflict, Corrupt
from realm.guild.answer_styles import AnswerStyles
from realm.guild.skill_client import Sample
from realm.guild.skills.split import split_of
from realm.guild.sparring import Bout, Sampling, spar


def session(accuracy: float = 0.6, **changed: Any) -> Bout:
    return spar(FIGHTER, BinSkill(), StubHero(accuracy), order(**changed))


def of_type(bout: Bout, kind: int) -> list[dict[str, Any]]:
    return [row for row in bout.rows if row["metadata"]["sparring"]["type"] == kind]


def said(row: dict[str, Any]) -> tuple[str, str]:
    return row["messages"][0]["content"], row["messages"][1]["content"]


@pytest.mark.parametrize("accuracy", [0.2, 0.5, 0.8])
def test_every_wrong_answer_gives_its_three_rows(accuracy: float) -> None:
    bout = session(accuracy)
    assert bout.asked == 100
    assert abs(bout.greedy_right - 100 * accuracy) < 15
    assert bout.used == bout.wrong == 100 - bout.greedy_right
    assert [len(of_type(bout, kind)) for kind in (1, 2, 3, 5, 6)] == [bout.wrong] * 5
    assert len(of_type(bout, 7)) == (bout.wrong + 1) // 2
    problems = {row["metadata"]["key"] for row in of_type(bout, 1)}
    assert problems == {row["metadata"]["key"] for row in of_type(bout, 2)}
    assert not problems & {row["metadata"]["key"] for row in of_type(bout, 3)}


def test_the_seeds_trio_alone_on_request() -> None:
    bout = session(balance="seed_only")
    assert {row["metadata"]["sparring"]["type"] for row in bout.rows} == {1, 2, 3}
    assert len(bout.rows) == 3 * bout.wrong


@pytest.mark.parametrize(("share", "level"), [(1.0, 3), (0.5, 3), (0.0, 3), (4.0, 1)])
def test_plain_problems_stand_beside_the_rows_while_the_level_has_new_ones(share: float, level: int) -> None:
    bout = session(rehearsal=share, level=level)
    plain = of_type(bout, 8)
    others = len(bout.rows) - len(plain)
    assert len(plain) == round(others * share) or (level == 1 and 0 < len(plain) < others * share)
    for row in plain:
        problem = row["metadata"]["sparring"]["problem"]
        assert said(row) == (problem["user_prompt"], problem["assistant_response"])
        assert split_of("bin", level, problem["key"]) == "train"
    keys = [row["metadata"]["key"] for row in plain]
    assert len(set(keys)) == len(keys)
    assert not set(keys) & {row["metadata"]["key"] for row in bout.rows if row not in plain}
    assert bout.report.passed


def test_the_words_of_the_rows() -> None:
    bout = session(0.5)
    for row in of_type(bout, 1):
        prompt, answer = said(row)
        assert prompt.endswith("\nIs this correct?")
        assert answer == "It is incorrect."
    for row in of_type(bout, 3) + of_type(bout, 4):
        assert said(row)[0].endswith("\nIs this correct?")
        assert said(row)[1] == "It is correct."
    for row in of_type(bout, 2):
        assert said(row)[0].endswith("\nThis is incorrect. Find the correct solution.")
    for row in of_type(bout, 6):
        assert said(row)[0] == row["metadata"]["sparring"]["problem"]["user_prompt"]
    for row in of_type(bout, 7):
        told = row["metadata"]["sparring"]
        assert said(row)[1] == told["shown"]


@pytest.mark.parametrize("level", [1, 4, 9])
def test_rows_are_balanced_and_true(level: int) -> None:
    numbers = session(0.5, level=level).report.numbers
    assert numbers["false_labels"] == numbers["eval_keys"] == numbers["repeated_prompts"] == 0
    shares = numbers["incorrect_share"]
    assert 0.45 <= shares["overall"] <= 0.55
    assert all(0.4 <= share <= 0.6 for share in shares.values())
    assert numbers["guessed_without_reading"] < 0.65


def test_corrected_by_the_heros_own_sample_where_one_is_right() -> None:
    own = {}

    class Wordy(StubHero):
        """Writes its right answers with two spaces, so that they can be told from golden ones."""

        def _answer(self, prompt: str, sampling: Sampling) -> str:
            text = super()._answer(prompt, sampling).replace(" = ", "  =  ")
            own[text] = prompt
            return text

    bout = spar(FIGHTER, BinSkill(), Wordy(0.5), order())
    corrected = [said(row)[1] for row in of_type(bout, 2)]
    assert 0.2 < sum("  =  " in text for text in corrected) / len(corrected) < 0.9
    assert all("  =  " in said(row)[1] for row in of_type(bout, 7))


def test_problems_are_of_the_train_partition_and_fresh_ones_are_not_asked() -> None:
    source = BinSkill()
    bout = spar(FIGHTER, source, StubHero(0.5), order())
    assert {split for _, split in source.drawn} == {"train"}
    for row in bout.rows:
        meta = row["metadata"]
        assert split_of(meta["skill"], meta["level"], meta["key"]) == "train"


def test_a_skill_that_hands_out_eval_problems_is_refused() -> None:
    class Leaky(BinSkill):
        def generate(self, level: int, count: int, seed: int, split: str, styles: Any = None) -> list[Sample]:
            return super().generate(level, count, seed, "eval", styles)

    with pytest.raises(Corrupt, match="eval problem"):
        spar(FIGHTER, Leaky(), StubHero(0.5), order())


def test_wrong_answers_near_the_golden_one_come_first() -> None:
    class Sloppy(StubHero):
        """Every other wrong answer is nothing but digits."""

        def _answer(self, prompt: str, sampling: Sampling) -> str:
            text = super()._answer(prompt, sampling)
            return text if len(prompt) % 2 else "①" * 60

    bout = spar(FIGHTER, BinSkill(), Sloppy(0.3), order())
    assert bout.far > 10
    assert all("①" * 60 not in said(row)[0] for row in of_type(bout, 1))


def test_greedy_first_then_sampled_with_different_seeds() -> None:
    hero = StubHero(0.5)
    spar(FIGHTER, BinSkill(), hero, order(samples=3))
    asked = [sampling for _, sampling, n in hero.asked if n == 100]
    assert [sampling.temperature for sampling in asked[:4]] == [0.0, 0.8, 0.8, 0.8]
    assert len({sampling.seed for sampling in asked[1:4]}) == 3
    assert {step for step, _, _ in hero.asked} == {500}


def test_a_hero_that_is_too_strong_is_asked_the_next_level() -> None:
    class Novice(StubHero):
        """Knows level 3, not level 4."""

        def __call__(self, step: int, prompts: Sequence[str], sampling: Sampling) -> Texts:
            return (StubHero(1.0) if prompts[0] in third else StubHero(0.5))(step, prompts, sampling)

    source, third = BinSkill(), set()
    drawn = source.generate

    def generate(level: int, count: int, seed: int, split: str, styles: Mapping[str, float] | None = None) -> list[Sample]:
        found = drawn(level, count, seed, split, styles)
        if level == 3:
            third.update(str(item["user_prompt"]) for item in found)
        return found

    source.generate = generate  # type: ignore[method-assign]
    styles = AnswerStyles({"brief": 1.0}, {4: {"verify": 0.5, "brief": 0.5}})
    bout = spar(FIGHTER, source, Novice(0.5), order(styles=styles))
    assert (bout.level, bout.reason) == (4, "right on 100 of 100 at level 3")
    assert all(asked == styles.at(level) for level, _, asked in source.styles)
    with pytest.raises(Conflict, match="100 were right at once"):
        spar(FIGHTER, source, Novice(0.5), order(may_rise=False))


def test_nothing_can_be_balanced_for_a_hero_that_is_never_right() -> None:
    with pytest.raises(Conflict, match="0 were right"):
        session(0.0)
    trio = session(0.0, balance="seed_only")
    assert len(trio.rows) == 300


def test_other_weights_than_asked_and_half_answers_make_no_rows() -> None:
    with pytest.raises(Corrupt, match="weights eeee"):
        spar(FIGHTER, BinSkill(), StubHero(0.5, digest="e" * 64), order())

    def half(step: int, prompts: Sequence[str], sampling: Sampling) -> Texts:
        return Texts(("x",), ("stop",), DIGEST)

    with pytest.raises(Corrupt, match="1 answers to 100"):
        spar(FIGHTER, BinSkill(), half, order())


def test_answers_that_were_cut_or_empty_are_no_wrong_answers() -> None:
    def mute(step: int, prompts: Sequence[str], sampling: Sampling) -> Texts:
        return Texts(("",) * len(prompts), ("stop",) * len(prompts))

    def endless(step: int, prompts: Sequence[str], sampling: Sampling) -> Texts:
        return Texts(("add(",) * len(prompts), ("length",) * len(prompts))

    for hero in (mute, endless):
        with pytest.raises(Conflict, match="0 had a wrong answer"):
            spar(FIGHTER, BinSkill(), hero, order(balance="seed_only"))


def test_rows_that_do_not_fit_the_context_are_left_out() -> None:
    def fits(rows: Sequence[dict[str, Any]]) -> list[bool]:
        return [len(row["messages"][0]["content"]) + len(row["messages"][1]["content"]) < 150 for row in rows]

    wide = session(0.5, level=8)
    bout = spar(FIGHTER, BinSkill(), StubHero(0.5), order(level=8), fits=fits)
    assert 0 < bout.used < wide.used
    assert all(fits(bout.rows))


def test_the_same_seed_gives_the_same_rows_and_another_one_others() -> None:
    assert session().rows == session().rows
    assert session().rows != session(seed=2).rows


def test_senseless_orders_are_refused() -> None:
    for wrong in ({"count": 0}, {"level": 31}, {"level": 0}):
        with pytest.raises(BadInput):
            session(**wrong)


@settings(max_examples=12, deadline=None)
@given(st.floats(0.15, 0.9), st.integers(1, 12), st.integers(20, 60), st.integers(0, 1000))
def test_any_session_is_balanced_or_says_why_not(accuracy: float, level: int, count: int, seed: int) -> None:
    try:
        bout = session(accuracy, level=level, count=count, seed=seed, may_rise=False)
    except Conflict:
        return
    counted = Counter(row["metadata"]["sparring"]["label"] for row in bout.rows)
    share = counted["incorrect"] / (counted["incorrect"] + counted["correct"])
    assert 0.45 <= share <= 0.55
    assert bout.report.passed
    assert replace(bout).rows == bout.rows
