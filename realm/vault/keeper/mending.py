"""A damaged copy gets its bytes back: from another file here that holds them, else from a copy elsewhere.

A source is hashed before it is used, and a file is replaced as a whole by a rename; what cannot be mended is quarantined.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from realm.core import durable, events
from realm.core.clock import SYSTEM, Clock
from realm.core.errors import Corrupt, RealmError, Unknown
from realm.core.logs import get_logger
from realm.core.manifest import read_manifest
from realm.core.paths import Paths
from realm.core.store import transaction
from realm.vault import ledger
from realm.vault.keeper.asset_files import check_file
from realm.vault.keeper.assets import AssetFile, AssetManifest, file_place
from realm.vault.keeper.catalogue import Catalogue, Location
from realm.vault.keeper.discovery import set_aside
from realm.vault.keeper.quarantine import quarantine
from realm.vault.keeper.reading import Pace, full_speed, hash_file

log = get_logger("mending")
# Fills an empty folder with the files of a copy elsewhere; raises Unavailable when it cannot.
Bring = Callable[[Location, AssetManifest, Path], None]
Damage = tuple[AssetFile, str]


@dataclass(frozen=True)
class Mended:
    """How it ended: file -> where its bytes came from, and file -> what is still wrong with it."""

    healed: dict[str, str]
    lost: dict[str, str]


def damages(paths: Paths, manifest: AssetManifest, path: str, pace: Pace = full_speed) -> list[Damage]:
    """Read every byte of a copy in this base directory; return the files that differ and how, none for a whole one.

    Raises Unavailable when a file is written meanwhile.
    """
    found = []
    for file in manifest.files:
        if wrong := _wrong(paths.home, file_place(manifest.type, path, file.path), file, pace):
            # Memory and controllers err as well: what is wrong is read a second time before it is believed.
            wrong = _wrong(paths.home, file_place(manifest.type, path, file.path), file, pace)
        found += [(file, wrong)] if wrong else []
    return found


def _wrong(home: Path, place: str, file: AssetFile, pace: Pace) -> str:
    try:
        sha256, mark = hash_file(home, place, pace)
    except Unknown:
        return f"{place} is gone"
    except Corrupt as error:
        return error.message
    except OSError as error:
        return f"{place} cannot be read: {error.strerror}"
    if mark.size != file.size:
        return f"{place} has {mark.size} bytes, {file.size} were registered"
    return "" if sha256 == file.sha256 else f"{place} does not match: {sha256[:12]} instead of {file.sha256[:12]}"


def mend_files(paths: Paths, connection: sqlite3.Connection, wanted: Sequence[AssetFile], folder: Path) -> dict[str, str]:
    """Replace files of `folder` by files of this base directory that hold their bytes; returns file -> source."""
    healed = {}
    for file in wanted:
        if source := _twin(paths, connection, file, folder / file.path):
            durable.copy_file(paths.home / source, folder / file.path)
            healed[file.path] = source
    return healed


def _twin(paths: Paths, connection: sqlite3.Connection, file: AssetFile, target: Path) -> str | None:
    """Return a file with these bytes, checked just now; a second name of the damaged file itself is none."""
    own = target.stat().st_ino if target.is_file() else -1
    rows = connection.execute(
        "SELECT path, inode FROM scanned_files WHERE sha256 = ? AND size = ? ORDER BY path", (file.sha256, file.size)
    ).fetchall()
    for row in rows:
        if row["inode"] == own or paths.home / row["path"] == target:
            continue
        try:
            check_file(paths.home, row["path"], file)
        except (Corrupt, Unknown) as error:
            log.warning("no twin of %s: %s", file.path, error.message)
            continue
        return str(row["path"])
    return None


def mend(
    paths: Paths, catalogue: Catalogue, location: Location, damaged: Sequence[Damage], bring: Bring | None = None,
    clock: Clock = SYSTEM,
) -> Mended:
    """Mend a damaged local copy, or quarantine it when a file of it cannot be had; says so in the log of events.

    Raises Unknown when the copy went away meanwhile.
    """
    manifest, facts = catalogue.manifest(location.asset_id), catalogue.connection
    base = paths.home / file_place(manifest.type, location.path, "x")
    wanted = [file for file, _ in damaged]
    try:
        healed = mend_files(paths, facts, wanted, base.parent)
        rest = [file for file in wanted if file.path not in healed]
        if rest and bring is not None:
            healed |= _from_elsewhere(paths, catalogue, manifest, rest, base.parent, bring)
    except FileNotFoundError as error:
        raise Unknown(f"{location.path} was dropped while it was mended") from error
    lost = {file.path: wrong for file, wrong in damaged if file.path not in healed}
    if lost:
        _give_up(paths, catalogue, location, manifest, next(iter(lost.values())))
        return Mended(healed, lost)
    with transaction(facts):
        catalogue.place(location.asset_id, location.place, verified=True)
        data = {"id": location.asset_id, "path": location.path, "files": healed}
        events.append(facts, "asset.healed", subject=location.asset_id, data=data, clock=clock)
    log.warning("healed %s: %s", location.asset_id, healed)
    return Mended(healed, {})


def _from_elsewhere(
    paths: Paths, catalogue: Catalogue, manifest: AssetManifest, wanted: Sequence[AssetFile], folder: Path, bring: Bring
) -> dict[str, str]:
    for copy in catalogue.locations(manifest.id):
        if copy.kind == "local":
            continue
        scratch = durable.new_dir(paths.store, f"heal-{manifest.id}")
        try:
            bring(copy, manifest, scratch)
            for file in wanted:
                check_file(scratch, file.path, file)
            for file in wanted:
                durable.copy_file(scratch / file.path, folder / file.path)
        except (RealmError, OSError) as error:
            log.warning("%s/%s gave no whole copy of %s: %s", copy.zone, copy.stronghold, manifest.id, error)
            continue
        finally:
            durable.remove_tree(scratch)
        return {file.path: f"{copy.zone}/{copy.stronghold}" for file in wanted}
    return {}


def _give_up(paths: Paths, catalogue: Catalogue, location: Location, manifest: AssetManifest, reason: str) -> None:
    with transaction(catalogue.connection):
        set_aside(catalogue, location.place, reason)
    folder = paths.home / location.path
    if manifest.type == "checkpoint" and folder.parent == paths.current_model and folder.is_dir():
        quarantine(paths, catalogue.connection, folder, reason)
        return
    with transaction(catalogue.connection):
        data = {"check": "vault", "name": location.asset_id, "reason": reason}
        events.append(catalogue.connection, "patrol.failed", subject=location.asset_id, data=data)


def mend_checkpoint(paths: Paths, connection: sqlite3.Connection, folder: Path) -> bool:
    """Mend a checkpoint from files of this base directory, by its own manifest as it was recorded; True when it is whole.

    For the arena, which must not wait for another machine.
    """
    try:
        told = read_manifest(folder)
    except Corrupt:
        return False
    row = connection.execute("SELECT manifest_sha256 FROM checkpoints WHERE name = ?", (folder.name,)).fetchone()
    sha256, _ = hash_file(folder, "manifest.json")
    if row is None or row["manifest_sha256"] != sha256:
        return False
    files = [AssetFile(path=name, size=entry["size"], sha256=entry["sha256"]) for name, entry in told["files"].items()]
    wrong = [file for file in files if _wrong(folder, file.path, file, full_speed)]
    healed = mend_files(paths, connection, wrong, folder)
    if len(healed) < len(wrong):
        return False
    step = ledger.extract_step(folder.name)
    with transaction(connection):
        data = {"id": f"checkpoint_{step}", "path": folder.relative_to(paths.home).as_posix(), "files": healed}
        events.append(connection, "asset.healed", subject=f"checkpoint_{step}", step=step, data=data)
    log.warning("healed %s: %s", folder.name, healed)
    return True
