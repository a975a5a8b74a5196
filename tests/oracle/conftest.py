"""A small real hero (random weights, seeded) and homes that hold it; minds that are fakes where no torch is needed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from realm.armory.hero_presets import HeroPreset, MadeBase, get_preset
from realm.core.manifest import write_manifest
from realm.core.paths import Paths
from realm.oracle.batching import Answer, Sampling
from realm.oracle.checkpoints import Verified

if TYPE_CHECKING:
    from realm.armory.hero_loading import LoadedHero
    from realm.oracle.generate import PlainDecoder

PROBLEMS = [f"Compute: {name}({'①⓪' * n}, ①{'⓪' * m})" for name in ("add", "xor", "mul") for n in (1, 2, 3) for m in (0, 2)]


def small_preset() -> HeroPreset:
    preset = get_preset("tiny")
    assert isinstance(preset.base, MadeBase)
    small = {"hidden": 32, "layers": 2, "heads": 2, "kv_heads": 2}
    return preset.model_copy(update={"base": preset.base.model_copy(update=small)})


@pytest.fixture(scope="session")
def hero_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small hero, without manifest."""
    from realm.armory.tiny_hero import make_tiny_hero

    folder = tmp_path_factory.mktemp("hero") / "tiny"
    make_tiny_hero(small_preset(), PROBLEMS, 7, folder)
    facts = {"id": "tiny", "name": "DIO", "model": "small", "preset": "tiny", "mantra": None}
    (folder / "hero.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture(scope="module")
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def hero(hero_files: Path) -> LoadedHero:
    from realm.armory.hero_loading import load_hero

    return load_hero(hero_files)


@pytest.fixture(scope="module")
def plain(hero_files: Path, one_thread: None) -> PlainDecoder:
    """The oracle's own decoder of the small hero."""
    import torch
    from safetensors.torch import load

    from realm.oracle.generate import PlainDecoder

    config = json.loads((hero_files / "config.json").read_text())
    return PlainDecoder(config, load((hero_files / "model.safetensors").read_bytes()), "cpu", torch.float32)


class Home:
    """A base directory with a base hero, to which checkpoints are added."""

    def __init__(self, root: Path, hero_files: Path) -> None:
        self.paths = Paths(root).ensure()
        self._files = hero_files
        self.base = self.paths.models / "tiny"
        shutil.copytree(hero_files, self.base)
        write_manifest(self.base, 0, "tiny")

    def add(self, step: int, when: str = "20261122-1200", change: Callable[[Path], None] | None = None) -> Path:
        """Write a checkpoint whose weights differ from the base hero's by the step's seed."""
        from realm.armory.tiny_hero import make_tiny_hero

        name = f"checkpoint-{step}-{when}"
        folder = self.paths.current_model / name
        make_tiny_hero(small_preset(), PROBLEMS, step + int(when[-4:]), folder)
        shutil.copy(self._files / "hero.json", folder)
        if change is not None:
            change(folder)
        write_manifest(folder, step, name)
        return folder


@pytest.fixture
def home(tmp_path: Path, hero_files: Path) -> Home:
    return Home(tmp_path / "home", hero_files)


class FakeMind:
    """Answers `step:prompt` without a model; `before` runs inside every answer, before its check."""

    device, hero, template_hash, profile = "cpu", "tiny", "t", "none"

    def __init__(self, read: Verified, nbytes: int = 100, before: Callable[[], None] = lambda: None) -> None:
        self.step, self.model, self.model_path = read.source.step, read.model, read.source.model_path
        self.weights_sha256, self.nbytes = read.weights_sha256, nbytes
        self._before = before

    def answer(
        self,
        rows: Sequence[Sequence[Any]],
        *,
        max_new_tokens: int,
        sampling: Sampling = Sampling(),  # noqa: B008
        check: Callable[[], None] = lambda: None,
        on_text: Callable[[str], None] | None = None,
    ) -> list[Answer]:
        self._before()
        check()
        return [Answer(f"{self.step}:{row[-1]['content']}", "stop", 2) for row in rows]
