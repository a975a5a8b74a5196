"""The heroes of a home: base folders under `models/`, one of them active; torch-free."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from realm.armory.config import Resolved, read_raw, resolve
from realm.armory.hero_presets import HeroPreset, get_preset
from realm.armory.template import ChatTemplate
from realm.core.errors import BadInput, Corrupt, unknown_name
from realm.core.paths import Paths

HERO_FILE = "hero.json"


@dataclass(frozen=True)
class Hero:
    """A base hero: its folder (step 0) and the facts of hero.json."""

    id: str
    name: str
    model: str
    preset: str
    folder: Path
    facts: dict[str, Any]

    @property
    def mantra(self) -> str | None:
        found = self.facts.get("mantra")
        return str(found) if found is not None else None


def read_hero(folder: Path) -> Hero:
    """Return the hero of a folder; raises Corrupt when hero.json is missing or incomplete."""
    try:
        facts = json.loads((folder / HERO_FILE).read_text(encoding="utf-8"))
        return Hero(facts["id"], facts["name"], facts["model"], facts["preset"], folder, facts)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"{folder.name} is not a hero: {HERO_FILE} {error}", hint="make one: realm hero create") from error


def list_heroes(paths: Paths) -> list[Hero]:
    """Return all base heroes of the home, by id."""
    if not paths.models.is_dir():
        return []
    found = [p for p in sorted(paths.models.iterdir()) if not p.name.startswith(".") and (p / HERO_FILE).is_file()]
    return [read_hero(folder) for folder in found]


def active_hero(paths: Paths) -> Hero:
    """Return the hero that config.json names; raises BadInput without a config, Unknown when its folder is missing."""
    hero_id = read_raw(paths).get("hero")
    known = {hero.id: hero for hero in list_heroes(paths)}
    if hero_id not in known:
        raise unknown_name("hero (config.json)", str(hero_id), list(known))
    return known[hero_id]


def active_preset(paths: Paths) -> HeroPreset:
    """Return the preset the active hero was made from, as stored in its folder at that time."""
    hero = active_hero(paths)
    table = hero.facts.get("preset_table")
    return HeroPreset.model_validate(table) if table else get_preset(hero.preset, paths.home)


def active_config(paths: Paths) -> Resolved:
    """Return the resolved configuration of this home."""
    return resolve(read_raw(paths), active_preset(paths))


def load_tokenizer(hero: Hero) -> Tokenizer:
    """Return the hero's tokenizer; raises BadInput when its folder lacks it."""
    path = hero.folder / "tokenizer.json"
    if not path.is_file():
        raise BadInput(f"hero {hero.id} has no tokenizer.json", hint="make it again: realm hero create")
    return Tokenizer.from_file(str(path))


def load_template(hero: Hero) -> ChatTemplate:
    """Return the hero's template with its tokenizer, without loading weights."""
    return ChatTemplate(load_tokenizer(hero))
