"""The generator: item i of a call is a pure function of (level, split, seed, i, attempt); calls only skip attempts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from realm.core.errors import BadInput
from realm.core.seeds import derive_seed
from realm.guild.skills.bin.forms import Problem, Slot, level_needed, pose
from realm.guild.skills.bin.levels import LEVELS, NEW_SHARE, STYLES, Level
from realm.guild.skills.bin.styles import response
from realm.guild.skills.bin.surface import Surface, canonical_key, draw_keys, plain_surface, prompt, rules
from realm.guild.skills.split import split_of
from realm.guild.skills.types import Item, Split

SKILL = "bin"
VERSION = "1.0.0"
BLOCK = 20  # novelty and truth are dealt exactly within each block of items
STATIC_COUNT = 5
_MOST_ATTEMPTS = 4000  # of one item: far beyond what split and level need (about 40)
_PATIENCE = 60  # duplicates drawn in a row before a repeat is let through


@dataclass(frozen=True, slots=True)
class Draw:
    """One candidate: a problem of its level, before it is written down."""

    problem: Problem
    style: str
    key: str
    rng: Random


@lru_cache(maxsize=256)
def _block(level: int, split: str, seed: int, number: int) -> tuple[Slot, ...]:
    """Deal the slots of one block: exactly 60 % novel, exactly half of those and of the rest true."""
    places = list(range(BLOCK))
    Random(derive_seed(SKILL, level, seed, split, "block", number)).shuffle(places)
    return tuple(Slot(novel=place < NEW_SHARE * BLOCK, truth=place % 2 == 0) for place in places)


def candidate(row: Level, split: str, seed: int, index: int, attempt: int, styles: Mapping[str, float]) -> Draw | None:
    """Return one draw, or None when it ran into something that may not be asked at this level."""
    slot = _block(row.level, split, seed, index // BLOCK)[index % BLOCK]
    rng = Random(derive_seed(SKILL, row.level, seed, split, index, attempt))
    style = _pick_style(rng, styles)
    problem = pose(rng, row, slot)
    if problem is None or not _fits_style(problem, row, style) or level_needed(problem, row) != row.level:
        return None
    return Draw(problem, style, canonical_key(problem, row, style), rng)


def _pick_style(rng: Random, styles: Mapping[str, float]) -> str:
    mark = rng.random() * sum(styles.values())
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


def _surface(draw: Draw, row: Level, novel: bool) -> tuple[Surface, list[str], str]:
    """Draw the symbol key, or none; return the surface, the key lines and the mode."""
    rng, mode = draw.rng, row.key_mode
    share = row.key_share
    if mode == "two":
        mode, share = ("two", 1.0) if novel else ("full", (row.key_share - NEW_SHARE) / (1 - NEW_SHARE))
    elif row.level >= 29 and rng.random() < 0.3:
        mode = "two"
    if rng.random() >= share or draw.style in ("lsb", "fixed"):
        return plain_surface(row), [], ""
    extra = rng.randint(4, 8) if row.level >= 29 else rng.randint(0, 2)
    return *draw_keys(rng, row, mode, draw.problem.ops(), extra), mode


def write(draw: Draw, row: Level, split: str, novel: bool, repeat: bool) -> Item:
    """Write a draw down as an item."""
    surface, key_lines, mode = _surface(draw, row, novel)
    surface.lsb, surface.padded = draw.style == "lsb", draw.style == "fixed"
    problem = draw.problem
    body = surface.body(problem)
    text = prompt(body, key_lines, rules(problem, row, mode == "two"), draw.style, row.width)
    digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    tags = (problem.form, draw.style, *((f"key-{mode}",) if mode else ()), *(("repeat",) if repeat else ()))
    return Item(
        id=f"{SKILL}-L{row.level}-{digest}", skill=SKILL, version=VERSION, level=row.level, split=split,
        user_prompt=text, assistant_response=response(problem, surface, body, draw.style), key=draw.key, tags=tags,
        meta={"style": draw.style, "width": row.width, "ops": problem.ops(), "novel": novel},
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


def items(row: Level, split: Split, seed: int, styles: Mapping[str, float], avoid: frozenset[str]) -> Iterator[Item]:
    """Yield items of one partition without end, none twice as long as the level's space allows.

    `avoid` are keys never to give (the static eval set). An item that repeats an earlier one is tagged "repeat".
    """
    part = "train" if split == "train" else "eval"
    seen: set[str] = set()
    index = 0
    while True:
        yield _item(row, split, part, seed, index, styles, seen, avoid)
        index += 1


def _item(
    row: Level, split: Split, part: str, seed: int, index: int, styles: Mapping[str, float],
    seen: set[str], avoid: frozenset[str],
) -> Item:  # fmt: skip
    duplicates = 0
    for attempt in range(_MOST_ATTEMPTS):
        found = candidate(row, split, seed, index, attempt, styles)
        if found is None or split_of(SKILL, row.level, found.key) != part or found.key in avoid:
            continue
        repeat = found.key in seen
        if repeat and duplicates < _PATIENCE:
            duplicates += 1
            continue
        seen.add(found.key)
        novel = _block(row.level, split, seed, index // BLOCK)[index % BLOCK].novel
        return write(found, row, split, novel, repeat)
    raise BadInput(f"no {split} problem of level {row.level} found for {sorted(styles)}", hint="ask for more styles")


@lru_cache(maxsize=64)
def static_items(level: int) -> tuple[Item, ...]:
    """Return the five fixed eval items of a level, from the eval partition, in `brief` style, seeded by their address."""
    seed = derive_seed(SKILL, "static-eval", level)
    stream = items(LEVELS[level], "eval", seed, {"brief": 1.0}, frozenset())
    return tuple(next(stream) for _ in range(STATIC_COUNT))


@lru_cache(maxsize=64)
def static_keys(level: int) -> frozenset[str]:
    """Return the keys of the static eval set, which no other call gives out."""
    return frozenset(item.key for item in static_items(level))
