"""The manifest of a folder: size and SHA-256 of every file, written last, checked before anything is used.

Format `realm.manifest/1`: {"format", "step", "canonical_name", "weights_sha256", "files": {name: {"size", "sha256"}}}.
`weights_sha256` is the digest of model.safetensors, the file that is served.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from realm.core.durable import write_json
from realm.core.errors import Corrupt
from realm.core.ids import sha256_file

NAME = "manifest.json"
FORMAT = "realm.manifest/1"
WEIGHTS = "model.safetensors"


def write_manifest(
    folder: Path, step: int, canonical_name: str, *, weights_sha256: str | None = None
) -> dict[str, Any]:
    """Hash every file of `folder` and write its manifest; returns it. `weights_sha256`: the weights were hashed just now."""
    known = {} if weights_sha256 is None else {WEIGHTS: weights_sha256}
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != NAME)
    files = {
        name: {"size": (folder / name).stat().st_size, "sha256": known.get(name) or sha256_file(folder / name)}
        for name in names
    }
    manifest = {
        "format": FORMAT,
        "step": step,
        "canonical_name": canonical_name,
        "weights_sha256": files[WEIGHTS]["sha256"],
        "files": files,
    }
    write_json(folder / NAME, manifest)
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a folder; raises Corrupt when it is missing, broken or of another format."""
    path = folder / NAME
    if not path.is_file():
        raise Corrupt(f"{folder.name} has no manifest", hint="it was never completed, or its manifest was removed")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        complete = (
            manifest["format"] == FORMAT
            and manifest["weights_sha256"] == manifest["files"][WEIGHTS]["sha256"]
            and type(manifest["step"]) is int
            and isinstance(manifest["canonical_name"], str)
            and all(_plain_entry(name, entry) for name, entry in manifest["files"].items())
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Corrupt(f"the manifest of {folder.name} is damaged") from error
    if not complete:
        raise Corrupt(f"the manifest of {folder.name} is of another format, or contradicts itself")
    found: dict[str, Any] = manifest
    return found


def _plain_entry(name: str, entry: dict[str, Any]) -> bool:
    inside = not name.startswith("/") and ".." not in name.split("/")
    return inside and type(entry["size"]) is int and isinstance(entry["sha256"], str)


def check_sizes(folder: Path) -> dict[str, Any]:
    """Compare names and sizes only (quick, for start-up); returns the manifest, raises Corrupt naming the file."""
    manifest = read_manifest(folder)
    for name, expected in manifest["files"].items():
        path = folder / name
        found = path.stat().st_size if path.is_file() else None
        if found != expected["size"]:
            raise Corrupt(f"{folder.name}/{name} has {found} bytes, its manifest says {expected['size']}")
    return manifest


def verify(folder: Path) -> dict[str, Any]:
    """Compare every byte with the manifest; returns it, raises Corrupt naming the first file that differs."""
    manifest = check_sizes(folder)
    for name, expected in manifest["files"].items():
        found = sha256_file(folder / name)
        if found != expected["sha256"]:
            raise Corrupt(
                f"{folder.name}/{name} does not match its manifest: {found[:12]} instead of {expected['sha256'][:12]}",
                hint="the copy is damaged; another copy or an earlier checkpoint is used instead",
            )
    return manifest


def folder_size(manifest: dict[str, Any]) -> int:
    """Return the bytes of all files a manifest names."""
    return sum(int(entry["size"]) for entry in manifest["files"].values())
