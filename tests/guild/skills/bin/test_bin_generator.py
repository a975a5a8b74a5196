"""Generation: pure in its address, disjoint in its splits, honest in its prompts."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from itertools import product

import pytest

from realm.core.errors import BadInput
from realm.guild.skills.bin import SKILL
from realm.guild.skills.bin.levels import LEVELS, STYLES
from realm.guild.skills.bin.surface import SYMBOLS
from realm.guild.skills.split import split_of
from realm.guild.skills.types import Item

ALL_STYLES = dict.fromkeys(STYLES, 1.0)
# sha256 over 20 items of every level in every style, seed 2024. A change here is a new version of the skill.
GOLDEN = "5e975778389e23175d2716f0d699a73474b237e8685c84e2d2c940cb1bdb9e8a"
SCRIPT = """
import hashlib
from realm.guild.skills.bin import SKILL
from realm.guild.skills.bin.levels import STYLES
digest = hashlib.sha256()
for level in range(1, 31):
    for item in SKILL.generate(level, 20, 2024, "train", dict.fromkeys(STYLES, 1.0)):
        digest.update(item.sha256().encode())
print(digest.hexdigest())
"""


def _digest() -> str:
    digest = hashlib.sha256()
    for level in LEVELS:
        for item in SKILL.generate(level, 20, 2024, "train", ALL_STYLES):
            digest.update(item.sha256().encode())
    return digest.hexdigest()


def test_same_items_in_every_process() -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    other = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env=environment)
    assert other.stdout.strip() == _digest() == GOLDEN


@pytest.mark.parametrize("level", [1, 3, 12, 25])
def test_a_longer_call_starts_the_same(level: int) -> None:
    assert SKILL.generate(level, 50, 3)[:20] == SKILL.generate(level, 20, 3)
    assert SKILL.generate(level, 20, 3) != SKILL.generate(level, 20, 4)
    assert SKILL.generate(level, 0, 3) == []


@pytest.mark.parametrize("level", LEVELS)
def test_splits_are_disjoint_and_follow_the_rule(level: int) -> None:
    train = SKILL.generate(level, 150, 1, "train")
    held = [item for split in ("eval", "gate", "probe") for item in SKILL.generate(level, 20, 1, split)]  # type: ignore[arg-type]
    assert all(split_of("bin", level, item.key) == "train" for item in train)
    assert all(split_of("bin", level, item.key) == "eval" for item in held)
    for split in ("eval", "gate", "probe"):
        assert len({item.key for item in held if item.split == split}) == 20, "an eval problem came twice"
    assert {item.split for item in held} == {"eval", "gate", "probe"}
    static = {item.key for item in SKILL.static_eval(level)}
    assert len(static) == 5
    assert not static & {item.key for item in train + held}
    assert all(split_of("bin", level, key) == "eval" for key in static)


def test_no_two_levels_share_a_prompt() -> None:
    """So an eval problem of one level can not be a training problem of another."""
    owner: dict[str, int] = {}
    for level in LEVELS:
        for item in SKILL.generate(level, 100, 6, styles={"brief": 1}) + SKILL.generate(level, 10, 6, "eval"):
            if not any(tag.startswith("key-") for tag in item.tags):
                assert owner.setdefault(item.user_prompt, level) == level


def test_static_sets_are_brief_and_fixed() -> None:
    digest = hashlib.sha256("".join(i.id for level in LEVELS for i in SKILL.static_eval(level)).encode()).hexdigest()
    assert all(item.meta["style"] == "brief" for level in LEVELS for item in SKILL.static_eval(level))
    assert digest == "8fdc73105590d20b83315a8dcc60b3712f4a15f272f1a3ec43d5d8342795d259"


@pytest.mark.parametrize("level", range(1, 6))
def test_low_levels_are_as_short_as_can_be(level: int) -> None:
    for item in SKILL.generate(level, 200, 2, styles={"brief": 1}):
        assert item.user_prompt == f"Compute: {item.key.split('|')[2]}"
        assert item.assistant_response.startswith(item.user_prompt.removeprefix("Compute: ") + " = ")
        assert "\n" not in item.assistant_response
    assert any("add(" in i.user_prompt for i in SKILL.generate(1, 20, 2))


@pytest.mark.parametrize("level", range(8, 31))
def test_symbol_keys_never_contradict_themselves(level: int) -> None:
    for item in SKILL.generate(level, 100, 8):
        lines = [line for line in item.user_prompt.split("\n") if "Key" in line.split(":")[0]]
        pairs = [pair.split("=") for line in lines for pair in line.split(": ", 1)[1].split(", ")]
        symbols = [symbol for symbol, _ in pairs]
        assert len(symbols) == len(set(symbols)), "a symbol has two meanings"
        assert all(len(symbol) == 1 and symbol in SYMBOLS for symbol in symbols)
        body = item.user_prompt.rsplit("Compute: ", 1)[1]
        used = {char for char in body if char in SYMBOLS}
        assert used <= set(symbols), "a symbol is not in the key"
        if lines:
            assert not set("⓪①") & set(body)
            if "key-digits" not in item.tags:
                meanings = {meaning for _, meaning in pairs}
                assert set(item.meta["ops"]) <= meanings, "an operation is not in the key"


def test_symbols_are_single_and_plain() -> None:
    assert len(set(SYMBOLS)) == len(SYMBOLS) == 40
    assert all(len(symbol) == 1 for symbol in SYMBOLS)
    assert not set(SYMBOLS) & set("⓪①\ufe0f\u200d")


def test_widths_are_stated_where_they_matter() -> None:
    fixed = {
        "not",
        "shift_left",
        "shift_right",
        "negate",
        "absolute_value",
        "add_signed",
        "subtract_signed",
        "overflow",
    }
    for level in LEVELS:
        for item in SKILL.generate(level, 60, 9, styles={"brief": 1}):
            stated = re.findall(r"(\d+) digits", item.user_prompt)
            assert bool(stated) == bool(fixed & set(item.meta["ops"]))
            assert set(stated) <= {str(LEVELS[level].width)}


def test_brief_answers_have_no_leading_zeros_unless_fixed() -> None:
    for level in range(1, 7):
        for item in SKILL.generate(level, 100, 10):
            value = item.assistant_response.rsplit("= ", 1)[1]
            assert value == "⓪" or value.startswith("①")


def test_lsb_and_fixed_write_what_they_say() -> None:
    for item in SKILL.generate(3, 60, 1, styles={"fixed": 1}):
        assert item.user_prompt.endswith(" [fixed 4]")
        assert {len(run) for run in re.findall("[⓪①]+", item.user_prompt + item.assistant_response)} == {4}
    plain = {i.key.split("|", 1)[1] for i in SKILL.generate(3, 200, 1, styles={"lsb": 1})}
    assert any("①⓪⓪⓪" in key for key in plain), "keys keep the natural order"
    for item in SKILL.generate(3, 60, 1, styles={"lsb": 1}):
        assert item.user_prompt.endswith(" [lsb]")
        assert all(run == "⓪" or run[-1] == "①" for run in re.findall("[⓪①]+", item.assistant_response))


@pytest.mark.parametrize("style", STYLES)
def test_style_is_in_prompt_and_key(style: str) -> None:
    for item in SKILL.generate(9, 20, 1, styles={style: 1}):
        assert item.key.startswith(f"{style}|")
        tag = re.search(r" \[(.+)\]$", item.user_prompt)
        assert (tag[1].split()[0] if tag else "brief") == style


def test_every_style_at_every_level_or_a_clear_no() -> None:
    for level, style in product(LEVELS, STYLES):
        if style in LEVELS[level].offered:
            assert len(SKILL.generate(level, 5, 1, styles={style: 1})) == 5
        else:
            with pytest.raises(BadInput, match="offers none"):
                SKILL.generate(level, 5, 1, styles={style: 1})


def test_a_style_not_offered_takes_no_part() -> None:
    mix = {"brief": 0.4, "trace": 0.6}
    assert {item.meta["style"] for item in SKILL.generate(20, 50, 1, styles=mix)} == {"brief"}
    assert {item.meta["style"] for item in SKILL.generate(5, 50, 1, styles=mix)} == {"brief", "trace"}


@pytest.mark.parametrize(
    "call",
    [
        {"level": 0}, {"level": 31}, {"level": -1}, {"split": "test"}, {"count": -1}, {"styles": {"poem": 1}},
        {"styles": {"brief": -1}}, {"styles": {"brief": float("nan")}}, {"styles": {"brief": float("inf")}},
        {"styles": {}}, {"styles": {"brief": 0}},
    ],
)  # fmt: skip
def test_wrong_calls_are_errors(call: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        SKILL.generate(**{"level": 1, "count": 1, "seed": 0, **call})  # type: ignore[arg-type]


def test_ids_name_prompts() -> None:
    items: list[Item] = SKILL.generate(9, 200, 1) + SKILL.generate(9, 200, 2)
    assert len({item.id for item in items}) == len({item.user_prompt for item in items})
