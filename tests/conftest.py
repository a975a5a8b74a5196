"""Homes for the tests: an empty one, and one with a small real hero that is made once a session and copied."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from realm.core.paths import Paths

SMALL = """\
id: small
name: DIO
title: Small hero of the tests
base: {make: tiny, hidden: 32, layers: 1, heads: 2, kv_heads: 1, head_dim: 16, ffn: 48, tied: true,
       max_positions: 1024, rope_theta: 10000.0, init_std: 0.08, embedding_std: 0.05}
tokenizer: {vocab_size: 384, words: 16}
mantra: null
styles: {brief: 1.0}
level_mix: {frontier: 0.5, lower: 0.2, ahead: 0.3}
training:
  batch_size: 4
  gradient_accumulation: 1
  learning_rate: 0.002
  matrices: muon
  muon_learning_rate: 0.02
  betas: [0.9, 0.98]
  weight_decay: 0.01
  clip: 1.0
  ema_decay: 0.98
  schedule: {kind: constant, warmup_steps: 5}
  max_length: 512
  precision: fp32
  save_steps: 50
quest_seconds: 30
"""


# How long an example takes says more about what else the machine does than about the code.
settings.register_profile("realm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("realm")


def _forget_realm() -> None:
    for name in [name for name in os.environ if name.startswith("REALM_")]:
        del os.environ[name]


_forget_realm()


@pytest.fixture(autouse=True)
def _no_realm_in_the_environment() -> Iterator[None]:
    """A test sees no setting of the shell it was started from, and leaves none behind."""
    yield
    _forget_realm()


@pytest.fixture
def empty_home(tmp_path: Path) -> Paths:
    """A base directory with its folders and nothing else."""
    return Paths(tmp_path / "home").ensure()


@pytest.fixture(scope="session")
def small_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base directory with a small hero; shared, so nobody writes in it."""
    from realm.gate import founding

    paths = Paths(tmp_path_factory.mktemp("small") / "home").ensure()
    paths.user_heroes.mkdir(parents=True)
    (paths.user_heroes / "small.yaml").write_text(SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(founding, "TEXT_LEVELS", {"bin": range(1, 3)})
        patch.setattr(founding, "TEXTS_PER_LEVEL", 100)
        founding.create_hero(paths, "small", "dio", name="DIO", seed=0)
    return paths.home


@pytest.fixture
def home(small_home: Path, tmp_path: Path) -> Paths:
    """A base directory of the test's own, with a small hero."""
    shutil.copytree(small_home, tmp_path / "home")
    return Paths(tmp_path / "home").ensure()
