"""One solution: the bank is used in one way by the hard rules alone, and its words go to the clues in one order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from realm.guild.skills.sy.cover import Cover
from realm.guild.skills.sy.prompt import Clue, Puzzle
from realm.guild.skills.sy.words import Word, spellable


def is_unique(puzzle: Puzzle) -> bool:
    """Say whether a puzzle has exactly one solution; False also when the search ran out of steps."""
    if not one_order(puzzle):
        return False
    bank = tuple(tile for tiles in puzzle.split() for tile in tiles) + puzzle.herrings
    search = Cover(bank, len(puzzle.herrings), puzzle.slots()).run(puzzle.mask, puzzle.hidden)
    return search.complete and search.found == {frozenset(puzzle.answers)}


def one_order(puzzle: Puzzle) -> bool:
    """Say whether the answers go to the clues in one way only, by the acrostic, what clues show and what they say."""
    answers = puzzle.answers
    if puzzle.row.acrostic == "shown" and len(set(puzzle.hidden)) == len(answers) and not puzzle.row.decoys:
        return True
    firsts = Counter(word.text[0] for word in answers)
    found: set[tuple[str, ...]] = set()
    for hidden in spellable(puzzle.mask, firsts):
        _orders(hidden, puzzle.clues, list(answers), puzzle.row.letters, (), found)
        if len(found) > 1:
            return False
    return len(found) == 1


def _orders(
    hidden: str,
    clues: Sequence[Clue],
    left: list[Word],
    letters: bool,
    told: tuple[str, ...],
    found: set[tuple[str, ...]],
) -> None:
    if not left:
        found.add((*told, *("" for _ in clues)))
        return
    if len(clues) < len(left) or len(found) > 1:
        return
    clue = clues[0]
    if len(clues) > len(left):
        _orders(hidden, clues[1:], left, letters, (*told, ""), found)
    for word in left:
        if word.text[0] != hidden[0] or not word.fits(clue.text) or (letters and len(word.text) != len(clue.word.text)):
            continue
        if clue.told and len(word.tiles) != len(clue.word.tiles):
            continue
        rest = [other for other in left if other is not word]
        _orders(hidden[1:], clues[1:], rest, letters, (*told, word.text), found)
