"""An exported checkpoint is a plain Hugging Face folder: transformers loads it and it answers as the original."""

from __future__ import annotations

import shutil
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from test_ledger import make

from realm.core import manifest
from realm.core.paths import Paths
from realm.vault import ledger
from realm.vault.keeping.export import Export


@pytest.mark.slow
def test_transformers_loads_an_export(home: Paths, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    [base] = [folder for folder in home.models.iterdir() if (folder / "hero.json").is_file()]
    folder = make(home, 7)
    (folder / manifest.NAME).unlink()
    for file in base.iterdir():
        if file.name != manifest.NAME:
            shutil.copyfile(file, folder / file.name)
    (folder / "optimizer.safetensors").write_bytes(b"x" * 5000)
    manifest.write_manifest(folder, 7, folder.name)
    assert ledger.extract_step(folder.name) == 7

    archive = tmp_path / "out.tar"
    with closing(Export(folder)) as export:
        archive.write_bytes(b"".join(export))
        assert archive.stat().st_size == export.size
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path / "out", filter="data")
    found = tmp_path / "out" / folder.name
    assert {path.name for path in found.iterdir()} >= {"model.safetensors", "config.json", "tokenizer.json", "manifest.json"}
    assert not (found / "optimizer.safetensors").exists()
    manifest.verify(found)
    tokens = AutoTokenizer.from_pretrained(found)("add(1, 1)", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        ours, theirs = (AutoModelForCausalLM.from_pretrained(place)(tokens).logits for place in (base, found))
    assert torch.equal(ours, theirs)
