from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import pytest

from realm.armory.hero_choice import Machine, choices, count_weights, judge, look_into, made_params
from realm.armory.hero_presets import MadeBase, get_preset, list_presets
from realm.core.errors import BadInput

LAPTOP = Machine(ram=16_000_000_000, disk_free=200_000_000_000, gpu=None)


def safetensors(path: Path, shapes: dict[str, list[int]]) -> None:
    header = json.dumps({name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()})
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode())


def model_folder(folder: Path, shapes: dict[str, list[int]]) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "qwen3"}')
    (folder / "tokenizer.json").write_text("{}")
    safetensors(folder / "model.safetensors", shapes)
    return folder


@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_the_size_is_foretold_as_it_comes_out(preset: str) -> None:
    from realm.armory.tiny_hero import weight_shapes

    table = get_preset(preset)
    assert table.tokenizer is not None
    assert isinstance(table.base, MadeBase)
    shapes = weight_shapes(table.base, table.tokenizer.vocab_size)
    assert made_params(table) == sum(math.prod(shape) for shape in shapes.values())


def test_a_size_that_fits_and_one_that_does_not() -> None:
    assert judge(596_000_000, LAPTOP)[0] is True
    fits, why = judge(8_000_000_000, LAPTOP)
    assert fits is False
    assert "128.0 GB" in why
    assert "16.0 GB of memory" in why


def test_a_gpu_decides_where_there_is_one() -> None:
    small_gpu = Machine(ram=64_000_000_000, disk_free=500_000_000_000, gpu=8_000_000_000)
    assert judge(596_000_000, small_gpu)[0] is False
    assert "GPU memory" in judge(596_000_000, small_gpu)[1]


def test_a_full_disk_is_seen_before() -> None:
    fits, why = judge(596_000_000, Machine(64_000_000_000, 10_000_000_000, None))
    assert fits is False
    assert "of disk" in why


def test_what_is_not_known_is_not_claimed() -> None:
    assert judge(None, LAPTOP) == (None, "its size is known when its files are read")


def test_every_shipped_preset_is_offered() -> None:
    rows = {row["id"]: row for row in choices(list_presets(), LAPTOP)}
    assert rows["tiny"]["download"] is None
    assert rows["tiny"]["fits"] is True
    assert rows["dio"]["download"] == "Qwen/Qwen3-0.6B"


def test_a_folder_is_looked_into(tmp_path: Path) -> None:
    found = look_into(model_folder(tmp_path / "m", {"a": [10, 20], "b": [5]}), LAPTOP)
    assert (found["params"], found["model_type"], found["fits"]) == (205, "qwen3", True)


@pytest.mark.parametrize("spoil", ["relative", "absent", "no weights", "config", "weights", "header"])
def test_a_folder_that_is_no_model_says_why(spoil: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m", {"a": [1]})
    if spoil == "relative":
        folder = Path("m")
    elif spoil == "absent":
        folder = tmp_path / "nothing"
    elif spoil == "no weights":
        (folder / "model.safetensors").unlink()
    elif spoil == "config":
        (folder / "config.json").write_text("[")
    elif spoil == "weights":
        (folder / "model.safetensors").write_bytes(b"GGUF")
    else:
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(BadInput) as refused:
        look_into(folder, LAPTOP)
    assert refused.value.message


def test_weights_are_counted_from_the_header_alone(tmp_path: Path) -> None:
    safetensors(tmp_path / "w.safetensors", {"big": [1_000_000, 1_000_000]})
    assert count_weights(tmp_path / "w.safetensors") == 10**12
