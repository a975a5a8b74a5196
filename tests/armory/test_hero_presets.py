"""Presets: shipped ones are valid, unknown keys and names are errors, a home and a folder add to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from realm.armory.hero_presets import FolderBase, HubBase, MadeBase, get_preset, list_presets, parse_preset
from realm.core.errors import BadInput, Unknown


def table() -> dict[str, Any]:
    return get_preset("tiny").model_dump()


def test_shipped_presets_are_a_made_hero_and_qwen():
    found = {preset.id: preset for preset in list_presets()}
    assert isinstance(found["tiny"].base, MadeBase)
    assert found["tiny"].mantra is None
    assert found["dio"].base == HubBase(hub="Qwen/Qwen3-0.6B")
    assert found["dio"].training.precision == "auto"


@pytest.mark.parametrize(
    "place", [(), ("base",), ("training",), ("training", "schedule"), ("level_mix",), ("tokenizer",)]
)
def test_an_unknown_key_is_refused_everywhere(place: tuple[str, ...]):
    preset = table()
    inner = preset
    for key in place:
        inner = inner[key]
    inner["surprise"] = 1
    with pytest.raises(BadInput, match="surprise"):
        parse_preset(preset, "x")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("level_mix", {"frontier": 0.5, "lower": 0.5, "ahead": 0.5}),
        ("styles", {"brief": 0.4}),
        ("styles", {"prose": 1.0}),
        ("tokenizer", None),
        ("quest_seconds", 0),
    ],
)
def test_values_that_do_not_fit_are_refused(key: str, value: Any):
    with pytest.raises(BadInput):
        parse_preset(table() | {key: value}, "x")


def test_a_schedule_that_ends_needs_its_end():
    preset = table()
    preset["training"]["schedule"] = {"kind": "cosine", "warmup_steps": 3}
    with pytest.raises(BadInput, match="total_steps"):
        parse_preset(preset, "x")


def test_a_home_adds_presets_and_its_file_wins(tmp_path: Path):
    folder = tmp_path / "configs" / "heroes"
    folder.mkdir(parents=True)
    for id, title in (("mine", "My own"), ("tiny", "My tiny")):
        (folder / f"{id}.yaml").write_text(
            yaml.safe_dump(get_preset("tiny").model_dump(mode="json") | {"id": id, "title": title})
        )
    assert get_preset("mine", tmp_path).title == "My own"
    assert get_preset("tiny", tmp_path).title == "My tiny"
    assert {"mine", "tiny", "dio"} <= {preset.id for preset in list_presets(tmp_path)}
    with pytest.raises(Unknown, match="tiny"):
        get_preset("mine")


def test_a_file_whose_id_differs_from_its_name_is_refused(tmp_path: Path):
    folder = tmp_path / "configs" / "heroes"
    folder.mkdir(parents=True)
    (folder / "a.yaml").write_text(yaml.safe_dump(get_preset("tiny").model_dump(mode="json")))
    with pytest.raises(BadInput, match="rename"):
        get_preset("a", tmp_path)


def test_a_local_model_folder_is_a_preset(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    assert get_preset(str(tmp_path)).base == FolderBase(folder=tmp_path.resolve())
    with pytest.raises(Unknown):
        get_preset(str(tmp_path / "nothing"))


def test_rows_per_step_is_batch_times_accumulation():
    training = get_preset("tiny").training
    assert training.model_copy(update={"batch_size": 3, "gradient_accumulation": 5}).rows_per_step == 15
