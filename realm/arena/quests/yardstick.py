"""How long a row is for the active hero: the measure that intake holds against `max_length`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import cast

from realm.arena.quests.validation import QUICK, Measure, Policy
from realm.arena.quests.validation_recent import asked_prompts, recent_rows
from realm.arena.quests.validation_specs import list_specs
from realm.armory.heroes import Hero, active_config, active_hero, load_template, load_tokenizer, read_hero
from realm.armory.profiles import get_profile, longest_dress, with_system
from realm.armory.template import ChatTemplate, Message
from realm.core.paths import Paths


@dataclass(frozen=True)
class Yardstick:
    """Tokens of rows as the hero will read them, the most it takes, and how closely files are looked at."""

    measure: Measure
    max_length: int
    policy: Policy = QUICK


# Normalisers may shorten text before it is cut into tokens, never by more than this.
NORMALISED = 4


@lru_cache(maxsize=4)
def _template(folder: Path, _modified_ns: int) -> tuple[ChatTemplate, int]:
    """Return the hero's template and the length of its longest token in bytes."""
    hero = read_hero(folder)
    vocabulary = load_tokenizer(hero).get_vocab()
    return load_template(hero), max(len(token.encode()) for token in vocabulary)


def hero_template(hero: Hero) -> ChatTemplate:
    """Return the template of a hero, kept between calls while its tokenizer stays the same file."""
    return _template(hero.folder, (hero.folder / "tokenizer.json").stat().st_mtime_ns)[0]


def yardstick_of(paths: Paths) -> Yardstick:
    """Return the yardstick of the active hero; raises BadInput when the home has no hero yet.

    A row that cannot fit, whatever its tokens, is not tokenised: it counts as the fewest tokens it may have.
    """
    hero, config = active_hero(paths), active_config(paths).config
    max_length, profile = config.max_length, get_profile(config.profile)
    mantra = with_system(profile, hero.mantra)
    policy = Policy(config.validation_level, config.validation_grades, list_specs(paths),
                    lambda: recent_rows(paths), lambda: asked_prompts(paths))  # fmt: skip
    template, longest = _template(hero.folder, (hero.folder / "tokenizer.json").stat().st_mtime_ns)

    def fewest(messages: Sequence[Message]) -> int:
        return sum(len(message["content"]) for message in messages) // (longest * NORMALISED)

    def measure(rows: Sequence[Sequence[dict[str, str]]]) -> list[int]:
        messages = [longest_dress(profile, row) for row in cast("Sequence[Sequence[Message]]", rows)]
        least = [fewest(row) for row in messages]
        fit = [row for row, count in zip(messages, least, strict=True) if count <= max_length]
        found = iter(template.render_many(fit, mantra=mantra)) if fit else iter(())
        return [count if count > max_length else len(next(found).ids) for count in least]

    return Yardstick(measure, max_length, policy)
