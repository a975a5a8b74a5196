"""A checkpoint as a plain Hugging Face folder: what `export` streams as a .tar, written out and compared with its manifest."""

from __future__ import annotations

from pathlib import Path

from realm.core import durable, manifest
from realm.core.errors import Conflict, Corrupt
from realm.vault.keeping.export import FILES


def write_folder(source: Path, target: Path, step: int) -> Path:
    """Copy the served files of a checkpoint to a new folder with a manifest of its own; it appears whole or not at all.

    Raises Conflict when the target exists, Corrupt naming a file that is not the manifest's, NoSpace.
    """
    if target.exists():
        raise Conflict(f"{target} exists already", hint="give a new place")
    told = manifest.check_sizes(source)
    making = durable.new_dir(target.parent, target.name)
    try:
        for name in FILES:
            if name in told["files"]:
                durable.copy_file(source / name, making / name)
        made = manifest.write_manifest(making, step, target.name)
        for name, entry in made["files"].items():
            if entry["sha256"] != told["files"][name]["sha256"]:
                raise Corrupt(f"{source.name}/{name} does not match its manifest", hint="export another checkpoint")
        durable.commit_dir(making, target)
    except BaseException:
        if making.exists():
            durable.remove_tree(making)
        raise
    return target
