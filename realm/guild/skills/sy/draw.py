"""Drawing one puzzle: hidden word, answers, clues, herrings, decoy and blank tiles, by the dials of a level.

What is new at a level shows in each of its puzzles: one slot, the special one, has a word of the new band, of the longest
kind, with the weakest rung or sharing a tile. So the prompts of two neighbouring levels differ in form.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from random import Random

from realm.guild.skills.sy.cover import MAX_SAME, blanked
from realm.guild.skills.sy.levels import LEVELS, Level
from realm.guild.skills.sy.prompt import Clue, Puzzle
from realm.guild.skills.sy.words import Word, acrostics, all_words, pool

_TRIES = 8
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"


@lru_cache(maxsize=128)
def hidden_words(level: int, held_out: bool) -> tuple[str, ...]:
    """Return the acrostic words of a level whose every letter begins some word of its pool."""
    row = LEVELS[level]
    letters = {
        letter for letter in _ALPHABET
        if any(pool(letter, s, row.band, 0, (r,), held_out) for s in row.syllables for r in row.rungs)
    }  # fmt: skip
    return tuple(text for text in acrostics()[row.words] if letters.issuperset(text))


def draw_puzzle(rng: Random, row: Level, held_out: bool = False) -> Puzzle | None:
    """Return a candidate, or None when the draw ran into something a puzzle may not have; uniqueness is not checked."""
    known = hidden_words(row.level, held_out)
    if not known:
        return None
    hidden = rng.choice(known)
    special = rng.randrange(1, row.words)
    chosen: list[tuple[Word, int]] = []
    for place, letter in enumerate(hidden):
        found = _draw_word(rng, row, letter, chosen, place == special, held_out)
        if found is None:
            return None
        chosen.append(found)
    clues = _with_decoys(rng, row, _clues(rng, row, chosen), held_out)
    blanks = _blanks(rng, row, [word for word, _ in chosen])
    if clues is None or blanks is None or leaking(clues):
        return None
    puzzle = Puzzle(row, hidden, clues, (), blanks)
    herrings = _herrings(rng, row, puzzle)
    return None if herrings is None else Puzzle(row, hidden, clues, herrings, blanks)


def _draw_word(
    rng: Random, row: Level, letter: str, chosen: Sequence[tuple[Word, int]], special: bool, held_out: bool
) -> tuple[Word, int] | None:
    news = row.new if special else ()
    least = row.band_before + 1 if "R" in news else 0
    sizes = [row.syllables[-1]] if "syl" in news else rng.sample(row.syllables, len(row.syllables))
    rung = row.rungs[-1] if "CL" in news else rng.choice(row.rungs)
    words: Sequence[Word] = next((p for s in sizes if (p := pool(letter, s, row.band, least, (rung,), held_out))), ())
    used = {tile for word, _ in chosen for tile in word.tiles}
    if row.overlap and ("OV" in news or rng.random() < 2 * row.overlap):
        sharing = [word for word in words if not used.isdisjoint(word.tiles)]
        words = sharing if sharing or "OV" in news else words
    for _ in range(_TRIES if words else 0):
        word = rng.choice(words)
        disjoint = row.overlap or (used.isdisjoint(word.tiles) and len(set(word.tiles)) == len(word.tiles))
        fresh = "CL" not in news or row.rungs != (2,) or word.clue(2) != word.gloss
        if disjoint and fresh and all(tell_apart(word, rung, other, theirs) for other, theirs in chosen):
            return word, rung
    return None


def tell_apart(word: Word, rung: int, other: Word, theirs: int) -> bool:
    """No two answers share a synset, and two with the same first letter have clues that fit one alone."""
    if word is other or word.synsets[0] in other.synsets or other.synsets[0] in word.synsets:
        return False
    return word.text[0] != other.text[0] or not (word.fits(other.clue(theirs)) and other.fits(word.clue(rung)))


def _clues(rng: Random, row: Level, chosen: Sequence[tuple[Word, int]]) -> list[Clue]:
    told = {"all": len(chosen), "half": len(chosen) // 2, "total": 0}[row.counts]
    places = set(range(len(chosen)) if told == len(chosen) else rng.sample(range(len(chosen)), told))
    return [Clue(word, rung, place in places) for place, (word, rung) in enumerate(chosen)]


def _with_decoys(rng: Random, row: Level, clues: list[Clue], held_out: bool) -> tuple[Clue, ...] | None:
    """Put the decoy clues in: each of a word that is no answer, told in words that its neighbours are not told in."""
    for _ in range(row.decoys):
        words = [word for size in row.syllables for word in _any_letter(size, row, held_out)]
        for _ in range(_TRIES):
            decoy = Clue(rng.choice(words), rng.choice(row.rungs), decoy=True)
            at = rng.randint(0, len(clues))
            apart = all(tell_apart(decoy.word, decoy.rung, clue.word, clue.rung) for clue in clues)
            if decoy.text and apart and all(clue.text != decoy.text for clue in clues[max(0, at - 1) : at + 1]):
                clues.insert(at, decoy)
                break
        else:
            return None
    return tuple(clues)


@lru_cache(maxsize=64)
def _any_letter(size: int, row: Level, held_out: bool) -> tuple[Word, ...]:
    return tuple(word for letter in _ALPHABET for word in pool(letter, size, row.band, 0, row.rungs, held_out))


def leaking(clues: Iterable[Clue]) -> bool:
    text = "\n".join(clue.text.lower() for clue in clues)
    return any(part in text for clue in clues if not clue.decoy for part in clue.word.barred)


def _blanks(rng: Random, row: Level, words: Sequence[Word]) -> tuple[tuple[int, int], ...] | None:
    """Choose the tiles to blank: of different words and shapes, of two letters up, and once in the bank.

    Were such a tile there twice, the blank one could stand for either.
    """
    found: list[tuple[int, int]] = []
    often = Counter(tile for word in words for tile in word.tiles) if row.blanks else Counter[str]()
    for answer in sorted(rng.sample(range(len(words)), row.blanks)):
        places = [place for place, tile in enumerate(words[answer].tiles) if len(tile) > 1 and often[tile] == 1]
        if not places:
            return None
        found.append((answer, rng.choice(places)))
    shapes = {blanked(words[answer].tiles[place]) for answer, place in found}
    return tuple(found) if len(shapes) == row.blanks else None


@cache
def _tile_draws() -> tuple[str, ...]:
    """All tiles, each as often as words have it."""
    return tuple(tile for word in all_words() for tile in word.tiles)


@cache
def _by_ending() -> dict[tuple[str, ...], tuple[Word, ...]]:
    found: dict[tuple[str, ...], list[Word]] = {}
    for word in all_words():
        found.setdefault(word.tiles[1:], []).append(word)
    return {tiles: tuple(words) for tiles, words in found.items() if len(words) > 1}


def near_misses(words: Iterable[Word]) -> list[str]:
    """Return the tiles that make another word in place of an answer's first tile, with another first letter.

    Any other near miss would make a second way to use the bank: the word it makes would fit the acrostic.
    """
    return [
        other.tiles[0] for word in words for other in _by_ending().get(word.tiles[1:], ()) if other.text[0] != word.text[0]
    ]  # fmt: skip


def _herrings(rng: Random, row: Level, puzzle: Puzzle) -> tuple[str, ...] | None:
    """Draw the herrings: distinct tiles that no answer has, the near ones first."""
    bank = Counter(tile for tiles in puzzle.split() for tile in tiles)
    if max(bank.values()) > MAX_SAME:
        return None
    taken = {tile for word in puzzle.answers for tile in word.tiles} | bank.keys()
    found: list[str] = []
    near = row.herrings if row.near == 1 else -(-row.herrings // 2) if row.near else 0
    if near:
        open_ = sorted(set(near_misses(puzzle.answers)) - taken)
        if len(open_) < near:
            return None
        found = rng.sample(open_, near)
    while len(found) < row.herrings:
        tile = rng.choice(_tile_draws())
        if tile not in taken and tile not in found:
            found.append(tile)
    return tuple(sorted(found))
