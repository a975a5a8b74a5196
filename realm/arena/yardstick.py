"""How long a row is for the active hero: the measure that intake holds against `max_length`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import cast

from realm.arena.validation import Measure
from realm.armory.heroes import active_config, active_hero, load_template, read_hero
from realm.armory.template import ChatTemplate, Message
from realm.core.paths import Paths


@dataclass(frozen=True)
class Yardstick:
    """Tokens of rows as the hero will read them, and the most it takes."""

    measure: Measure
    max_length: int


@lru_cache(maxsize=4)
def _template(folder: Path, _modified_ns: int) -> ChatTemplate:
    return load_template(read_hero(folder))


def yardstick_of(paths: Paths) -> Yardstick:
    """Return the yardstick of the active hero; raises BadInput when the home has no hero yet."""
    hero = active_hero(paths)
    template = _template(hero.folder, (hero.folder / "tokenizer.json").stat().st_mtime_ns)

    def measure(rows: Sequence[Sequence[dict[str, str]]]) -> list[int]:
        messages = cast("Sequence[Sequence[Message]]", rows)
        return [len(row.ids) for row in template.render_many(messages, mantra=hero.mantra)]

    return Yardstick(measure, active_config(paths).config.max_length)
