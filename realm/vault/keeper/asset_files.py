"""Reading an asset's bytes without leaving its folder: every component of a path is opened without following links."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import closing
from io import BufferedReader
from pathlib import Path

from realm.core.errors import Corrupt, Unknown
from realm.core.paths import Paths
from realm.core.store import read_facts
from realm.vault.keeper.assets import AssetFile, AssetManifest, file_place
from realm.vault.keeper.catalogue import Catalogue, Location

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
BLOCK = 1024**2


def safe_open(root: Path, relative: str) -> BufferedReader:
    """Open a regular file below `root` for reading, component by component; no link is followed below the root.

    Raises Unknown when it is not there, Corrupt for a link, a folder, a device or a path that leaves the root.
    """
    parts = relative.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise Corrupt(f"not a path inside {root.name}: {relative[:80]!r}")
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            inner = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        handle = os.open(parts[-1], _FILE, dir_fd=folder)
    except FileNotFoundError as error:
        raise Unknown(f"{relative} is not there any more") from error
    except OSError as error:
        raise Corrupt(f"{relative} is not a plain file: {error.strerror}", hint="assets hold no links") from error
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Corrupt(f"{relative} is not a plain file", hint="assets hold no links, folders or devices in a file's place")
    return os.fdopen(handle, "rb")


def check_file(root: Path, relative: str, expected: AssetFile) -> None:
    """Compare one file with its manifest entry, size first; raises Corrupt naming the file, Unknown when it is gone."""
    with safe_open(root, relative) as handle:
        size = os.fstat(handle.fileno()).st_size
        if size != expected.size:
            raise Corrupt(f"{relative} has {size} bytes, its manifest says {expected.size}")
        found = hashlib.file_digest(handle, "sha256").hexdigest()
    if found != expected.sha256:
        raise Corrupt(
            f"{relative} does not match its manifest: {found[:12]} instead of {expected.sha256[:12]}",
            hint="the copy is damaged; another copy is used instead",
        )


def check_asset(root: Path, manifest: AssetManifest, path: str) -> None:
    """Compare every byte of a copy with its manifest; `path` is the location's, relative to `root`.

    Raises Corrupt or Unknown naming the first file that differs or is gone.
    """
    for file in manifest.files:
        check_file(root, file_place(manifest.type, path, file.path), file)


def local_location(catalogue: Catalogue, asset_id: str) -> Location:
    """Return where the asset lies in this base directory; raises Unknown naming where it is instead."""
    found = catalogue.locations(asset_id)
    for one in found:
        if one.kind == "local":
            return one
    places = ", ".join(f"{one.zone}/{one.stronghold}" for one in found)
    raise Unknown(f"{asset_id} is not in this base directory", hint=f"it is in {places}" if places else "no copy is left")


def manifest_of(paths: Paths, asset_id: str) -> AssetManifest:
    """Return the manifest of an asset that lies in this base directory; raises Unknown, BadInput for what is no id."""
    with closing(read_facts(paths)) as facts:
        catalogue = Catalogue(facts)
        local_location(catalogue, asset_id)
        return catalogue.manifest(asset_id)


def open_file(paths: Paths, asset_id: str, rel: str) -> BufferedReader:
    """Open one file of an asset of this base directory for reading; `rel` is a path of its manifest.

    Its bytes are not compared: the receiver does that. Raises Unknown for another file or one that is gone, Corrupt for
    one that has another size than registered.
    """
    with closing(read_facts(paths)) as facts:
        catalogue = Catalogue(facts)
        location, manifest = local_location(catalogue, asset_id), catalogue.manifest(asset_id)
    expected = manifest.file(rel)
    handle = safe_open(paths.home, file_place(manifest.type, location.path, expected.path))
    size = os.fstat(handle.fileno()).st_size
    if size != expected.size:
        handle.close()
        raise Corrupt(f"{asset_id}/{rel} has {size} bytes, {expected.size} were registered")
    return handle
