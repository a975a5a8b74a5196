"""The generated problems are what the table says: widths, operations, nesting, keys, styles, forms."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import pytest

from realm.guild.skills.bin import SKILL
from realm.guild.skills.bin.levels import LEVELS
from realm.guild.skills.types import Item

# The table of the specification, written out once more: width, new operations, most operators, key share.
TABLE = {
    1: (2, "increment decrement add", 3, 0), 2: (3, "multiply_by_2 divide_by_2", 3, 0), 3: (4, "subtract", 3, 0),
    4: (5, "equals lessthan greaterthan", 3, 0), 5: (6, "maximum minimum", 3, 0), 6: (7, "and or xor", 3, 0),
    7: (8, "not tobinary todecimal", 3, 0), 8: (9, "", 3, 25), 9: (10, "", 3, 50),
    10: (11, "shift_left shift_right", 3, 50), 11: (12, "multiply", 3, 75), 12: (13, "", 3, 75),
    13: (14, "count_ones parity", 3, 75), 14: (15, "divide modulo", 3, 75), 15: (16, "", 3, 75),
    16: (17, "negate absolute_value", 3, 75), 17: (18, "add_signed", 3, 75), 18: (19, "subtract_signed", 3, 75),
    19: (20, "overflow", 3, 75), 20: (21, "", 4, 75), 21: (22, "", 4, 75), 22: (23, "", 4, 75), 23: (24, "", 4, 75),
    24: (25, "", 5, 75), 25: (26, "", 5, 75), 26: (27, "", 5, 75), 27: (28, "", 5, 75), 28: (29, "", 5, 75),
    29: (30, "", 5, 75), 30: (32, "", 6, 75),
}  # fmt: skip
FORMS = {21: "find", 22: "judge", 23: "first_wrong", 24: "run_short", 25: "run_long", 26: "run_if", 27: "run_repeat",
         29: "run_unused"}  # fmt: skip
SIGNED = {"negate", "absolute_value", "add_signed", "subtract_signed", "overflow"}
COUNT = 600
BITS = re.compile("[⓪①]+")
CALL = re.compile(r"([a-z][a-z0-9_]*)\(")


@cache
def items(level: int) -> list[Item]:
    return SKILL.generate(level, COUNT, seed=11)


def body(item: Item) -> str:
    """The problem in circled digits and full names, as in its key."""
    return item.key.split("|", 2)[2]


def operand_widths(item: Item) -> list[int]:
    return [len(bits) for bits in BITS.findall(body(item).split(") = ")[0])]


def depth(text: str) -> int:
    deepest = now = 0
    for char in text:
        now += (char == "(") - (char == ")")
        deepest = max(deepest, now)
    return deepest


def near(share: float, wanted: float, tolerance: float = 0.07) -> bool:
    return abs(share - wanted) < tolerance


@pytest.mark.parametrize("level", TABLE)
def test_table(level: int) -> None:
    row = LEVELS[level]
    width, new, max_ops, key = TABLE[level]
    assert (row.width, " ".join(row.new_ops), row.max_ops, row.key_share * 100) == (width, new, max_ops, key)
    assert row.new_form == FORMS.get(level, "")
    assert sum(row.styles.values()) == pytest.approx(1)


@pytest.mark.parametrize("level", TABLE)
def test_widths(level: int) -> None:
    width = TABLE[level][0]
    seen = Counter(w for item in items(level) for w in operand_widths(item))
    assert max(seen) == width, "an operand is wider than the level, or the full width never occurs"
    assert set(range(1, width)) <= set(seen), "a width never occurs"


@pytest.mark.parametrize("level", TABLE)
def test_operations(level: int) -> None:
    _, new, max_ops, _ = TABLE[level]
    known = {name for n in range(1, level + 1) for name in TABLE[n][1].split()}
    used: Counter[str] = Counter()
    for item in items(level):
        ops = item.meta["ops"]
        names = [n for n in CALL.findall(body(item)) if n not in ("judge", "find", "first_wrong", "run")]
        assert names == ops or sorted(names) == sorted(ops)
        assert set(ops) <= known
        assert 1 <= len(ops) <= max_ops
        used.update(set(ops))
    assert not new or all(used[name] >= COUNT * 0.08 for name in new.split())
    if level >= 2 and level not in FORMS:
        assert used.keys() == known, "an operation of the level is never drawn"


@pytest.mark.parametrize("level", TABLE)
def test_share_of_what_is_new(level: int) -> None:
    _, new, _, _ = TABLE[level]
    if level in FORMS:
        assert sum(item.tags[0] == FORMS[level] for item in items(level)) == COUNT * 0.6
    elif new and level > 1:
        assert sum(bool(set(item.meta["ops"]) & set(new.split())) for item in items(level)) == COUNT * 0.6


@pytest.mark.parametrize("level", range(1, 31))
def test_nesting(level: int) -> None:
    plain = [item for item in items(level) if item.tags[0] == "expr"]
    single = sum(len(item.meta["ops"]) == 1 for item in plain) / len(plain)
    deepest = max(depth(body(item)) for item in plain)
    most = TABLE[level][2]
    assert deepest <= most
    if level >= 3:
        assert deepest >= most - (level == 30)
    if level < 20:
        wanted = {1: 2 / 3, 2: 1 / 2} | dict.fromkeys(range(3, 12), 0.4)
        assert near(1 - single, wanted.get(level, 0.5), 0.02), "the share of nested expressions in training"


@pytest.mark.parametrize("level", [3, 4, 6])
def test_an_eval_nests_as_often_as_the_table_says(level: int) -> None:
    asked = [item for seed in range(12) for item in SKILL.generate(level, 15, seed, "gate", {"brief": 1})]
    nested = sum(len(item.meta["ops"]) > 1 for item in asked) / len(asked)
    assert near(nested, 0.25 if level == 6 else 0.15, 0.05)


@pytest.mark.parametrize("level", [1, 2])
def test_an_eval_goes_on_when_its_short_problems_are_used_up(level: int) -> None:
    asked = SKILL.generate(level, 40, 5, "gate", {"brief": 1})
    counts = Counter(len(item.meta["ops"]) for item in asked)
    assert len({item.key for item in asked}) == 40
    assert 0 < counts[1] < 10 < counts[2] + counts[3]


@pytest.mark.parametrize("level", range(1, 31))
def test_key_share(level: int) -> None:
    keyed = [item for item in items(level) if any(tag.startswith("key-") for tag in item.tags)]
    assert near(len(keyed) / COUNT, TABLE[level][3] / 100)
    assert all(("Key" in item.user_prompt) == (item in keyed) for item in items(level))
    modes = {tag for item in keyed for tag in item.tags if tag.startswith("key-")}
    expected = {
        8: {"key-digits"},
        28: {"key-two", "key-full"},
        29: {"key-two", "key-full"},
        30: {"key-two", "key-full"},
    }
    if level >= 8:
        assert modes == expected.get(level, {"key-full"})


def test_two_keys_are_the_majority_at_28() -> None:
    assert sum("key-two" in item.tags for item in items(28)) == COUNT * 0.6


@pytest.mark.parametrize("level", range(1, 31))
def test_style_mix(level: int) -> None:
    seen = Counter(item.meta["style"] for item in items(level))
    assert seen.keys() == LEVELS[level].styles.keys()
    for style, share in LEVELS[level].styles.items():
        assert near(seen[style] / COUNT, share)


def test_no_trace_from_level_15() -> None:
    assert all("trace" in LEVELS[level].styles for level in range(1, 15))
    assert not any("trace" in LEVELS[level].offered for level in range(15, 31))


def test_signed_and_unsigned_meet_at_20() -> None:
    for level in range(16, 20):
        for item in items(level):
            ops = set(item.meta["ops"])
            assert not ops & SIGNED or ops <= SIGNED
    mixed = sum(bool(set(i.meta["ops"]) & SIGNED) and bool(set(i.meta["ops"]) - SIGNED) for i in items(20))
    assert mixed >= COUNT * 0.6


def test_judgements_are_half_true() -> None:
    novel = [item for item in items(22) if item.tags[0] == "judge"]
    verdicts = Counter(SKILL.score(item, item.assistant_response).expected in "①" for item in novel if not keyed(item))
    values = [SKILL.solve(item)[-1] == one(item) for item in novel]
    assert sum(values) * 2 == len(values) == COUNT * 0.6
    assert verdicts[True]
    assert verdicts[False]


def keyed(item: Item) -> bool:
    return "Key" in item.user_prompt


def one(item: Item) -> str:
    found = re.search("(.)=①", item.user_prompt)
    return found[1] if found and keyed(item) else "①"


@pytest.mark.parametrize("op", ["equals", "overflow"])
def test_rare_truths_are_common_enough(op: str) -> None:
    level = {"equals": 4, "overflow": 19}[op]
    single = [item for item in items(level) if item.meta["ops"] == [op]]
    true = sum(SKILL.solve(item)[-1] == one(item) for item in single) / len(single)
    assert 0.3 < true < 0.75


def carries(a: int, b: int) -> int:
    longest = run = carry = 0
    while a or b or carry:
        carry = int((a & 1) + (b & 1) + carry > 1)
        run = run + 1 if carry else 0
        longest = max(longest, run)
        a, b = a >> 1, b >> 1
    return longest


def borrows(a: int, b: int) -> int:
    longest = run = borrow = 0
    while a or b:
        borrow = int((a & 1) - (b & 1) - borrow < 0)
        run = run + 1 if borrow else 0
        longest = max(longest, run)
        a, b = a >> 1, b >> 1
    return longest


@pytest.mark.parametrize(("op", "level", "chain"), [("add", 8, carries), ("subtract", 12, borrows)])
def test_long_carries(op: str, level: int, chain: object) -> None:
    pairs = []
    for item in SKILL.generate(level, 6000, seed=5, styles={"brief": 1}):
        found = re.fullmatch(rf"{op}\(([⓪①]+), ([⓪①]+)\)", body(item))
        if found:
            pairs.append([int(text.replace("⓪", "0").replace("①", "1"), 2) for text in found.groups()])
    need = LEVELS[level].width / 2
    share = sum(chain(a, b) >= need for a, b in pairs) / len(pairs)  # type: ignore[operator]
    assert len(pairs) > 60
    assert 0.28 < share < 0.6


@pytest.mark.parametrize("level", range(24, 31))
def test_programs(level: int) -> None:
    sizes: dict[str, list[int]] = {}
    for item in items(level):
        text = body(item)
        if text.startswith("run("):
            sizes.setdefault(item.tags[0], []).append(text.count(" = "))
            assert all(1 < int(k) <= 8 for k in re.findall(r"repeat (\d+):", text))
            assert ("if lessthan(" in text) == (item.tags[0] == "run_if")
            assert ("repeat" in text) == (item.tags[0] == "run_repeat")
    assert set(sizes.pop("run_short", [2, 3])) == {2, 3}
    if "run_long" in sizes:
        assert set(sizes["run_long"]) == {4, 5, 6}


def test_unused_variables_are_unused() -> None:
    for item in items(29):
        if item.tags[0] == "run_unused":
            text = body(item)
            unused = [n for n in re.findall(r"\b([a-z]) = ", text) if len(re.findall(rf"\b{n}\b", text)) == 1]
            assert len(unused) >= 2, "one is the result, at least one more is never read"
