"""Data profiles: every second row is dressed, the same for the same seed, and what is graded is the bare answer again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.armory.profile_calls import from_prefix_form, to_prefix_form
from realm.armory.profiles import (
    ANSWER_BEGINS,
    ANSWER_ENDS,
    PROFILES,
    STOPPING,
    THINKING,
    dress,
    get_profile,
    longest_dress,
    undress,
    with_system,
)
from realm.core.errors import Unknown
from realm.guild.skills.server import builtin_skill

EMOJI, REGIME = PROFILES["emoji_think"], PROFILES["regime3"]
calls = st.recursive(
    st.text("⓪①", min_size=1, max_size=4),
    lambda inner: st.builds(lambda op, args: f"{op}({', '.join(args)})", st.sampled_from(("add", "🍘", "not", "op2")),
                            st.lists(inner, min_size=1, max_size=3)),
    max_leaves=8,
)  # fmt: skip


def row(answer: str = "add(①, ①) = ①⓪", system: str | None = None) -> list[Any]:
    own = [{"role": "system", "content": system}] if system else []
    return [*own, {"role": "user", "content": "Compute: add(①, ①)"}, {"role": "assistant", "content": answer}]


def test_an_unknown_profile_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(Unknown, match="regime3") as caught:
        get_profile("emoji-think")
    assert "emoji_think" in str(caught.value)


def test_none_changes_nothing() -> None:
    assert dress(PROFILES["none"], row(system="s"), 3, 1) == row(system="s")
    assert with_system(PROFILES["none"], None) is None
    assert with_system(PROFILES["none"], "m") == "m"


@given(st.integers(0, 2**32))
def test_half_of_the_rows_are_dressed_within_the_bounds(seed: int) -> None:
    dressed = [dress(EMOJI, row(), place, seed) for place in range(20)]
    assert dressed == [dress(EMOJI, row(), place, seed) for place in range(20)]
    changed = [(user["content"], answer["content"]) for user, answer in dressed if answer["content"] != "add(①, ①) = ①⓪"]
    assert len(changed) == 10
    for user, answer in changed:
        before, after = answer.split(" add(①, ①) = ①⓪ ")
        assert before == before[0] * len(before)
        assert after == after[0] * len(after)
        assert (before[0] in THINKING, after[0] in STOPPING) == (True, True)
        assert 2 <= len(before) <= 8
        assert 2 <= len(after) <= 4
        assert f"{before[0]} written {len(before)} times" in user
        assert f"{after[0]} written {len(after)} times" in user


def test_seeds_differ_and_think_tags_go() -> None:
    assert [dress(EMOJI, row(), n, 1) for n in range(9)] != [dress(EMOJI, row(), n, 2) for n in range(9)]
    for place in range(2):
        assert "think>" not in dress(EMOJI, row("<think>hm</think>①"), place, 1)[-1]["content"]


def test_the_longest_dress_is_at_least_as_long_as_any() -> None:
    most = sum(len(m["content"].encode()) for m in longest_dress(EMOJI, row()))
    assert all(sum(len(m["content"].encode()) for m in dress(EMOJI, row(), n, s)) <= most for n in range(9) for s in range(40))


def test_regime3_asks_in_the_system_turn_and_marks_the_answer() -> None:
    user, answer = dress(REGIME, row(), 0, 1)
    assert answer["content"] == f"{ANSWER_BEGINS} (add ① ①) = ①⓪ {ANSWER_ENDS}"
    assert user == row()[0]
    assert "(op arg1 arg2)" in str(with_system(REGIME, "You are happy."))
    assert dress(REGIME, row(system="Be brief."), 0, 1)[0]["content"].startswith("Be brief.\nWrite every operation")


@given(calls)
def test_calls_come_back_as_they_were(call: str) -> None:
    text = f"step: {call} = ①\n{call}=⓪"
    prefix = to_prefix_form(text)
    assert from_prefix_form(prefix) == text
    assert to_prefix_form(prefix) == prefix
    assert f"{call[0]}(" not in prefix


@pytest.mark.parametrize("skill", ["bin", "sy"])
@pytest.mark.parametrize("profile", list(PROFILES))
def test_golden_answers_are_graded_right_again(skill: str, profile: str) -> None:
    one = builtin_skill(skill)
    for level in (1, 4, 9, 14, 20):
        for place, item in enumerate(one.generate(level, 8, 7, "train")):
            rows = [{"role": "user", "content": item.user_prompt}, {"role": "assistant", "content": item.assistant_response}]
            said = dress(PROFILES[profile], rows, place, 1)[-1]["content"]
            assert undress(PROFILES[profile], said) == item.assistant_response
            assert one.score(item, undress(PROFILES[profile], said)).strict == 1


def test_an_answer_in_another_form_is_not_made_right() -> None:
    assert undress(REGIME, "add(①, ①) = ①⓪") == "add(①, ①) = ①⓪"
    assert undress(REGIME, "(add ①") == "(add ①"
    assert undress(EMOJI, "🛑🛑") == ""
    assert undress(EMOJI, "① 🛑 ①") == "① 🛑 ①"
