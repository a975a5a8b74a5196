"""Finite levels: every puzzle of a level of two words, listed by the rules that the draw follows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from realm.guild.skills.sy.draw import hidden_words, leaking, tell_apart
from realm.guild.skills.sy.levels import LEVELS
from realm.guild.skills.sy.prompt import Clue, Puzzle
from realm.guild.skills.sy.unique import is_unique
from realm.guild.skills.sy.words import pool


def every_puzzle(level: int) -> Iterator[Puzzle]:
    """Yield the puzzles of level 1 or 2 with answers that training has; takes some ten seconds."""
    row = LEVELS[level]
    size, rung = row.syllables[0], row.rungs[0]
    for hidden in hidden_words(level, False):
        for pair in product(*(pool(letter, size, row.band, 0, (rung,), False) for letter in hidden)):
            tiles = [tile for word in pair for tile in word.tiles]
            if len(set(tiles)) < len(tiles) or not tell_apart(pair[0], rung, pair[1], rung):
                continue
            puzzle = Puzzle(row, hidden, tuple(Clue(word, rung, told=True) for word in pair), ())
            if not leaking(puzzle.clues) and is_unique(puzzle):
                yield puzzle
