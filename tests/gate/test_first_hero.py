"""The first hero: Qwen3 where a GPU and the weights are, the local one where not, and said so."""

from __future__ import annotations

import logging

import pytest

from realm.armory import base_folder
from realm.core.errors import Unavailable
from realm.core.paths import Paths
from realm.gate import founding


def test_missing_weights_are_told_and_the_local_hero_is_made(
    empty_home: Paths, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_hub(_repository: str, _target: object) -> None:
        raise Unavailable("the hub cannot be reached")

    monkeypatch.setattr(founding, "default_preset", lambda: "dio")
    monkeypatch.setattr(base_folder, "fetch_hub", no_hub)
    monkeypatch.setattr(founding, "TEXT_LEVELS", {"bin": range(1, 3)})

    with caplog.at_level(logging.WARNING):
        hero, made = founding.create_default(empty_home, 0)

    assert made
    assert hero.preset == "tiny"
    assert "the hub cannot be reached" in caplog.text


def test_default_preset_follows_the_gpu() -> None:
    assert founding.default_preset(lambda: True) == "dio"
    assert founding.default_preset(lambda: False) == "tiny"
