"""The generator: item i of a call is a pure function of (level, split, seed, i, attempt); calls only skip attempts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import count, islice
from random import Random

from realm.core.errors import BadInput
from realm.core.seeds import derive_seed
from realm.guild.skills.bin.forms import Problem, Slot, level_needed, pose
from realm.guild.skills.bin.levels import LEVELS, NEW_SHARE, STYLES, Level
from realm.guild.skills.bin.space import every_problem
from realm.guild.skills.bin.styles import response
from realm.guild.skills.bin.surface import Surface, canonical_key, draw_keys, plain_surface, prompt, rules
from realm.guild.skills.split import split_of
from realm.guild.skills.types import Item, Split

SKILL = "bin"
VERSION = "2.1.0"
BLOCK = 20  # novelty and truth are dealt exactly within each block of items
STATIC_COUNT = 5
FINITE_LEVELS = {1: 3052, 2: 45831}  # level -> number of distinct problems, counted (see skill.py)
_MOST_ATTEMPTS = 4000  # of one item: far beyond what split and level need (about 40)
_BOUND = 40  # duplicates in a row (or ten times the attempts) after which an item may nest otherwise than dealt: some run out
_PATIENCE = {1: 8, 2: 60}  # further duplicates before a finite level is listed and what is left is dealt out


@dataclass(frozen=True, slots=True)
class Draw:
    """One candidate: a problem of its level, before it is written down."""

    problem: Problem
    style: str
    key: str
    rng: Random
    novel: bool


@dataclass(frozen=True, slots=True)
class Deal:
    """What is decided for an item before any attempt: its slot, and where in [0, 1) its style falls."""

    slot: Slot
    style_mark: float


@lru_cache(maxsize=256)
def _block(level: int, split: str, seed: int, number: int) -> tuple[Deal, ...]:
    """Deal one block: 60 % novel, half of those and of the rest true, one style mark and one mark of nesting in every
    twentieth of [0, 1)."""
    rng = Random(derive_seed(SKILL, level, seed, split, "block", number))
    places, marks, chains = list(range(BLOCK)), _marks(rng), _marks(rng)
    rng.shuffle(places)
    nested = LEVELS[level].nested_in(split)
    slots = [
        Slot(place < NEW_SHARE * BLOCK, place % 2 == 0, chain, nested)
        for place, chain in zip(places, chains, strict=True)
    ]
    return tuple(Deal(slot, mark) for slot, mark in zip(slots, marks, strict=True))


def _marks(rng: Random) -> list[float]:
    marks = [(place + rng.random()) / BLOCK for place in range(BLOCK)]
    rng.shuffle(marks)
    return marks


@dataclass(frozen=True, slots=True)
class Try:
    """The address of a draw: the item's index, which attempt it is, and whether the nesting dealt still binds."""

    index: int
    attempt: int
    bound: bool = True


def candidate(row: Level, split: str, seed: int, turn: Try, styles: Mapping[str, float]) -> Draw | None:
    """Return one draw, or None when it ran into something that may not be asked at this level."""
    deal = _block(row.level, split, seed, turn.index // BLOCK)[turn.index % BLOCK]
    rng = Random(derive_seed(SKILL, row.level, seed, split, turn.index, turn.attempt))
    style = _pick_style(deal, styles)
    problem = pose(rng, row, deal.slot if turn.bound else replace(deal.slot, chain=rng.random()))
    if problem is None or not _fits_style(problem, row, style) or level_needed(problem, row) != row.level:
        return None
    return Draw(problem, style, canonical_key(problem, row, style), rng, deal.slot.novel)


def _pick_style(deal: Deal, styles: Mapping[str, float]) -> str:
    mark = deal.style_mark * sum(styles.values())
    for name, weight in styles.items():
        mark -= weight
        if mark < 0:
            return name
    return next(reversed([name for name, weight in styles.items() if weight]))


def _fits_style(problem: Problem, row: Level, style: str) -> bool:
    """With `fixed` every number shown has the level's width, so a longer one is not asked."""
    if style != "fixed":
        return True
    shown = problem.shown.value if problem.shown else 0
    return max(shown, 0 if problem.decimal else problem.answer) >> row.width == 0


def _surface(draw: Draw, row: Level) -> tuple[Surface, list[str], str]:
    """Draw the symbol key, or none; return the surface, the key lines and the mode."""
    rng, mode = draw.rng, row.key_mode
    share = row.key_share
    if mode == "two":
        mode, share = ("two", 1.0) if draw.novel else ("full", (row.key_share - NEW_SHARE) / (1 - NEW_SHARE))
    elif row.level >= 29 and rng.random() < 0.3:
        mode = "two"
    if rng.random() >= share or draw.style in ("lsb", "fixed"):
        return plain_surface(row), [], ""
    extra = rng.randint(4, 8) if row.level >= 29 else rng.randint(0, 2)
    return *draw_keys(rng, row, mode, draw.problem.ops(), extra), mode


def write(draw: Draw, row: Level, split: str, repeat: bool = False) -> Item:
    """Write a draw down as an item."""
    surface, key_lines, mode = _surface(draw, row)
    surface.lsb, surface.padded = draw.style == "lsb", draw.style == "fixed"
    problem = draw.problem
    body = surface.body(problem)
    text = prompt(body, key_lines, rules(problem, row, mode == "two"), draw.style, row.width)
    digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    tags = (problem.form, draw.style, *((f"key-{mode}",) if mode else ()), *(("repeat",) if repeat else ()))
    return Item(
        id=f"{SKILL}-L{row.level}-{digest}", skill=SKILL, version=VERSION, level=row.level, split=split,
        user_prompt=text, assistant_response=response(problem, surface, body, draw.style), key=draw.key, tags=tags,
        meta={"style": draw.style, "width": row.width, "ops": problem.ops(), "novel": draw.novel},
    )  # fmt: skip


def styles_for(row: Level, asked: Mapping[str, float] | None) -> dict[str, float]:
    """Return the weights of the styles a level offers: the table's, or those asked for.

    A style that exists but is not offered at this level (trace from level 15 on) takes no part, so that one mix serves
    a whole ladder. Raises BadInput for an unknown style, a negative weight, or when none is left.
    """
    if asked is None:
        return row.styles
    for name, weight in asked.items():
        if name not in STYLES:
            raise BadInput(f"unknown answer style {name!r}", hint=f"known: {', '.join(STYLES)}")
        if not 0 <= weight < float("inf"):
            raise BadInput(f"weight of style {name!r} is {weight}", hint="a number from 0 up is needed")
    kept = {name: float(asked[name]) for name in row.offered if asked.get(name)}
    if not kept:
        raise BadInput(f"level {row.level} offers none of {sorted(asked)}", hint=f"offered: {', '.join(row.offered)}")
    return kept


@lru_cache(maxsize=8)
def _listed(level: int, style: str, part: str) -> tuple[tuple[Problem, str], ...]:
    """List one partition of a finite level in one style, as (problem, key)."""
    row = LEVELS[level]
    fitting = [problem for problem in every_problem(level) if _fits_style(problem, row, style)]
    pairs = [(problem, canonical_key(problem, row, style)) for problem in fitting]
    return tuple((problem, key) for problem, key in pairs if split_of(SKILL, level, key) == part)


@dataclass(slots=True)
class Stream:
    """The items of one call: what is asked for, the keys given so far, and those never to give (the static eval set).

    `rest` is what is left of a finite level in a style, listed once drawing finds next to nothing new in it. When that
    is given out too, items repeat: the mix of styles asked for is kept.
    """

    row: Level
    split: Split
    seed: int
    styles: Mapping[str, float]
    avoid: frozenset[str] = frozenset()
    seen: set[str] = field(default_factory=set)
    rest: dict[str, list[Draw]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Item]:
        """Yield items without end; one that repeats is tagged "repeat". An eval item comes twice when no other is left.

        Training items are drawn with replacement: without it a thousand rows of level 1 would be nearly all of three
        operators, because the shorter problems are soon used up.
        """
        return map(self.item, count())

    def item(self, index: int) -> Item:
        """Return the next item: the first attempt of this index that is in the partition and not given yet."""
        duplicates = 0
        style = _pick_style(_block(self.row.level, self.split, self.seed, index // BLOCK)[index % BLOCK], self.styles)
        for attempt in range(_MOST_ATTEMPTS):
            if self.rest.get(style):
                return self._give(self.rest[style].pop())
            bound = duplicates < _BOUND and attempt < 10 * _BOUND
            found = candidate(self.row, self.split, self.seed, Try(index, attempt, bound), self.styles)
            if found is None or not self._belongs(found.key):
                continue
            if self.split == "train" or found.key not in self.seen or style in self.rest:
                return self._give(found)
            duplicates += 1
            if duplicates == _BOUND + _PATIENCE.get(self.row.level, _MOST_ATTEMPTS):
                self.rest[style] = self._left(style)
        raise BadInput(
            f"no {self.split} problem of level {self.row.level} found for {sorted(self.styles)}",
            hint="ask for more answer styles",
        )

    def _belongs(self, key: str) -> bool:
        part = "train" if self.split == "train" else "eval"
        return key not in self.avoid and split_of(SKILL, self.row.level, key) == part

    def _give(self, draw: Draw) -> Item:
        repeat = draw.key in self.seen
        self.seen.add(draw.key)
        return write(draw, self.row, self.split, repeat)

    def _left(self, style: str) -> list[Draw]:
        """List what this call can still give in a style, in an order drawn from its address."""
        rng = Random(derive_seed(SKILL, self.row.level, self.seed, self.split, "rest", style))
        part = "train" if self.split == "train" else "eval"
        given = self.seen | self.avoid
        fresh = [pair for pair in _listed(self.row.level, style, part) if pair[1] not in given]
        left = [Draw(problem, style, key, rng, novel=True) for problem, key in fresh]
        rng.shuffle(left)
        return left


@lru_cache(maxsize=256)
def static_items(level: int, style: str = "brief") -> tuple[Item, ...]:
    """Return the five fixed eval items of a level in one style, from the eval partition, seeded by the level's address."""
    seed = derive_seed(SKILL, "static-eval", level)
    return tuple(islice(Stream(LEVELS[level], "eval", seed, {style: 1.0}), STATIC_COUNT))


@lru_cache(maxsize=64)
def static_keys(level: int) -> frozenset[str]:
    """Return the keys of the static eval sets of all styles, which no other call gives out."""
    return frozenset(item.key for style in LEVELS[level].offered for item in static_items(level, style))
