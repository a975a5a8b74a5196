"""The sizes of the finite levels, counted by enumeration, and that the generator reaches exactly those problems."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from realm.guild.skills.bin import SKILL
from realm.guild.skills.split import split_of

UNARY = {"increment": lambda v: v + 1, "decrement": lambda v: v - 1, "multiply_by_2": lambda v: 2 * v,
         "divide_by_2": lambda v: v // 2}  # fmt: skip


def enumerate_level(width: int, unary: list[str]) -> Iterator[tuple[str, int, int, bool]]:
    """Yield (text, value, widest operand, uses a level-2 operation) of all expressions of one to three operators."""
    leaves = [
        (f"{v:b}".replace("0", "⓪").replace("1", "①"), v, max(1, v.bit_length()), False) for v in range(1 << width)
    ]
    by_ops = [leaves]
    for ops in range(1, 4):
        found = []
        for text, value, wide, second in by_ops[ops - 1]:
            for name in unary:
                if name != "decrement" or value:
                    found.append((f"{name}({text})", UNARY[name](value), wide, second or "_2" in name))
        for left in range(ops):
            for a in by_ops[left]:
                for b in by_ops[ops - 1 - left]:
                    found.append((f"add({a[0]}, {b[0]})", a[1] + b[1], max(a[2], b[2]), a[3] or b[3]))
        by_ops.append(found)
    for rows in by_ops[1:]:
        yield from rows


LEVEL_1 = {text for text, *_ in enumerate_level(2, ["increment", "decrement"])}


def level_2() -> set[str]:
    every = enumerate_level(3, ["increment", "decrement", "multiply_by_2", "divide_by_2"])
    return {text for text, _, wide, second in every if wide == 3 or second}


def test_counts_are_those_the_skill_states() -> None:
    found = level_2()
    assert not found & LEVEL_1
    assert SKILL.info.finite_levels == {1: len(LEVEL_1), 2: len(found)} == {1: 3052, 2: 45831}


def parts_of_level_1() -> dict[str, set[str]]:
    return {part: {t for t in LEVEL_1 if split_of("bin", 1, f"brief|-|{t}") == part} for part in ("train", "eval")}


def test_the_eval_partition_of_level_1_is_given_out_whole_and_only_then_repeated() -> None:
    static = {item.key.removeprefix("brief|-|") for item in SKILL.static_eval(1)}
    left = parts_of_level_1()["eval"] - static
    items = SKILL.generate(1, len(left) + 40, seed=4, split="gate", styles={"brief": 1})
    assert {item.key.removeprefix("brief|-|") for item in items} == left, "a problem is never given, or one that is not left"
    assert ["repeat" in item.tags for item in items] == [False] * len(left) + [True] * 40
    rare = SKILL.generate(1, 200, seed=4, split="gate", styles={"brief": 1})
    assert not any("repeat" in item.tags for item in rare)


def test_training_items_are_drawn_with_replacement_and_short_ones_stay_frequent() -> None:
    items = SKILL.generate(1, 3000, seed=4, styles={"brief": 1})
    assert {item.key.removeprefix("brief|-|") for item in items} <= parts_of_level_1()["train"]
    seen: set[str] = set()
    for item in items:
        assert ("repeat" in item.tags) == (item.key in seen), "a repeat is tagged, and nothing else is"
        seen.add(item.key)
    shares = [sum(len(item.meta["ops"]) == n for item in items) / len(items) for n in (1, 2, 3)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.06)


@pytest.mark.slow
def test_level_2_problems_are_in_the_enumeration() -> None:
    every = level_2()
    for split in ("train", "eval"):
        for item in SKILL.generate(2, 4000, seed=9, split=split, styles={"brief": 1}):  # type: ignore[arg-type]
            assert item.key.removeprefix("brief|-|") in every
