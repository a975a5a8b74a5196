"""What in a base directory is an asset: a walk over its folders that names each one and reads no content."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realm.core.clock import stamp_ns
from realm.core.paths import Paths
from realm.vault.keeper.assets import FILE_TYPES, AssetType, asset_id, file_place

SIDECAR_END = ".meta.json"
_CHECKPOINT = re.compile(r"checkpoint-(0|[1-9][0-9]{0,17})-[0-9]{8}-[0-9]{4}\Z")
# What an asset's own sidecar says that is worth finding it by.
_TOLD: dict[AssetType, tuple[str, tuple[str, ...]]] = {
    "checkpoint": (".ledger.json", ("step", "hero", "skill_name", "skill_level", "train_loss", "val_loss",
                                     "weights_sha256", "timestamp")),
    "model": ("hero.json", ("id", "name", "model", "preset")),
    "data": (SIDECAR_END, ("generator_id", "example_count", "source")),
}


@dataclass(frozen=True)
class Mark:
    """By what a file is known to be unchanged: size in bytes, modification time, inode."""

    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True)
class Find:
    """An asset on the disk: `path` is relative to the base directory, `files` are its files with their marks."""

    type: AssetType
    name: str
    path: str
    files: dict[str, Mark]

    @property
    def id(self) -> str:
        return asset_id(self.type, self.name)

    def place_of(self, file: str) -> str:
        """Return a file's path relative to the base directory."""
        return file_place(self.type, self.path, file)


@dataclass(frozen=True)
class Odd:
    """Something in an asset's place that is none, and why."""

    path: str
    why: str


def mark_of(found: os.stat_result) -> Mark:
    return Mark(found.st_size, found.st_mtime_ns, found.st_ino)


def walk(paths: Paths) -> Iterator[Find | Odd]:
    """Yield every asset of a base directory, checkpoints by step; an `Odd` in its place for one that holds links."""
    for folder in _checkpoints(paths):
        yield from _folder(paths, "checkpoint", folder)
    for folder in _folders(paths.models, leave=(paths.current_model.name,)):
        yield from _folder(paths, "model", folder)
    for kind, parent in (("snapshot", paths.snapshots), ("backup", paths.backups)):
        for folder in _folders(parent):
            yield from _folder(paths, "snapshot" if kind == "snapshot" else "backup", folder)
    for root, file in _data(paths):
        yield from _file(paths, "data", root, file)
    for root, file in _configs(paths):
        yield from _file(paths, "config", root, file)


def _checkpoints(paths: Paths) -> list[Path]:
    named = [(match, folder) for folder in _folders(paths.current_model) if (match := _CHECKPOINT.match(folder.name))]
    return [folder for _, folder in sorted(named, key=lambda pair: (int(pair[0][1]), pair[1].name))]


def _folders(parent: Path, leave: tuple[str, ...] = ()) -> list[Path]:
    if not parent.is_dir():
        return []
    with os.scandir(parent) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    return [parent / name for name in names if not name.startswith(".") and name not in leave]


def _data(paths: Paths) -> Iterator[tuple[Path, Path]]:
    for root in (paths.queue("recently_completed"), paths.data):
        for folder, below, names in os.walk(root):
            below[:] = sorted(name for name in below if not name.startswith("."))
            for name in sorted(names):
                if name.endswith(".jsonl") and not name.startswith("."):
                    yield root, Path(folder, name)


def _configs(paths: Paths) -> Iterator[tuple[Path, Path]]:
    if paths.config.is_file():
        yield paths.home, paths.config
    for root, pattern in ((paths.user_config, "*.json"), (paths.user_config, "*.yaml"), (paths.user_skills.parent, "*/*.yaml")):
        for path in sorted(root.glob(pattern)):
            yield root, path


def _folder(paths: Paths, kind: AssetType, folder: Path) -> Iterator[Find | Odd]:
    path = folder.relative_to(paths.home).as_posix()
    try:
        files = dict(_below(folder, ""))
    except FileNotFoundError:
        return  # dropped while it was looked at
    links = [name for name, mark in files.items() if mark is None]
    if links:
        yield Odd(path, f"{path}/{links[0]} is a link or a device")
    elif files:
        yield Find(kind, folder.name, path, {name: mark for name, mark in files.items() if mark is not None})


def _below(folder: Path, prefix: str) -> Iterator[tuple[str, Mark | None]]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            if _half_made(entry.name):
                continue
            found = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                yield from _below(folder / entry.name, f"{prefix}{entry.name}/")
            elif stat.S_ISREG(found.st_mode):
                yield f"{prefix}{entry.name}", mark_of(found)
            else:
                yield f"{prefix}{entry.name}", None


def _half_made(name: str) -> bool:
    return name.startswith(".") and name.endswith((".tmp", ".incoming", ".gone"))


def _file(paths: Paths, kind: AssetType, root: Path, file: Path) -> Iterator[Find | Odd]:
    files = {}
    for path in (file, file.with_name(file.name + SIDECAR_END)):
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(found.st_mode):
            yield Odd(file.relative_to(paths.home).as_posix(), f"{path.relative_to(paths.home)} is a link or a device")
            return
        files[path.name] = mark_of(found)
    if file.name in files:
        yield Find(kind, file.relative_to(root).as_posix(), file.relative_to(paths.home).as_posix(), files)


def born(find: Find, told: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return when an asset was made (its sidecar's word, else its newest file's time) and the rest of what is told. Pure."""
    stamped = told.get("timestamp") or stamp_ns(max(mark.mtime_ns for mark in find.files.values()))
    return str(stamped), {field: value for field, value in told.items() if field != "timestamp"}


def told_of(paths: Paths, find: Find) -> dict[str, Any]:
    """Return what an asset's sidecar says of it, empty when it has none or one that says nothing."""
    beside, fields = _TOLD.get(find.type, ("", ()))
    name = Path(find.path).name + beside if find.type in FILE_TYPES else beside
    if not beside or name not in find.files:
        return {}
    try:
        told = json.loads((paths.home / find.place_of(name)).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    known = told if isinstance(told, dict) else {}
    return {field: known[field] for field in fields if isinstance(known.get(field), (str, int, float))}
