"""A small hero, its rows and its training numbers for tests of formation, optimiser and step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from realm.armory.hero_loading import LoadedHero, load_hero
from realm.armory.hero_presets import HeroPreset, get_preset
from realm.armory.tiny_hero import make_tiny_hero

CALLS = [f"{op}({'①' * (n % 3 + 1)}, {'⓪①' * (n % 2 + 1)})" for n in range(24) for op in ("add", "subtract", "equals")]


@pytest.fixture(scope="session")
def conversations() -> list[Any]:
    """Rows of messages of different lengths; every fifth has two answers."""
    rows = [[{"role": "user", "content": f"Compute: {call}"}, {"role": "assistant", "content": f"{call} = ①"}] for call in CALLS]
    return [row + row if number % 5 == 0 else row for number, row in enumerate(rows)]


@pytest.fixture(scope="session")
def small_preset() -> HeroPreset:
    preset = get_preset("tiny")
    base = preset.base.model_copy(update={"hidden": 32, "layers": 2, "heads": 2, "kv_heads": 2, "ffn": 48})
    schedule = preset.training.schedule.model_copy(update={"warmup_steps": 3})
    training = preset.training.model_copy(update={"batch_size": 8, "gradient_accumulation": 1, "schedule": schedule})
    return preset.model_copy(update={"base": base, "training": training})


@pytest.fixture(scope="session")
def hero_folder(small_preset: HeroPreset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = [f"Compute: {call} => {call} = ①" for call in CALLS]
    return make_tiny_hero(small_preset, texts, 1, tmp_path_factory.mktemp("arena") / "hero")


@pytest.fixture
def new_hero(hero_folder: Path) -> Callable[[], LoadedHero]:
    """Load the hero afresh, so that a test may train it."""
    return lambda: load_hero(hero_folder)


@pytest.fixture(scope="session")
def loaded(hero_folder: Path) -> LoadedHero:
    """A shared hero that tests only read."""
    return load_hero(hero_folder)
