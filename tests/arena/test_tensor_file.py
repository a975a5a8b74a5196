"""Tensors read one by one are those that were written; a damaged file is an error."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from realm.arena.tensor_file import TensorFile
from realm.core.errors import Corrupt


def test_what_was_written_is_read(tmp_path: Path):
    written = {
        "a": torch.randn(3, 5), "half": torch.randn(7).to(torch.bfloat16), "count": torch.tensor(7),
        "bytes": torch.arange(9, dtype=torch.uint8), "none": torch.empty(0, 4), "pair": torch.randn(2).double(),
    }  # fmt: skip
    save_file(written, tmp_path / "x.safetensors", {"format": "pt"})
    found = TensorFile(tmp_path / "x.safetensors")
    assert set(found) == set(written)
    assert len(found) == 6
    for name, tensor in written.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    assert found.get("other") is None
    assert "a" in found


@pytest.mark.parametrize("cut", [4, 20, -1])
def test_a_file_that_is_cut_is_corrupt(tmp_path: Path, cut: int):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.randn(300)}, path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(Corrupt):
        TensorFile(path)["a"]
