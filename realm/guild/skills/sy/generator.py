"""The generator: item i of a call is a pure function of (level, split, style, seed, i, attempt); calls only skip attempts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count, islice
from random import Random

from realm.core.errors import BadInput
from realm.core.seeds import derive_seed
from realm.guild.skills.split import split_of
from realm.guild.skills.sy.draw import draw_puzzle
from realm.guild.skills.sy.levels import FOREIGN_STYLES, LEVELS, STYLES, Level
from realm.guild.skills.sy.prompt import Puzzle, bank_order, write_answer, write_prompt
from realm.guild.skills.sy.unique import is_unique
from realm.guild.skills.types import Item, Split

SKILL = "sy"
VERSION = "1.0.0"
STATIC_COUNT = 5
FINITE_LEVELS = {1: 33_009, 2: 33_009}  # level -> number of distinct puzzles, counted (space.py)
_MOST_ATTEMPTS = 20_000  # of one item: far beyond what split and uniqueness need (some hundreds)
_PATIENCE = 300  # duplicates drawn in a row before an item may repeat


def candidate(row: Level, split: str, style: str, seed: int, index: int, attempt: int) -> tuple[Puzzle, Random] | None:
    """Return one draw with its random numbers, or None; it is in its split's partition, its uniqueness is not checked."""
    rng = Random(derive_seed(SKILL, row.level, seed, split, style, index, attempt))
    puzzle = draw_puzzle(rng, row, style == "unseen")
    part = "train" if split == "train" else "eval"
    if puzzle is None or split_of(SKILL, row.level, puzzle.key()) != part:
        return None
    return puzzle, rng


def write(puzzle: Puzzle, rng: Random, split: str, style: str, repeat: bool = False) -> Item:
    """Write a puzzle down as an item."""
    bank = bank_order(puzzle, rng)
    text, row = write_prompt(puzzle, bank), puzzle.row
    digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return Item(
        id=f"{SKILL}-L{row.level}-{digest}", skill=SKILL, version=VERSION, level=row.level, split=split,
        user_prompt=text, assistant_response=write_answer(puzzle, bank), key=puzzle.key(),
        tags=("syllacrostic", style, *(("repeat",) if repeat else ())),
        meta={"style": style, "hidden": puzzle.hidden, "words": [word.text for word in puzzle.answers],
              "herrings": list(puzzle.herrings)},
    )  # fmt: skip


def styles_for(split: str, asked: Mapping[str, float] | None) -> dict[str, float]:
    """Return the weights of the styles asked for, without those of other skills, which take no part: alone they mean `brief`.

    `brief` has answers that training has, `unseen` has none of them, so it exists outside training only. Raises BadInput
    for an unknown style, a negative weight, or when none is left.
    """
    if asked is None:
        return {"brief": 1.0}
    for name, weight in asked.items():
        if name not in STYLES + FOREIGN_STYLES:
            raise BadInput(f"unknown answer style {name!r}", hint=f"known: {', '.join(STYLES)}")
        if not 0 <= weight < float("inf"):
            raise BadInput(f"weight of style {name!r} is {weight}", hint="a number from 0 up is needed")
    kept = {name: float(asked[name]) for name in STYLES if asked.get(name)}
    if split == "train" and "unseen" in kept:
        raise BadInput("puzzles of unseen words are no training rows", hint="ask for split eval")
    if not kept and any(weight for name, weight in asked.items() if name in FOREIGN_STYLES):
        return {"brief": 1.0}
    if not kept:
        raise BadInput(f"this skill offers none of {sorted(asked)}", hint=f"offered: {', '.join(STYLES)}")
    return kept


@dataclass(slots=True)
class Stream:
    """The items of one call: what is asked for, the keys given so far, and those never to give (the static eval set)."""

    row: Level
    split: Split
    seed: int
    styles: Mapping[str, float]
    avoid: frozenset[str] = frozenset()
    seen: set[str] = field(default_factory=set)

    def __iter__(self) -> Iterator[Item]:
        """Yield items without end; one that repeats because the level has next to nothing else is tagged "repeat"."""
        return map(self.item, count())

    def item(self, index: int) -> Item:
        """Return the next item: the first attempt of this index that is new, in its partition and has one solution."""
        style, duplicates = self._style(index), 0
        for attempt in range(_MOST_ATTEMPTS):
            found = candidate(self.row, self.split, style, self.seed, index, attempt)
            if found is None or (key := found[0].key()) in self.avoid:
                continue
            repeat = key in self.seen
            if repeat and (duplicates := duplicates + 1) < _PATIENCE:
                continue
            if is_unique(found[0]):
                self.seen.add(key)
                return write(*found, self.split, style, repeat)
        raise BadInput(f"no {self.split} puzzle of level {self.row.level} found in style {style}",
                       hint="ask for another style or level")  # fmt: skip

    def _style(self, index: int) -> str:
        if len(self.styles) == 1:
            return next(iter(self.styles))
        mark = Random(derive_seed(SKILL, self.row.level, self.seed, self.split, "style", index))
        return mark.choices(list(self.styles), list(self.styles.values()))[0]


@lru_cache(maxsize=64)
def static_items(level: int) -> tuple[Item, ...]:
    """Return the five fixed eval items of a level, from the eval partition, seeded by their address."""
    seed = derive_seed(SKILL, "static-eval", level)
    return tuple(islice(Stream(LEVELS[level], "eval", seed, {"brief": 1.0}), STATIC_COUNT))


@lru_cache(maxsize=64)
def static_keys(level: int) -> frozenset[str]:
    """Return the keys of the static eval set, which no other call gives out."""
    return frozenset(item.key for item in static_items(level))
