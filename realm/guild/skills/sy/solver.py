"""The reference solver: works a puzzle out from the prompt text and the word table alone.

Independent of the generator on purpose: it goes clue by clue with the words that a clue is true of, where the generator
goes by the hard rules alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache

from realm.guild.skills.sy.reading import ReadClue, Reading, Unreadable, read_prompt
from realm.guild.skills.sy.words import POS_NAMES, Word, acrostics, all_words, first_clause

MAX_STEPS = 20_000
MAX_SAME = 7  # of one tile: three of its four bits, the last one is a guard
MAX_SOLUTIONS = 4


@dataclass(frozen=True, slots=True)
class Made:
    """A word and the tiles of the bank it is made of."""

    word: Word
    tiles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Solution:
    """One solution: what is made for each clue (None for a clue left out), and the acrostic."""

    made: tuple[Made | None, ...]
    hidden: str


@dataclass(frozen=True, slots=True)
class Solved:
    """A prompt with all its solutions; a generated puzzle has one."""

    reading: Reading
    solutions: tuple[Solution, ...]

    def text(self) -> str:
        """Return the answer in the golden format."""
        first = self.solutions[0]
        rows = [(number, made) for number, made in enumerate(first.made, 1) if made]
        lines = [f"{number}. {'+'.join(made.tiles)} = {made.word.text.upper()}" for number, made in rows]
        left = Counter(self.reading.bank) - Counter(tile for _, made in rows for tile in made.tiles)
        if left:
            lines.append("unused: " + " ".join(tile for tile in self.reading.bank if tile in left))
        return "\n".join([*lines, f"hidden: {first.hidden.upper()}"] if self.reading.asked else lines)

    def key(self, level: int) -> str:
        """Return the canonical key of the puzzle at a level."""
        all_made = [made for made in self.solutions[0].made if made]
        left = Counter(self.reading.bank) - Counter(tile for made in all_made for tile in made.tiles)
        blank = [f"{m.word.text}:{at}" for m in all_made for at, tile in enumerate(m.tiles, 1) if "_" in tile]
        parts = (sorted(made.word.text for made in all_made), sorted(left.elements()), sorted(blank))
        return "|".join([f"row{level}", *(",".join(part) for part in parts)])


@cache
def by_clue() -> dict[str, tuple[Word, ...]]:
    """Return the words that a clue text is true of."""
    found: dict[str, dict[Word, None]] = defaultdict(dict)
    for word in all_words():
        names = (word.gloss, first_clause(word.gloss), word.synonym, word.hypernym, word.grand, word.category)
        for text in (*names, POS_NAMES[word.pos]):
            if text:
                found[text][word] = None
    return {text: tuple(words) for text, words in found.items()}


@dataclass(frozen=True, slots=True)
class _Option:
    """Something the bank can make, the clues it is an answer to, and its tiles counted in four bits each."""

    made: Made
    clues: frozenset[int]
    need: int
    size: int


@dataclass(slots=True)
class _Search:
    """Word by word of the acrostic, the one with the fewest options first; then the clues in their order."""

    reading: Reading
    options: dict[str, list[_Option]]
    guard: int
    steps: int = MAX_STEPS
    found: list[Solution] = field(default_factory=list)

    def run(self, have: int) -> None:
        used, decoys = len(self.reading.tiles) - self.reading.left, self.reading.decoys
        for hidden in _acrostics(self.reading.mask, self.options.keys()):
            open_ = {
                at: [one for one in self.options[letter] if not one.clues.isdisjoint(range(at, at + decoys + 1))]
                for at, letter in enumerate(hidden)
            }  # fmt: skip
            self._go(hidden, open_, {}, have, used)

    def _go(
        self, hidden: str, open_: dict[int, list[_Option]], chosen: dict[int, _Option], have: int, used: int
    ) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise Unreadable("the puzzle is too open to be solved")
        if not open_:
            if used == 0:
                self._lay(hidden, [chosen[at] for at in range(len(hidden))], 0, ())
            return
        guard, taken, left = self.guard, {one.made.word for one in chosen.values()}, {}
        for at, options in open_.items():
            left[at] = [
                one for one in options
                if ((have | guard) - one.need) & guard == guard and one.made.word not in taken
            ]  # fmt: skip
            if not left[at]:
                return
        if not sum(min(o.size for o in fits) for fits in left.values()) <= used:
            return
        if not used <= sum(max(o.size for o in fits) for fits in left.values()):
            return
        at = min(left, key=lambda place: len(left[place]))
        for option in left.pop(at):
            self._go(hidden, left, {**chosen, at: option}, have - option.need, used - option.size)

    def _lay(self, hidden: str, row: list[_Option], clue: int, made: tuple[Made | None, ...]) -> None:
        """Give the words to the clues in order, leaving out as many clues as the prompt says."""
        if len(self.found) >= MAX_SOLUTIONS:
            return
        open_clues = len(self.reading.clues) - clue
        if not row:
            self.found.append(Solution((*made, *(None for _ in range(open_clues))), hidden))
            return
        if open_clues > len(row):
            self._lay(hidden, row, clue + 1, (*made, None))
        if clue in row[0].clues:
            self._lay(hidden, row[1:], clue + 1, (*made, row[0].made))


def _options(reading: Reading, places: dict[str, int]) -> dict[str, list[_Option]]:
    """Return what the bank can make for some clue, by first letter."""
    bank = Counter(reading.bank)
    clues: dict[Made, set[int]] = defaultdict(set)
    known: dict[tuple[ReadClue, int], list[Made]] = {}
    labelled = {tile.clue for tile in reading.tiles}
    for number, clue in enumerate(reading.clues):
        # Clues with one text and no labels have the same words: read once.
        key = (clue, number + 1 if number + 1 in labelled else 0)
        if key not in known:
            known[key] = list(_made(clue, number + 1, reading, bank))
        for made in known[key]:
            clues[made].add(number)
    found: dict[str, list[_Option]] = defaultdict(list)
    for made, numbers in clues.items():
        need = sum(1 << places[tile] for tile in made.tiles)
        found[made.word.text[0]].append(_Option(made, frozenset(numbers), need, len(made.tiles)))
    return dict(found)


def _acrostics(mask: str, firsts: Iterable[str]) -> Iterator[str]:
    letters = frozenset(firsts)
    for text in acrostics().get(len(mask), ()):
        if all(m in ("_", c) for m, c in zip(mask, text, strict=True)) and letters.issuperset(text):
            yield text


def _made(clue: ReadClue, number: int, reading: Reading, bank: Counter[str]) -> Iterator[Made]:
    """Yield the words a clue is true of that the bank can spell, by the labels where tiles have them."""
    known, spare = set(bank), any("_" in tile for tile in bank)
    labelled = [tile for tile in reading.tiles if tile.clue == number]
    for word in by_clue().get(clue.text, ()):
        if clue.syllables not in (None, len(word.tiles)) or clue.letters not in (None, len(word.text)):
            continue
        if clue.first not in (None, word.text[0]) or clue.pos not in (None, POS_NAMES[word.pos]):
            continue
        if not known.issuperset(word.tiles) and len([tile for tile in word.tiles if tile not in known]) > spare:
            continue
        for tiles in _spellings(word, bank):
            placed = sorted(labelled, key=lambda tile: tile.place)
            if placed and Counter(tile.text for tile in placed) != Counter(tiles):
                continue
            if not any(tile.place for tile in placed) or tuple(tile.text for tile in placed) == tiles:
                yield Made(word, tiles)


def _spellings(word: Word, bank: Counter[str]) -> Iterator[tuple[str, ...]]:
    """Yield the ways to lay a word from a bank: as it is, or with one tile whose later letters are missing."""
    need = Counter(word.tiles)
    short = [tile for tile in need if bank[tile] < need[tile]]
    if not short:
        yield word.tiles
    elif len(short) > 1 or need[short[0]] > bank[short[0]] + 1:
        return
    for place, tile in enumerate(word.tiles):
        worn = tile[0] + "_" * (len(tile) - 1)
        if len(tile) > 1 and bank[worn] and short in ([], [tile]):
            yield (*word.tiles[:place], worn, *word.tiles[place + 1 :])


@lru_cache(maxsize=256)
def solve_prompt(prompt: str) -> Solved:
    """Return the solutions of a prompt; raises Unreadable (a ValueError) for a text that is no puzzle or has none."""
    reading = read_prompt(prompt)
    bank = Counter(reading.bank)
    if reading.total not in (None, len(reading.tiles) - reading.left):
        raise Unreadable("the syllables in all are not the tiles in use")
    if max(bank.values()) > MAX_SAME:
        raise Unreadable(f"a tile stands more than {MAX_SAME} times in the bank")
    places = {tile: 4 * place for place, tile in enumerate(bank)}
    search = _Search(reading, _options(reading, places), sum(8 << place for place in places.values()))
    search.run(sum(count << places[tile] for tile, count in bank.items()))
    if not search.found:
        raise Unreadable("the word table has no solution")
    return Solved(reading, tuple(search.found))
