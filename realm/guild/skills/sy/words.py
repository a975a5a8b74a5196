"""The word table: what `words.tsv` and `acrostics.txt` hold, and the ways words are looked up.

Both files are made by scripts/build_sy_words.py; a word's tiles are its syllables in spelling. A clue's rung is its
place on the ladder c0 (full definition and part of speech) to c5 (part of speech alone).
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

from realm.core.errors import Corrupt
from realm.guild.skills.sy.leaks import fragments

POS_NAMES = {"n": "noun", "v": "verb", "a": "adjective", "r": "adverb"}
HELD_OUT_OF = 10  # one word in ten is never an answer in training
_RELATIVE = (" that ", " which ", " who ", " whose ", " where ", " when ", " especially ", " usually ")
_CUTS = (";", ",", ":", " (")


@dataclass(frozen=True, slots=True, eq=False)
class Word:
    """One row: `band` is SCOWL's (lower is commoner), `synsets` begins with the sense the clues tell.

    Compared and hashed by identity: there is one object for each row.
    """

    text: str
    tiles: tuple[str, ...]
    band: int
    pos: str
    gloss: str
    synsets: tuple[str, ...]
    synonym: str
    hypernym: str
    grand: str
    category: str

    def clue(self, rung: int) -> str:
        """Return the clue of a rung of the ladder, "" where the word has none."""
        match rung:
            case 0 | 1:
                return self.gloss
            case 2:
                return first_clause(self.gloss)
            case 3:
                return self.synonym or self.hypernym
            case 4:
                return self.grand or ("" if self.category in POS_NAMES.values() else self.category)
        return POS_NAMES[self.pos]

    def fits(self, clue: str) -> bool:
        """Say whether a clue is true of the word, as far as the table tells."""
        if clue in (self.gloss, self.synonym, self.hypernym, self.grand, self.category, POS_NAMES[self.pos]):
            return True
        return clue == first_clause(self.gloss)

    @property
    def barred(self) -> tuple[str, ...]:
        """What may stand in no clue of a puzzle that has this answer."""
        return fragments(self.text, self.tiles)


def first_clause(gloss: str) -> str:
    """Return a definition up to its first clause mark or relative word, at least two words of it."""
    ends = [at for mark in (*_CUTS, *_RELATIVE) if (at := gloss.find(mark)) >= 0 and " " in gloss[:at].strip()]
    return gloss[: min(ends, default=len(gloss))].strip()


def is_held_out(text: str) -> bool:
    """Say whether a word is kept out of training answers: `blake2b("sy|word|<word>") mod 10` is 0."""
    digest = hashlib.blake2b(f"sy|word|{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % HELD_OUT_OF == 0


def shipped_text(name: str) -> str:
    """Return the text of a file beside this module."""
    return files("realm.guild.skills.sy").joinpath(name).read_text(encoding="ascii")


@cache
def all_words() -> tuple[Word, ...]:
    """Read the table; raises Corrupt naming the first line that is no row."""
    head, *lines = shipped_text("words.tsv").splitlines()
    columns = len(head.split("\t"))
    found = []
    for number, line in enumerate(lines, 2):
        cells = line.split("\t")
        if len(cells) != columns or cells[1].replace("+", "") != cells[0]:
            raise Corrupt(f"words.tsv:{number} is no row of the word table", hint="install the package again")
        text, tiles, band, pos, gloss, synsets, *rest = cells
        found.append(Word(text, tuple(tiles.split("+")), int(band), pos, gloss, tuple(synsets.split()), *rest))
    return tuple(found)


@cache
def by_text() -> dict[str, Word]:
    return {word.text: word for word in all_words()}


@cache
def by_tile() -> dict[str, tuple[Word, ...]]:
    """Return the words that have a tile."""
    found: dict[str, list[Word]] = defaultdict(list)
    for word in all_words():
        for tile in dict.fromkeys(word.tiles):
            found[tile].append(word)
    return {tile: tuple(words) for tile, words in found.items()}


@cache
def _by_rarest_tile() -> dict[str, tuple[Word, ...]]:
    found: dict[str, list[Word]] = defaultdict(list)
    shares = by_tile()
    for word in all_words():
        found[min(word.tiles, key=lambda tile: (len(shares[tile]), tile))].append(word)
    return {tile: tuple(words) for tile, words in found.items()}


def formable(bank: Counter[str]) -> list[Word]:
    """Return the words of the table that a bank of tiles can spell, each alone."""
    index = _by_rarest_tile()
    near = [word for tile in bank for word in index.get(tile, ()) if all(part in bank for part in word.tiles)]
    return [w for w in near if len(set(w.tiles)) == len(w.tiles) or Counter(w.tiles) <= bank]


@cache
def acrostics() -> dict[int, tuple[str, ...]]:
    """Return the words that first letters may spell, by length."""
    found: dict[int, list[str]] = defaultdict(list)
    for text in shipped_text("acrostics.txt").split():
        found[len(text)].append(text)
    return {length: tuple(texts) for length, texts in found.items()}


@cache
def _letter_sets() -> dict[int, tuple[tuple[str, int], ...]]:
    return {length: tuple((text, _letters(text)) for text in texts) for length, texts in acrostics().items()}


def _letters(text: Iterable[str]) -> int:
    """Return the letters of a text as one bit each."""
    found = 0
    for letter in text:
        found |= 1 << (ord(letter) - ord("a"))
    return found


def spellable(mask: str, have: Mapping[str, int]) -> list[str]:
    """Return the acrostic words that fit a mask (`_` is any letter) with so many first letters of each kind to be had."""
    gone = ~_letters(letter for letter, number in have.items() if number)
    near = [text for text, needed in _letter_sets().get(len(mask), ()) if not needed & gone]
    if mask.strip("_"):
        near = [t for t in near if all(m in ("_", c) for m, c in zip(mask, t, strict=True))]
    return [t for t in near if len(set(t)) == len(t) or all(have[letter] >= t.count(letter) for letter in t)]


@cache
def _by_start() -> dict[tuple[str, int], tuple[Word, ...]]:
    found: dict[tuple[str, int], list[Word]] = defaultdict(list)
    for word in all_words():
        found[word.text[0], len(word.tiles)].append(word)
    return {start: tuple(words) for start, words in found.items()}


@lru_cache(maxsize=8192)
def pool(
    letter: str, syllables: int, most_band: int, least_band: int, rungs: tuple[int, ...], held_out: bool
) -> tuple[Word, ...]:
    """Return the words for a slot: their first letter, syllables and band, with a clue on every rung, held out or not."""
    return tuple(
        word for word in _by_start().get((letter, syllables), ())
        if least_band <= word.band <= most_band
        and all(word.clue(rung) for rung in rungs) and is_held_out(word.text) == held_out
    )  # fmt: skip
