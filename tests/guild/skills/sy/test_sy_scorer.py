"""The scorer: the golden answer is right on every level, everything else that is not an answer scores 0."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.guild.skills.sy import SKILL
from realm.guild.skills.sy.levels import LEVELS
from realm.guild.skills.sy.reply import MAX_LINES, read_reply
from realm.guild.skills.sy.scorer import score_text
from realm.guild.skills.sy.words import all_words
from realm.guild.skills.types import Item

PROMPT = """Syllacrostic. Build one word per clue from the tiles. Use each tile once; 1 tile is left over.
1. (2 syllables, 6 letters) a small chin beard trimmed to a point
2. (2 syllables, 5 letters) a particular environment or walk of life
Tiles: bit goa ly tee or
First letters spell: G _"""
RIGHT = "1. goa+tee = GOATEE\n2. or+bit = ORBIT\nunused: ly"
ALL_WORDS = "\n".join(f"{n}. {'+'.join(w.tiles)} = {w.text.upper()}" for n, w in enumerate(all_words()[:5000], 1))
CONSTANTS = [
    "", " ", "\n", "1.", "1. a = A", "unused:", "hidden: RIVER", "banana", "{}", "[]", "null", '{"solutions": []}',
    '{"solutions": [{"ans_num": 1}]}', '{"solutions": {"1": "a"}}', "{" * 5000, "[" * 5000, "It is correct.", "\x00", "?" * 9000,
    "1. " + "a+" * 20_000 + "a = A", "\n" * 50_000, "1. a = A\n" * 5000, "e\u0301" * 5000, "𝟏. a = A", ALL_WORDS,
]  # fmt: skip


def count(level: int) -> int:
    return 5 if level < 30 else 2


def as_json(item: Item) -> str:
    rows = [line.split(". ", 1) for line in item.assistant_response.split("\n") if " = " in line]
    solutions = [
        {"ans_num": int(number), "syllables": text.split(" = ")[0].split("+"), "answer": text.split(" = ")[1]}
        for number, text in rows
    ]  # fmt: skip
    rest = dict(line.split(": ") for line in item.assistant_response.split("\n") if ": " in line)
    unused = rest.get("unused", "").split()
    told = {"solutions": solutions, "inventory_check": {"unused_tiles": unused, "status": "ok"}}
    return json.dumps({**told, "hidden": rest["hidden"]} if "hidden" in rest else told)


@pytest.mark.parametrize("level", LEVELS)
def test_golden_answers_score_one(level: int) -> None:
    for item in [*SKILL.generate(level, count(level), 31), *SKILL.static_eval(level)]:
        found = SKILL.score(item, item.assistant_response)
        assert (found.strict, found.partial, found.reason) == (1, 1.0, "correct"), item
        parts = {"word_accuracy": 1.0, "inventory_ok": True, "hidden_ok": True, "format_ok": True}
        assert found.parts == parts
        assert found.expected == item.assistant_response
        assert SKILL.score(item, as_json(item)).strict == 1


@pytest.mark.parametrize("level", LEVELS)
def test_replies_that_are_no_answers_score_nothing(level: int) -> None:
    items = SKILL.generate(level, count(level), 32)
    for item, other in zip(items, items[1:] + items[:1], strict=True):
        right = item.assistant_response
        lines = right.split("\n")
        words = " ".join(line.split(" = ")[1] for line in lines if " = " in line)
        replies = [
            *CONSTANTS,
            item.user_prompt,
            other.assistant_response,
            words,
            words.lower(),
            f"{right}\nI hope this helps",
        ]
        replies += [
            f"{right}\n{right}",
            f"Sure!\n{right}",
            right.replace("+", " "),
            right.replace(" = ", " "),
            lines[0],
        ]
        replies += ["\n".join(lines[:-1]), "\n".join(lines[1:]), "\n".join([lines[1], lines[0], *lines[2:]])]
        replies += [f"{right}\nunused: zzz", f"{right}\nhidden: ZEBRA", right.replace("= ", "= X", 1)]
        for reply in replies:
            found = SKILL.score(item, reply)
            assert found.strict == 0, f"{reply[:200]!r} counts for {item.user_prompt!r}"
            assert found.partial < 1


@pytest.mark.parametrize("level", [1, 13, 25, 44, 50])
def test_a_wrong_tile_or_word_is_wrong(level: int) -> None:
    for item in SKILL.generate(level, 3, 33):
        for at, char in enumerate(item.assistant_response.lower()):
            if char.isalpha() and not item.assistant_response[:at].endswith(("unuse", "hidde")):
                wrong = item.assistant_response[:at] + ("x" if char != "x" else "q") + item.assistant_response[at + 1 :]
                assert SKILL.score(item, wrong).strict == 0, wrong


def test_parts_and_reasons() -> None:
    assert score_text(PROMPT, RIGHT).strict == 1
    cases = {
        "1. goa+tee = GOATEE\n2. or+bit = ORBIT": ("tiles used and unused", 1.0, False),
        "1. goa+tee = GOATEE\n2. or+bit = ORBIT\nunused: tee": ("tiles used and unused", 1.0, False),
        "1. goa+tee = GOATEE\n2. or+ly = ORLY\nunused: bit": ("not every word", 0.5, True),
        "1. goa+tee = GOATEE\nunused: ly": ("not every word", 0.5, False),
        "1. goat+ee = GOATEE\n2. or+bit = ORBIT\nunused: ly": ("tiles used and unused", 1.0, False),
        "1. tee+goa = GOATEE\n2. or+bit = ORBIT\nunused: ly": ("not every word", 0.5, True),
        f"{RIGHT}\nhidden: GO": ("hidden word is wrong, missing or not asked for", 1.0, True),
        "1. goa+tee = GOATEE\n2. or+bit = ORBIT\n3. ly = LY": ("number 3 has no word", 1.0, False),
        "1. or+bit = ORBIT\n2. goa+tee = GOATEE\nunused: ly": ("not every word", 0.0, True),
    }
    for reply, (reason, accuracy, inventory) in cases.items():
        found = score_text(PROMPT, reply)
        assert reason in found.reason, reply
        assert found.strict == 0
        assert (found.parts["word_accuracy"], found.parts["inventory_ok"]) == (accuracy, inventory), reply
    assert score_text(PROMPT, RIGHT.lower().replace(" = ", "=")).strict == 1, "case and space do not matter"
    assert score_text(PROMPT, "banana").partial == 0
    assert score_text(PROMPT, None).reason == "the reply is not a text"
    assert "longer" in score_text(PROMPT, "x" * 1_000_000).reason
    assert score_text("hello", "x").parts == {"prompt_ok": False}


def test_equally_valid_words_count() -> None:
    """A puzzle that a player wrote may have several solutions; each of them is right, a mixture is not."""
    prompt = """Syllacrostic. Build one word per clue from the tiles. Use each tile once; 2 tiles are left over.
1. noun
2. noun
Tiles: bit goa dol tee or lar
First letters spell: _ O"""
    one, two = "1. goa+tee = GOATEE\n2. or+bit = ORBIT", "1. dol+lar = DOLLAR\n2. or+bit = ORBIT"
    assert score_text(prompt, f"{one}\nunused: dol lar").strict == 1
    assert score_text(prompt, f"{two}\nunused: tee goa").strict == 1
    assert score_text(prompt, f"{two}\nunused: dol lar").strict == 0
    assert score_text(prompt, "1. or+bit = ORBIT\n2. goa+tee = GOATEE\nunused: dol lar").strict == 0


@pytest.mark.parametrize(
    "change",
    [
        ("Use each", "Use every"), ("2. (", "3. ("), ("Tiles:", "Bank:"), ("G _", "G _ _"), ("(2 syllables", "(some syllables"),
        ("bit goa", "bit GOA"), (" tee", ""), ("bit", "bat"), ("1 tile is", "200 tiles are"), ("G _", "X _"),
        ("ly", "ly " * 200), ("a particular environment or walk of life", "noon"),
    ],
)  # fmt: skip
def test_prompts_that_are_no_puzzles_are_refused(change: tuple[str, str]) -> None:
    found = score_text(PROMPT.replace(*change), RIGHT)
    assert (found.strict, found.parts) == (0, {"prompt_ok": False})


def test_an_open_prompt_ends_in_bounded_time() -> None:
    tiles = sorted({tile for word in all_words() if len(word.tiles) == 3 for tile in word.tiles})[:110]
    clues = "\n".join(f"{n}. noun" for n in range(1, 11))
    prompt = f"{PROMPT.splitlines()[0].replace('1 tile is', '80 tiles are')}\n{clues}\nTiles: {' '.join(tiles)}\n"
    assert score_text(prompt + "First letters spell a hidden word.", RIGHT).parts == {"prompt_ok": False}


@given(prompt=st.text(max_size=200), reply=st.one_of(st.text(max_size=300), st.none(), st.integers(), st.binary()))
@settings(max_examples=150, deadline=None)
def test_scoring_never_raises(prompt: str, reply: object) -> None:
    for text in (prompt, PROMPT):
        assert score_text(text, reply).strict == 0
    if isinstance(reply, str):
        assert score_text(PROMPT, "{" + reply).strict == 0
        assert score_text(PROMPT, "1. " + reply).strict == 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["solutions", "inventory_check", "hidden"]), json_values | st.lists(
    st.dictionaries(st.sampled_from(["ans_num", "syllables", "answer", "unused_tiles"]), json_values), max_size=3)))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_odd_json_never_raises(data: dict[str, object]) -> None:
    assert score_text(PROMPT, json.dumps(data)).strict == 0


def test_lines_are_bounded() -> None:
    assert "lines" in read_reply("a\n" * (MAX_LINES + 1)).reason
    assert read_reply("1. a+b = AB\nunused: c d\nhidden: X").unused == ("c", "d")
