"""A puzzle, and how its prompt and its answer are written: one format, and only rules that hold."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from realm.guild.skills.sy.cover import MISSING, Slot, blanked
from realm.guild.skills.sy.levels import Level
from realm.guild.skills.sy.words import POS_NAMES, Word

OPENING = "Syllacrostic. Build one word per clue from the tiles. Use each tile once"
LABELS = {"p2": "A label names a tile's clue and place.", "p1": "A label names a tile's clue.", "p0": ""}


@dataclass(frozen=True, slots=True)
class Clue:
    """One clue: `word` is its answer, or what a decoy tells of; `told` says whether its syllables are shown."""

    word: Word
    rung: int
    told: bool = False
    decoy: bool = False

    @property
    def text(self) -> str:
        return self.word.clue(self.rung)


@dataclass(frozen=True, slots=True)
class Puzzle:
    """All that is decided of a puzzle but the order of its bank; `blanks` are (answer, place) of blank tiles."""

    row: Level
    hidden: str
    clues: tuple[Clue, ...]
    herrings: tuple[str, ...]
    blanks: tuple[tuple[int, int], ...] = ()

    @property
    def answers(self) -> tuple[Word, ...]:
        return tuple(clue.word for clue in self.clues if not clue.decoy)

    @property
    def told_syllables(self) -> tuple[bool, ...]:
        return tuple(clue.told for clue in self.clues if not clue.decoy)

    @property
    def mask(self) -> str:
        """The acrostic as it is shown, `_` for a letter that is not."""
        if self.row.acrostic == "shown":
            return self.hidden
        if self.row.acrostic == "half":
            return "".join(letter if place % 2 == 0 else MISSING for place, letter in enumerate(self.hidden))
        return MISSING * len(self.hidden)

    def slots(self) -> list[Slot]:
        """Return what is told of each word, for the cover search."""
        letters = self.row.letters
        return [
            Slot(len(word.tiles) if told else None, len(word.text) if letters else None)
            for word, told in zip(self.answers, self.told_syllables, strict=True)
        ]

    def split(self) -> list[list[str]]:
        """Return the tiles of each answer as the bank shows them."""
        tiles = [list(word.tiles) for word in self.answers]
        for answer, place in self.blanks:
            tiles[answer][place] = blanked(tiles[answer][place])
        return tiles

    def key(self) -> str:
        """Return the canonical key: answers, herrings, blank tiles and dial row, without any order."""
        blank = sorted(f"{self.answers[a].text}:{p + 1}" for a, p in self.blanks)
        parts = (sorted(word.text for word in self.answers), sorted(self.herrings), blank)
        return "|".join([f"row{self.row.level}", *(",".join(part) for part in parts)])


def plural(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def rules(row: Level) -> str:
    """Return the first line: what holds for a puzzle of this row."""
    text = OPENING
    if row.herrings:
        text += f"; {plural(row.herrings, 'tile is', 'tiles are')} left over"
    text += "."
    if LABELS[row.label]:
        text += f" {LABELS[row.label]}"
    if row.decoys:
        text += f" {plural(row.decoys, 'clue has', 'clues have')} no word: leave it out."
    if row.blanks:
        text += f" Each {MISSING} is a missing letter; no word has two such tiles."
    return text


def clue_line(number: int, clue: Clue, row: Level) -> str:
    """Return one clue as the prompt shows it."""
    told = [POS_NAMES[clue.word.pos]] if clue.rung == 0 else []
    if clue.told:
        told.append(plural(len(clue.word.tiles), "syllable", "syllables"))
    if row.letters:
        told.append(f"{len(clue.word.text)} letters")
    if row.first_letter:
        told.append(f"starts with {clue.word.text[0].upper()}")
    return f"{number}. {'(' + ', '.join(told) + ') ' if told else ''}{clue.text}"


def bank_order(puzzle: Puzzle, rng: Random) -> list[tuple[str, str]]:
    """Return the bank as (label, tile), shuffled where the row asks for it and then never in order."""
    ordered = [
        (f"{number}.{place}" if puzzle.row.label == "p2" else f"{number}" if puzzle.row.label == "p1" else "", tile)
        for number, tiles in enumerate(puzzle.split(), 1) for place, tile in enumerate(tiles, 1)
    ]  # fmt: skip
    ordered += [("", tile) for tile in puzzle.herrings]
    if not puzzle.row.shuffled:
        return ordered
    bank = ordered.copy()
    while bank == ordered:
        rng.shuffle(bank)
    return bank


def write_prompt(puzzle: Puzzle, bank: list[tuple[str, str]]) -> str:
    """Return the whole prompt."""
    row = puzzle.row
    lines = [rules(row), *(clue_line(number, clue, row) for number, clue in enumerate(puzzle.clues, 1))]
    if row.counts == "total":
        lines.append(f"Syllables in all: {sum(len(word.tiles) for word in puzzle.answers)}")
    lines.append("Tiles: " + " ".join(f"{label}:{tile}" if label else tile for label, tile in bank))
    shown = " ".join(puzzle.mask.upper())
    lines.append("First letters spell a hidden word." if row.acrostic == "asked" else f"First letters spell: {shown}")
    return "\n".join(lines)


def write_answer(puzzle: Puzzle, bank: list[tuple[str, str]]) -> str:
    """Return the golden answer; unused tiles stand in the bank's order."""
    lines, tiles = [], iter(puzzle.split())
    for number, clue in enumerate(puzzle.clues, 1):
        if not clue.decoy:
            lines.append(f"{number}. {'+'.join(next(tiles))} = {clue.word.text.upper()}")
    if puzzle.herrings:
        unused = set(puzzle.herrings)
        lines.append("unused: " + " ".join(tile for _, tile in bank if tile in unused))
    if puzzle.row.acrostic == "asked":
        lines.append(f"hidden: {puzzle.hidden.upper()}")
    return "\n".join(lines)
