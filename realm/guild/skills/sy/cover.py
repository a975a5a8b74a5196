"""The exact-cover solver: how many sets of words use the bank as the prompt says.

Tiles are counted in one integer: each distinct tile has four bits, the top one a guard, so that one subtraction shows
whether all tiles of a word are left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from operator import itemgetter

from realm.guild.skills.sy.words import Word, by_tile, formable, spellable

MAX_SAME = 7  # of one tile in a bank: three bits hold it
MISSING = "_"
DEFAULT_STEPS = 4_000


@dataclass(frozen=True, slots=True)
class Slot:
    """What the prompt tells about one word; None where it tells nothing."""

    syllables: int | None = None
    letters: int | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to make a word: its tiles packed, and how many they are."""

    word: Word
    need: int
    size: int


# A slot with a first letter: its place in the order, its choices, their least and most tiles.
Row = tuple[tuple[int, str, int, int], list[Choice], int, int]
_ORDER = itemgetter(0)


def _row(choices: Iterable[Choice], letter: str, slot: Slot) -> Row:
    fits = [
        c for c in choices if slot.syllables in (None, c.size) and slot.letters in (None, len(c.word.text))
    ]  # fmt: skip
    sizes = [choice.size for choice in fits] or [0]
    return (len(fits), letter, slot.syllables or 0, slot.letters or 0), fits, min(sizes), max(sizes)


@dataclass(slots=True)
class Cover:
    """The search over one bank: `left` tiles stay unused; a blank tile (`t__`) may end any word that fits it.

    `found` are the distinct sets of words, at most `limit`; `complete` is False when the search ran out of steps first.
    """

    bank: tuple[str, ...]
    left: int
    slots: Sequence[Slot]
    limit: int = 2
    steps: int = DEFAULT_STEPS
    found: set[frozenset[Word]] = field(default_factory=set)
    complete: bool = True
    _order: list[list[Choice]] = field(default_factory=list)
    _again: list[bool] = field(default_factory=list)
    _least: list[int] = field(default_factory=list)
    _most: list[int] = field(default_factory=list)
    _rows: dict[tuple[str, int], Row] = field(default_factory=dict)
    _kinds: list[int] = field(default_factory=list)
    _guard: int = 0

    def run(self, mask: str, likely: str = "") -> Cover:
        """Search with every acrostic word that fits a mask (`_` is any letter) and the bank; returns itself.

        The `likely` word is tried first: most second ways have the same acrostic.
        """
        counts = Counter(self.bank)
        self._kinds = [self.slots.index(slot) for slot in self.slots]
        places = {tile: 4 * place for place, tile in enumerate(counts)}
        self._guard = sum(8 << place for place in places.values())
        letters: dict[str, list[Choice]] = {}
        words: dict[str, set[Word]] = {}
        for choice in choices_of(counts, places):
            letters.setdefault(choice.word.text[0], []).append(choice)
            words.setdefault(choice.word.text[0], set()).add(choice.word)
        have = sum(count << places[tile] for tile, count in counts.items())
        used = len(self.bank) - self.left
        open_ = spellable(mask, {letter: len(known) for letter, known in words.items()})
        for hidden in sorted(open_, key=lambda word: word != likely):
            if self._lay_out(hidden, letters):
                self._search(0, have, used, 0, [])
            if len(self.found) >= self.limit or not self.complete:
                break
        return self

    def _lay_out(self, hidden: str, letters: dict[str, list[Choice]]) -> bool:
        """Order the slots, hardest first; equal slots stand together so that each set is met once."""
        rows = []
        for letter, kind in zip(hidden, self._kinds, strict=True):
            row = self._rows.get((letter, kind))
            if row is None:
                row = self._rows[letter, kind] = _row(letters.get(letter, ()), letter, self.slots[kind])
            if not row[1]:
                return False
            rows.append(row)
        rows.sort(key=_ORDER)
        self._order = [row[1] for row in rows]
        self._again = [False, *(a is b for a, b in pairwise(rows))]
        self._least, self._most = [0], [0]
        for _, _, least, most in reversed(rows):
            self._least.append(self._least[-1] + least)
            self._most.append(self._most[-1] + most)
        self._least.reverse()
        self._most.reverse()
        return self._least[0] <= len(self.bank) - self.left <= self._most[0]

    def _search(self, depth: int, have: int, used: int, start: int, chosen: list[Word]) -> None:
        if depth == len(self._order):
            self.found.add(frozenset(chosen))
            return
        self.steps -= 1
        if self.steps < 0:
            self.complete = False
            return
        guard, fits = self._guard, self._order[depth]
        least, most = self._least[depth + 1], self._most[depth + 1]
        for at in range(start if self._again[depth] else 0, len(fits)):
            choice = fits[at]
            rest = (have | guard) - choice.need
            if rest & guard != guard or not least <= used - choice.size <= most or choice.word in chosen:
                continue
            chosen.append(choice.word)
            self._search(depth + 1, rest ^ guard, used - choice.size, at + 1, chosen)
            chosen.pop()
            if len(self.found) >= self.limit or not self.complete:
                return


def blanked(tile: str) -> str:
    """Return a tile with all letters but the first missing."""
    return tile[0] + MISSING * (len(tile) - 1)


def choices_of(counts: Counter[str], places: dict[str, int]) -> Iterator[Choice]:
    """Yield every way to make a word of the table from a bank, with its own tiles or with one of them blank."""
    for word in formable(counts):
        yield Choice(word, sum(1 << places[tile] for tile in word.tiles), len(word.tiles))
    known = set(counts)
    for blank in counts:
        if MISSING not in blank:
            continue
        for gone in tiles_of_shape().get(blank, ()):
            for word in by_tile()[gone]:
                at = word.tiles.index(gone)
                rest = word.tiles[:at] + word.tiles[at + 1 :]
                if not known.issuperset(rest):
                    continue
                if len(set(rest)) == len(rest) or all(counts[tile] >= rest.count(tile) for tile in rest):
                    yield Choice(word, sum(1 << places[tile] for tile in (*rest, blank)), len(word.tiles))


@cache
def tiles_of_shape() -> dict[str, tuple[str, ...]]:
    """Return the tiles that a blank tile can stand for."""
    found: dict[str, list[str]] = {}
    for tile in by_tile():
        found.setdefault(blanked(tile), []).append(tile)
    return {shape: tuple(tiles) for shape, tiles in found.items() if MISSING in shape}
