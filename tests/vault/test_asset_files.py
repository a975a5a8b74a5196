from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from realm.core.errors import BadInput, Corrupt, Unknown
from realm.core.ids import sha256_file
from realm.core.paths import Paths
from realm.core.store import open_facts
from realm.vault.keeper.asset_files import check_asset, manifest_of, open_file, safe_open
from realm.vault.keeper.assets import AssetFile, make_manifest
from realm.vault.keeper.catalogue import Catalogue, Place


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path).ensure()


def keep_model(paths: Paths, name: str = "m") -> Path:
    folder = paths.models / name
    (folder / "sub").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "sub" / "more.json").write_bytes(b"{}")
    files = [
        AssetFile(path=rel, size=(folder / rel).stat().st_size, sha256=sha256_file(folder / rel))
        for rel in ("model.safetensors", "sub/more.json")
    ]
    with closing(open_facts(paths)) as facts:
        catalogue = Catalogue(facts)
        catalogue.put(make_manifest("model", name, files))
        catalogue.place(f"model_{name}", Place(zone="local", stronghold="home", kind="local", path=f"models/{name}"))
    return folder


def test_files_are_read_by_id_and_manifest_path(paths: Paths) -> None:
    keep_model(paths)

    assert [file.path for file in manifest_of(paths, "model_m").files] == ["model.safetensors", "sub/more.json"]
    with open_file(paths, "model_m", "sub/more.json") as handle:
        assert handle.read() == b"{}"


@pytest.mark.parametrize("rel", ["../../config.json", "/etc/passwd", "sub/../model.safetensors", "sub", "other", ""])
def test_what_the_manifest_does_not_name_is_not_opened(paths: Paths, rel: str) -> None:
    keep_model(paths)
    with pytest.raises(Unknown):
        open_file(paths, "model_m", rel)


def test_ids_are_no_paths(paths: Paths) -> None:
    with pytest.raises(BadInput):
        manifest_of(paths, "../models/m")
    with pytest.raises(Unknown):
        manifest_of(paths, "model_other")


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_link_is_not_followed(paths: Paths, tmp_path: Path, what: str) -> None:
    folder = keep_model(paths)
    outside = paths.home / "outside"
    outside.mkdir()
    (outside / "more.json").write_bytes(b"no")
    (folder / "sub" / "more.json").unlink()
    if what == "file":
        (folder / "sub" / "more.json").symlink_to(outside / "more.json")
    else:
        (folder / "sub").rmdir()
        (folder / "sub").symlink_to(outside)
    with pytest.raises(Corrupt):
        open_file(paths, "model_m", "sub/more.json")


def test_a_device_or_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Corrupt):
        safe_open(tmp_path, "pipe")


@pytest.mark.parametrize("rel", ["..", "../x", "a/../../x", "/etc/passwd", "a\0b"])
def test_safe_open_stays_below_its_root(tmp_path: Path, rel: str) -> None:
    with pytest.raises(Corrupt):
        safe_open(tmp_path, rel)


def test_one_flipped_byte_anywhere_is_named(paths: Paths) -> None:
    folder = keep_model(paths)
    manifest = manifest_of(paths, "model_m")
    check_asset(paths.home, manifest, "models/m")
    for rel in ("model.safetensors", "sub/more.json"):
        good = (folder / rel).read_bytes()
        for position in range(len(good)):
            bad = bytearray(good)
            bad[position] ^= 1
            (folder / rel).write_bytes(bytes(bad))
            with pytest.raises(Corrupt, match=rel):
                check_asset(paths.home, manifest, "models/m")
        (folder / rel).write_bytes(good)
    check_asset(paths.home, manifest, "models/m")


def test_a_file_of_another_size_is_not_handed_out(paths: Paths) -> None:
    folder = keep_model(paths)
    (folder / "model.safetensors").write_bytes(b"short")
    with pytest.raises(Corrupt):
        open_file(paths, "model_m", "model.safetensors")
