"""Which minds a home offers, by exact step, and the reading of one: every byte compared with the manifest; no torch."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realm.armory.heroes import active_hero, list_heroes
from realm.core.errors import BadInput, Corrupt, Unknown
from realm.core.manifest import WEIGHTS, read_manifest
from realm.core.paths import Paths

NAME = re.compile(r"^checkpoint-(0|[1-9]\d*)-(\d{8}-\d{4})$")
TEXTS = ("config.json", "tokenizer.json", "hero.json")
SIDECAR, STATE = ".ledger.json", "state.json"


@dataclass(frozen=True)
class Source:
    """A folder that can be loaded: the base hero (step 0) or a checkpoint."""

    step: int
    folder: Path
    model_path: str


@dataclass(frozen=True)
class Verified:
    """What was read from a source, each file equal to its manifest entry; nothing is read again from the folder."""

    source: Source
    model: str
    weights_sha256: str
    config: dict[str, Any]
    hero: dict[str, Any]
    tokenizer: bytes
    weights: bytes
    trained_template: str | None = None
    profile: str = "none"

    @property
    def day(self) -> str:
        """The day the mantra speaks of, YYYY-MM-DD: when the checkpoint was saved, so that it answers the same on any day."""
        named = NAME.match(self.source.folder.name)
        return f"{named[2][:4]}-{named[2][4:6]}-{named[2][6:8]}" if named else str(self.hero.get("created_at", ""))[:10]


def step_of(name: str) -> int | None:
    """Return the step of a canonical checkpoint name, None for any other name."""
    match = NAME.match(name)
    return int(match[1]) if match else None


def list_sources(paths: Paths) -> dict[int, Source]:
    """Return step → source of everything that can be loaded now, by rising step.

    Step 0 is the base folder of the active hero. When a step was saved twice, the later name counts.
    """
    found: dict[int, Source] = {}
    base = _base_folder(paths)
    if base is not None:
        found[0] = _source(paths, 0, base)
    folders = sorted(paths.current_model.iterdir()) if paths.current_model.is_dir() else []
    steps = sorted(((step_of(f.name), f.name) for f in folders if f.is_dir()), key=lambda pair: (pair[0] or 0, pair[1]))
    for step, name in steps:
        if step is not None:
            found[step] = _source(paths, step, paths.current_model / name)
    return found


def _source(paths: Paths, step: int, folder: Path) -> Source:
    return Source(step, folder, folder.relative_to(paths.home).as_posix())


def _base_folder(paths: Paths) -> Path | None:
    if paths.config.is_file():
        return active_hero(paths).folder
    heroes = list_heroes(paths)
    if len(heroes) > 1:
        raise BadInput(f"{len(heroes)} heroes and no config.json", hint=f"set hero to one of {[h.id for h in heroes]}")
    return heroes[0].folder if heroes else None


def find_source(paths: Paths, step: int) -> Source:
    """Return the source of exactly this step; raises Unknown listing the steps there are."""
    sources = list_sources(paths)
    if step not in sources:
        raise Unknown(f"there is no checkpoint of step {step}", hint=f"available steps: {_listed(sources)}")
    return sources[step]


def _listed(sources: dict[int, Source]) -> str:
    steps = sorted(sources)
    shown = steps if len(steps) <= 20 else [*steps[:5], "…", *steps[-14:]]
    return ", ".join(map(str, shown)) or "none"


def read_verified(source: Source) -> Verified:
    """Read a source's files and compare size and SHA-256 of each with the manifest.

    Raises Corrupt for the first file that differs and for a manifest of another step or name, Unknown when the folder
    is taken away meanwhile.
    """
    try:
        manifest = read_manifest(source.folder)
        _check_identity(source, manifest)
        texts = {name: _read_file(source, manifest, name) for name in TEXTS}
        weights = _read_file(source, manifest, WEIGHTS)
        # The base hero was trained by nobody here and has no record.
        record, state = (_read_file(source, manifest, name) if name in manifest["files"] else b"{}" for name in (SIDECAR, STATE))
    except FileNotFoundError as error:
        raise Unknown(f"{source.model_path} was dropped while it was being read", hint="choose another step") from error
    return Verified(
        source,
        str(manifest["canonical_name"]),
        str(manifest["weights_sha256"]),
        _json(source, "config.json", texts["config.json"]),
        _json(source, "hero.json", texts["hero.json"]),
        texts["tokenizer.json"],
        weights,
        _json(source, SIDECAR, record).get("template_hash"),
        str(_json(source, STATE, state).get("config", {}).get("profile", "none")),
    )


def _check_identity(source: Source, manifest: dict[str, Any]) -> None:
    if manifest.get("step") != source.step:
        raise Corrupt(f"the manifest of {source.model_path} is of step {manifest.get('step')}, not {source.step}")
    if source.step and manifest.get("canonical_name") != source.folder.name:
        raise Corrupt(f"the manifest of {source.model_path} belongs to {manifest.get('canonical_name')}")


def _read_file(source: Source, manifest: dict[str, Any], name: str) -> bytes:
    expected = manifest["files"].get(name)
    if expected is None:
        raise Corrupt(f"the manifest of {source.model_path} does not name {name}")
    path = source.folder / name
    if path.is_symlink():
        raise Corrupt(f"{source.model_path}/{name} is a link", hint="a checkpoint holds its own files")
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as handle:
        data = handle.read()
    if len(data) != expected["size"]:
        raise Corrupt(f"{source.model_path}/{name} has {len(data)} bytes, its manifest says {expected['size']}")
    digest = hashlib.sha256(data).hexdigest()
    if digest != expected["sha256"]:
        raise Corrupt(
            f"{source.model_path}/{name} does not match its manifest: {digest[:12]} instead of {expected['sha256'][:12]}",
            hint="the copy is damaged and is not served; restore it or choose another step",
        )
    return data


def _json(source: Source, name: str, data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise Corrupt(f"{source.model_path}/{name} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise Corrupt(f"{source.model_path}/{name} is not a JSON object")
    return found
