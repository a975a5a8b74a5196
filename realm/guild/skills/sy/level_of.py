"""The levels that can pose a puzzle, read from its prompt alone; what a file claims about itself plays no part.

Most dials show in the prompt or in its solution. Two neighbouring levels can pose the same puzzle only where a dial says
how often something happens (overlap, near herrings, the mixed clue rungs).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from realm.guild.skills.sy.levels import LEVELS, Level
from realm.guild.skills.sy.reading import Reading
from realm.guild.skills.sy.solver import Made, Solved, solve_prompt

OPENING = "Syllacrostic. "
_END = "First letters spell"
MOST_PUZZLES = 8
MOST_TEXT = 200_000


@dataclass(frozen=True)
class Content:
    """What a puzzle can be: level -> its canonical key there."""

    keys: dict[int, str]


def content_of(prompt: str) -> Content:
    """Return the levels and keys of a prompt; raises Unreadable (a ValueError) when it is no puzzle of any level."""
    solved = solve_prompt(prompt)
    return Content({level: solved.key(level) for level in levels_of(solved)})


def levels_of(solved: Solved) -> list[int]:
    """Return every level whose dials a solved puzzle meets, lowest first; may be empty."""
    made = [one for one in solved.solutions[0].made if one]
    return [row.level for row in LEVELS.values() if _shown(row, solved.reading) and _meant(row, solved, made)]


def _shown(row: Level, reading: Reading) -> bool:
    """Compare the dials that stand in the prompt."""
    told = sum(clue.syllables is not None for clue in reading.clues)
    counts = "total" if reading.total is not None else "all" if told == reading.words else "half"
    label = "p2" if any(t.place for t in reading.tiles) else "p1" if any(t.clue for t in reading.tiles) else "p0"
    acrostic = "asked" if reading.asked else "half" if "_" in reading.mask else "shown"
    blanks = sum("_" in tile.text for tile in reading.tiles)
    found = (reading.words, counts, label, acrostic, blanks, reading.left, reading.decoys)
    if found != (row.words, row.counts, row.label, row.acrostic, row.blanks, row.herrings, row.decoys):
        return False
    letters = all(clue.letters is not None for clue in reading.clues)
    first = all(clue.first is not None for clue in reading.clues)
    return (letters, first) == (row.letters, row.first_letter) and _in_order(reading) != row.shuffled


def _in_order(reading: Reading) -> bool:
    """Only labels show an order; a bank without them counts as shuffled, as it is from level 2 on."""
    places = [(tile.clue, tile.place) for tile in reading.tiles]
    return all(place > 0 for _, place in places) and places == sorted(places)


def _meant(row: Level, solved: Solved, made: list[Made]) -> bool:
    """Compare the dials that show in the words: syllables, rarity, rungs of the clues, and what is new at the level."""
    words = [one.word for one in made]
    answered = zip(solved.reading.clues, solved.solutions[0].made, strict=True)
    rungs = [[r for r in row.rungs if one.word.clue(r) == clue.text and (r == 0) == (clue.pos is not None)]
             for clue, one in answered if one]  # fmt: skip
    if not all(rungs) or any(word.band > row.band or len(word.tiles) not in row.syllables for word in words):
        return False
    tiles = [tile for word in words for tile in word.tiles]
    shared = len(set(tiles)) < len(tiles)
    new = {
        "R": any(word.band > row.band_before for word in words),
        "syl": any(len(word.tiles) == row.syllables[-1] for word in words),
        "CL": any(row.rungs[-1] in fits for fits in rungs),
        "OV": shared,
    }  # fmt: skip
    return (row.overlap > 0 or not shared) and all(new.get(dial, True) for dial in row.new)


def puzzles_in(text: str) -> Iterator[str]:
    """Yield what may be prompts in a text: from the opening to the line on the first letters."""
    lines = text[:MOST_TEXT].split("\n")
    starts = [number for number, line in enumerate(lines) if OPENING in line][:MOST_PUZZLES]
    for start in starts:
        end = next((n for n in range(start, min(len(lines), start + 40)) if lines[n].startswith(_END)), None)
        if end is not None:
            head = lines[start][lines[start].index(OPENING) :]
            yield "\n".join([head.rstrip(), *(line.strip() for line in lines[start + 1 : end]), _last(lines[end])])


def _last(line: str) -> str:
    """Return the last line of a prompt without what may stand after it."""
    whole = "First letters spell a hidden word."
    if line.startswith(whole):
        return whole
    shown = line.removeprefix(f"{_END}: ").split(" ")
    kept = next((n for n, letter in enumerate(shown) if len(letter) != 1 or not (letter.isupper() or letter == "_")), len(shown))
    return f"{_END}: " + " ".join(shown[:kept])
