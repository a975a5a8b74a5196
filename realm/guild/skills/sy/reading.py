"""Reading a prompt back: the verifier's own view of a puzzle, made from the text alone."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_PROMPT = 20_000
MAX_CLUES = 16
MAX_TILES = 120
_OPENING = re.compile(
    r"Syllacrostic\. Build one word per clue from the tiles\. Use each tile once(?:; (\d{1,3}) tiles? (?:is|are) left over)?\."
    r"(?: A label names a tile's clue(?: and place)?\.)?(?: (\d{1,2}) clues? (?:has|have) no word: leave it out\.)?"
    r"(?: Each _ is a missing letter; no word has two such tiles\.)?"
)
_CLUE = re.compile(r"(\d{1,2})\. (?:\(([^()]*)\) )?(.+)")
_TILE = re.compile(r"(?:(\d{1,2})(?:\.(\d{1,2}))?:)?([a-z]+_*)")
_TOTAL = re.compile(r"Syllables in all: (\d{1,3})")
_ACROSTIC = re.compile(r"First letters spell: ([A-Z_](?: [A-Z_])*)")


class Unreadable(ValueError):
    """The text is not a prompt of this skill."""


@dataclass(frozen=True, slots=True)
class ReadClue:
    """One clue: its text, and what the parenthesis tells (None where it does not)."""

    text: str
    syllables: int | None
    letters: int | None
    first: str | None
    pos: str | None


@dataclass(frozen=True, slots=True)
class ReadTile:
    """One tile; `clue` and `place` are its label, 0 where it has none."""

    text: str
    clue: int
    place: int


@dataclass(frozen=True, slots=True)
class Reading:
    """All that a prompt says; `mask` is the acrostic in lower case with `_` for each letter not shown."""

    clues: tuple[ReadClue, ...]
    tiles: tuple[ReadTile, ...]
    left: int
    decoys: int
    total: int | None
    mask: str
    asked: bool

    @property
    def bank(self) -> tuple[str, ...]:
        return tuple(tile.text for tile in self.tiles)

    @property
    def words(self) -> int:
        return len(self.clues) - self.decoys


def read_prompt(prompt: str) -> Reading:
    """Read a prompt; raises Unreadable naming the first line that is not of the format."""
    if len(prompt) > MAX_PROMPT:
        raise Unreadable(f"longer than {MAX_PROMPT} characters")
    lines = prompt.split("\n")
    opening = _OPENING.fullmatch(lines[0])
    if opening is None:
        raise Unreadable("the first line is not that of a syllacrostic")
    clues: list[ReadClue] = []
    while len(clues) + 1 < len(lines) and (match := _CLUE.fullmatch(lines[len(clues) + 1])):
        if int(match[1]) != len(clues) + 1:
            raise Unreadable(f"clue {len(clues) + 1} is numbered {match[1]}")
        clues.append(_clue(match[2] or "", match[3]))
    rest = lines[len(clues) + 1 :]
    left, decoys = int(opening[1] or 0), int(opening[2] or 0)
    if not decoys < len(clues) <= MAX_CLUES:
        raise Unreadable(f"{len(clues)} clues")
    return _end(rest, tuple(clues), left, decoys)


def _end(rest: list[str], clues: tuple[ReadClue, ...], left: int, decoys: int) -> Reading:
    total = _TOTAL.fullmatch(rest[0]) if rest else None
    rest = rest[1:] if total else rest
    if len(rest) != 2 or not rest[0].startswith("Tiles: "):
        raise Unreadable("the lines after the clues are not the tiles and the first letters")
    tiles = tuple(_tile(text) for text in rest[0].removeprefix("Tiles: ").split(" "))
    asked = rest[1] == "First letters spell a hidden word."
    shown = _ACROSTIC.fullmatch(rest[1])
    mask = "_" * (len(clues) - decoys) if asked else shown[1].replace(" ", "").lower() if shown else ""
    if len(mask) != len(clues) - decoys:
        raise Unreadable("the first letters are not as many as the words")
    if len(tiles) > MAX_TILES or left >= len(tiles):
        raise Unreadable(f"{len(tiles)} tiles, {left} of them left over")
    return Reading(clues, tiles, left, decoys, int(total[1]) if total else None, mask, asked)


def _clue(told: str, text: str) -> ReadClue:
    facts: dict[str, str] = {}
    for part in told.split(", ") if told else []:
        found = re.fullmatch(
            r"(?P<pos>noun|verb|adjective|adverb)|(?P<syl>\d) syllables?|(?P<let>\d{1,2}) letters|starts with (?P<first>[A-Z])",
            part,
        )
        if found is None:
            raise Unreadable(f"{part!r} tells nothing about a word")
        facts.update({name: value for name, value in found.groupdict().items() if value})
    syllables, letters = facts.get("syl"), facts.get("let")
    return ReadClue(text, int(syllables) if syllables else None, int(letters) if letters else None,
                    facts.get("first", "").lower() or None, facts.get("pos"))  # fmt: skip


def _tile(text: str) -> ReadTile:
    found = _TILE.fullmatch(text)
    if found is None:
        raise Unreadable(f"{text[:40]!r} is no tile")
    return ReadTile(found[3], int(found[1] or 0), int(found[2] or 0))
