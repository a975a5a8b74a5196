"""The level table is the specification's, one or two notches a level, and the puzzles are what it says."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import pytest

from realm.guild.skills.sy import SKILL
from realm.guild.skills.sy.levels import LEVELS
from realm.guild.skills.sy.words import POS_NAMES, Word, by_text
from realm.guild.skills.types import Item

# The table of the specification, row by row as it is written there.
SPECIFIED = """
1 | 2 | 2 | 10 | c0 | p2 | in-order | all | y | y | 0 | 0.00 | shown | 0 | 0 | start
2 | 2 | 2 | 10 | c0 | p2 | shuffled | all | y | y | 0 | 0.00 | shown | 0 | 0 | ORD
3 | 3 | 2 | 10 | c0 | p2 | shuffled | all | y | y | 0 | 0.00 | shown | 0 | 0 | W
4 | 3 | 2 | 10 | c0 | p1 | shuffled | all | y | y | 0 | 0.00 | shown | 0 | 0 | PO
5 | 3 | 2 | 20 | c0 | p1 | shuffled | all | y | y | 0 | 0.00 | shown | 0 | 0 | R
6 | 4 | 2 | 20 | c0 | p1 | shuffled | all | y | y | 0 | 0.00 | shown | 0 | 0 | W
7 | 4 | 2 | 20 | c0 | p0 | shuffled | all | y | y | 0 | 0.00 | shown | 0 | 0 | PO
8 | 4 | 2-3 | 20 | c0 | p0 | shuffled | all | y | y | 0 | 0.00 | shown | 0 | 0 | syl
9 | 4 | 2-3 | 20 | c1 | p0 | shuffled | all | y | y | 0 | 0.00 | shown | 0 | 0 | CL
10 | 4 | 2-3 | 35 | c1 | p0 | shuffled | all | y | y | 0 | 0.00 | shown | 0 | 0 | R
11 | 4 | 2-3 | 35 | c1 | p0 | shuffled | all | y | n | 0 | 0.00 | shown | 0 | 0 | FL
12 | 5 | 2-3 | 35 | c1 | p0 | shuffled | all | y | n | 0 | 0.00 | shown | 0 | 0 | W
13 | 5 | 2-3 | 35 | c1 | p0 | shuffled | all | y | n | 1 rnd | 0.00 | shown | 0 | 0 | HR, HT
14 | 5 | 2-3 | 35 | c1 | p0 | shuffled | all | n | n | 1 rnd | 0.00 | shown | 0 | 0 | LC
15 | 5 | 2-3 | 35 | c1 | p0 | shuffled | all | n | n | 1 rnd | 0.00 | half | 0 | 0 | AC
16 | 5 | 2-4 | 35 | c1 | p0 | shuffled | all | n | n | 1 rnd | 0.00 | half | 0 | 0 | syl
17 | 5 | 2-4 | 35 | c2 | p0 | shuffled | all | n | n | 1 rnd | 0.00 | half | 0 | 0 | CL
18 | 5 | 2-4 | 35 | c2 | p0 | shuffled | all | n | n | 2 rnd | 0.00 | half | 0 | 0 | HR
19 | 5 | 2-4 | 40 | c2 | p0 | shuffled | all | n | n | 2 rnd | 0.00 | half | 0 | 0 | R
20 | 5 | 2-4 | 40 | c2 | p0 | shuffled | all | n | n | 2 rnd | 0.05 | half | 0 | 0 | OV
21 | 5 | 2-4 | 40 | c2/c3 | p0 | shuffled | all | n | n | 2 rnd | 0.05 | half | 0 | 0 | CL
22 | 6 | 2-4 | 40 | c2/c3 | p0 | shuffled | all | n | n | 2 rnd | 0.05 | half | 0 | 0 | W
23 | 6 | 2-4 | 40 | c2/c3 | p0 | shuffled | all | n | n | 3 rnd | 0.05 | half | 0 | 0 | HR
24 | 6 | 2-4 | 40 | c2/c3 | p0 | shuffled | all | n | n | 3 half near | 0.05 | half | 0 | 0 | HT
25 | 6 | 2-4 | 40 | c2/c3 | p0 | shuffled | all | n | n | 3 half near | 0.05 | asked | 0 | 0 | AC
26 | 6 | 3-4 | 40 | c2/c3 | p0 | shuffled | all | n | n | 3 half near | 0.05 | asked | 0 | 0 | syl
27 | 6 | 3-4 | 40 | c3 | p0 | shuffled | all | n | n | 3 half near | 0.05 | asked | 0 | 0 | CL
28 | 6 | 3-4 | 40 | c3 | p0 | shuffled | all | n | n | 3 half near | 0.10 | asked | 0 | 0 | OV
29 | 6 | 3-4 | 50 | c3 | p0 | shuffled | all | n | n | 3 half near | 0.10 | asked | 0 | 0 | R
30 | 6 | 3-4 | 50 | c3 | p0 | shuffled | half | n | n | 3 half near | 0.10 | asked | 0 | 0 | SC
31 | 6 | 3-4 | 50 | c3 | p0 | shuffled | half | n | n | 4 half near | 0.10 | asked | 0 | 0 | HR
32 | 7 | 3-4 | 50 | c3 | p0 | shuffled | half | n | n | 4 half near | 0.10 | asked | 0 | 0 | W
33 | 7 | 3-4 | 50 | c3 | p0 | shuffled | half | n | n | 4 near | 0.10 | asked | 0 | 0 | HT
34 | 7 | 3-4 | 50 | c3 | p0 | shuffled | total | n | n | 4 near | 0.10 | asked | 0 | 0 | SC
35 | 7 | 3-4 | 50 | c3/c4 | p0 | shuffled | total | n | n | 4 near | 0.10 | asked | 0 | 0 | CL
36 | 7 | 3-4 | 50 | c3/c4 | p0 | shuffled | total | n | n | 4 near | 0.15 | asked | 0 | 0 | OV
37 | 7 | 3-5 | 50 | c3/c4 | p0 | shuffled | total | n | n | 4 near | 0.15 | asked | 0 | 0 | syl
38 | 8 | 3-5 | 50 | c3/c4 | p0 | shuffled | total | n | n | 4 near | 0.15 | asked | 0 | 0 | W
39 | 8 | 3-5 | 50 | c3/c4 | p0 | shuffled | total | n | n | 4 near | 0.15 | asked | 1 | 0 | DC
40 | 8 | 3-5 | 55 | c3/c4 | p0 | shuffled | total | n | n | 4 near | 0.15 | asked | 1 | 0 | R
41 | 8 | 3-5 | 55 | c4 | p0 | shuffled | total | n | n | 4 near | 0.15 | asked | 1 | 0 | CL
42 | 8 | 3-5 | 55 | c4 | p0 | shuffled | total | n | n | 6 near | 0.15 | asked | 1 | 0 | HR
43 | 8 | 3-5 | 55 | c4 | p0 | shuffled | total | n | n | 6 near | 0.20 | asked | 1 | 0 | OV
44 | 8 | 3-5 | 55 | c4 | p0 | shuffled | total | n | n | 6 near | 0.20 | asked | 1 | 1 | MT
45 | 9 | 3-5 | 55 | c4 | p0 | shuffled | total | n | n | 6 near | 0.20 | asked | 1 | 1 | W
46 | 9 | 3-5 | 55 | c4/c5 | p0 | shuffled | total | n | n | 6 near | 0.20 | asked | 1 | 1 | CL
47 | 9 | 3-5 | 60 | c4/c5 | p0 | shuffled | total | n | n | 6 near | 0.20 | asked | 1 | 1 | R
48 | 9 | 3-5 | 60 | c4/c5 | p0 | shuffled | total | n | n | 8 near | 0.20 | asked | 1 | 1 | HR
49 | 9 | 3-5 | 60 | c4/c5 | p0 | shuffled | total | n | n | 8 near | 0.20 | asked | 1 | 2 | MT
50 | 10 | 3-5 | 60 | c5 | p0 | shuffled | total | n | n | 8 near | 0.20 | asked | 1 | 2 | W, CL
"""
ROWS = {int(line.split("|")[0]): [cell.strip() for cell in line.split("|")] for line in SPECIFIED.strip().split("\n")}
KINDS = {0.0: " rnd", 0.5: " half near", 1.0: " near"}


@cache
def items(level: int) -> list[Item]:
    return SKILL.generate(level, 12 if level < 30 else 5, seed=21)


def lines(item: Item, start: str) -> list[str]:
    return [line for line in item.user_prompt.split("\n") if re.match(start, line)]


def answers(item: Item) -> list[Word]:
    return [by_text()[line.split(" = ")[1].lower()] for line in item.assistant_response.split("\n") if " = " in line]


def clues(item: Item) -> list[str]:
    """The texts of the clues that have an answer."""
    numbers = {int(line.split(".")[0]) for line in item.assistant_response.split("\n") if " = " in line}
    return [
        re.sub(r"^\d+\. (\([^()]*\) )?", "", line)
        for number, line in enumerate(lines(item, r"\d"), 1) if number in numbers
    ]  # fmt: skip


@pytest.mark.parametrize("level", ROWS)
def test_the_table_is_the_specification(level: int) -> None:
    row = LEVELS[level]
    ends = sorted({row.syllables[0], row.syllables[-1]})
    herrings = f"{row.herrings}{KINDS[row.near]}" if row.herrings else "0"
    cells = [
        str(row.level), str(row.words), "-".join(map(str, ends)), str(row.band), "/".join(f"c{r}" for r in row.rungs),
        row.label, "shuffled" if row.shuffled else "in-order", row.counts, "y" if row.letters else "n",
        "y" if row.first_letter else "n", herrings, f"{row.overlap:.2f}", row.acrostic, str(row.decoys), str(row.blanks),
        ", ".join(row.new),
    ]  # fmt: skip
    assert cells == ROWS[level]


def test_there_are_fifty_levels() -> None:
    assert list(LEVELS) == list(ROWS) == list(range(1, 51))
    assert [row.level for row in SKILL.info.levels] == list(range(1, 51))
    assert len({row.title for row in SKILL.info.levels}) > 40


@pytest.mark.parametrize("level", range(2, 51))
def test_each_level_moves_the_dials_it_names(level: int) -> None:
    names = ["W", "syl", "R", "CL", "PO", "ORD", "SC", "LC", "FL", "HR", "OV", "AC", "DC", "MT"]
    told = [*ROWS[level][1:10], ROWS[level][10].split(" ")[0], *ROWS[level][11:15]]
    before = [*ROWS[level - 1][1:10], ROWS[level - 1][10].split(" ")[0], *ROWS[level - 1][11:15]]
    moved = {name for name, a, b in zip(names, told, before, strict=True) if a != b}
    kinds = [ROWS[n][10].partition(" ")[2] for n in (level, level - 1)]
    moved |= {"HT"} if kinds[0] != kinds[1] else set()
    assert moved == set(LEVELS[level].new)
    assert 1 <= len(moved) <= 2


@pytest.mark.parametrize("level", range(1, 51))
def test_words_tiles_and_clues(level: int) -> None:
    row = LEVELS[level]
    for item in items(level):
        words = answers(item)
        assert len(words) == row.words
        assert len(lines(item, r"\d")) == row.words + row.decoys
        assert {len(word.tiles) for word in words} <= set(row.syllables)
        assert all(word.band <= row.band for word in words)
        bank = re.sub(r"\d+(\.\d+)?:", "", lines(item, "Tiles: ")[0]).split(" ")[1:]
        assert len(bank) == sum(len(word.tiles) for word in words) + row.herrings
        assert sum("_" in tile for tile in bank) == row.blanks
        for word, text in zip(words, clues(item), strict=True):
            assert text in [word.clue(rung) for rung in row.rungs]


@pytest.mark.parametrize("level", range(1, 51))
def test_what_is_told(level: int) -> None:
    row = LEVELS[level]
    for item in items(level):
        shown = lines(item, r"\d")
        told = sum("syllables)" in line or "syllables," in line for line in shown)
        assert told == {"all": row.words, "half": row.words // 2, "total": 0}[row.counts]
        assert len(lines(item, "Syllables in all: ")) == (row.counts == "total")
        assert sum(bool(re.match(r"\d+\. \([^()]*\d letters", line)) for line in shown) == (
            row.words if row.letters else 0
        )
        assert sum("starts with " in line.split(")")[0] for line in shown) == (row.words if row.first_letter else 0)
        assert all(
            bool(re.match(rf"\d+\. \(({'|'.join(POS_NAMES.values())}), ", line)) == (0 in row.rungs) for line in shown
        )
        label = {"p2": r"\d+\.\d+:[a-z]+", "p1": r"\d+:[a-z]+", "p0": "[a-z]+_*"}[row.label]
        tiles = lines(item, "Tiles: ")[0].split(" ")[1:]
        assert all(re.fullmatch(label, tile) for tile in tiles)
        assert ("hidden: " in item.assistant_response) == (row.acrostic == "asked")
        hidden, last = item.meta["hidden"].upper(), item.user_prompt.split("\n")[-1]
        half = " ".join(letter if place % 2 == 0 else "_" for place, letter in enumerate(hidden))
        expected = {"shown": f"First letters spell: {' '.join(hidden)}", "half": f"First letters spell: {half}",
                    "asked": "First letters spell a hidden word."}  # fmt: skip
        assert last == expected[row.acrostic]
        assert "".join(word.text[0] for word in answers(item)).upper() == hidden


@pytest.mark.parametrize("level", range(1, 51))
def test_the_opening_states_only_rules_that_hold(level: int) -> None:
    row = LEVELS[level]
    for item in items(level)[:3]:
        opening = item.user_prompt.split("\n")[0]
        assert ("left over" in opening) == bool(row.herrings)
        assert ("have no word" in opening or "has no word" in opening) == bool(row.decoys)
        assert ("missing letter" in opening) == bool(row.blanks)
        assert ("label" in opening) == (row.label != "p0")
        assert ("place" in opening) == (row.label == "p2")
        if row.herrings:
            assert f"{row.herrings} tile{'s are' if row.herrings > 1 else ' is'} left over" in opening
            assert len(item.assistant_response.split("unused: ")[1].split("\n")[0].split(" ")) == row.herrings


def test_only_level_1_is_in_order() -> None:
    for level in (1, 2, 3):
        for item in items(level):
            labels = re.findall(r"(\d)\.(\d):", item.user_prompt)
            assert (labels == sorted(labels)) == (level == 1)


@pytest.mark.parametrize("level", [n for n in range(2, 51) if {"R", "syl", "CL", "OV"} & set(LEVELS[n].new)])
def test_what_is_new_shows_in_every_puzzle(level: int) -> None:
    row, before = LEVELS[level], LEVELS[level - 1]
    for item in items(level):
        words, texts = answers(item), clues(item)
        if "R" in row.new:
            assert max(word.band for word in words) > before.band
        if "syl" in row.new:
            assert max(len(word.tiles) for word in words) == row.syllables[-1]
        if "CL" in row.new and row.rungs != (1,):
            weak = [
                text == word.clue(row.rungs[-1]) and text != word.gloss for word, text in zip(words, texts, strict=True)
            ]
            assert any(weak)
        if "OV" in row.new:
            tiles = Counter(tile for word in words for tile in set(word.tiles))
            assert max(tiles.values()) > 1


def test_overlap_rises_with_its_dial() -> None:
    def share(level: int) -> float:
        found = []
        for item in SKILL.generate(level, 25, seed=5):
            tiles = [tile for word in answers(item) for tile in word.tiles]
            found.append(1 - len(set(tiles)) / len(tiles))
        return sum(found) / len(found)

    assert share(19) == 0
    assert 0 < share(22) < share(38) < share(45)


@pytest.mark.parametrize("level", range(13, 51))
def test_herrings_are_of_their_kind(level: int) -> None:
    row = LEVELS[level]
    endings = {word.tiles for word in by_text().values()}
    for item in items(level):
        words = answers(item)
        own = {tile for word in words for tile in word.tiles}
        herrings = item.meta["herrings"]
        assert not own & set(herrings)
        near = [h for h in herrings if any((h, *word.tiles[1:]) in endings for word in words)]
        assert len(near) >= {0.0: 0, 0.5: -(-row.herrings // 2), 1.0: row.herrings}[row.near]
