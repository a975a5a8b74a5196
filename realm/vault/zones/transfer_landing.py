"""Where an asset from elsewhere lies here, whether it may, and the commit: content first, then what refers to it."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from realm.core import durable, manifest
from realm.core.clock import SYSTEM, Clock
from realm.core.daemon import lock_holder
from realm.core.errors import BadInput, Conflict, Corrupt, NoSpace, Refused, Unknown
from realm.core.hosts import Hosts
from realm.core.paths import Paths
from realm.vault import ledger
from realm.vault.keeper.asset_files import check_asset, check_file
from realm.vault.keeper.assets import FILE_TYPES, AssetManifest
from realm.vault.keeper.catalogue import HOME, Catalogue, Place
from realm.vault.ledger import Record

# Kept free beside what arrives, so that a transfer never takes the room of the next checkpoint's first bytes.
RESERVE = 64 * 1024**2
MOST_FILES = 20_000
_PART = re.compile(r"[^\W_][^\x00-\x1f\x7f/\\]{0,199}\Z")
_TAKEN_NAMES = frozenset({"current_model"})


@dataclass(frozen=True)
class Landing:
    """The final place: `path` relative to the home, as the catalogue writes it; `folder` holds the files of the asset."""

    path: str
    folder: Path
    whole_folder: bool


def plan_landing(paths: Paths, asset: AssetManifest) -> Landing:
    """Return where an asset from elsewhere belongs; raises Refused for a type that is not taken, BadInput for a name."""
    if asset.type == "config":
        raise Refused("configuration is not taken from elsewhere", hint="copy the values you want by hand")
    parents = {
        "checkpoint": paths.current_model, "model": paths.models, "data": paths.data,
        "snapshot": paths.snapshots, "backup": paths.backups,
    }  # fmt: skip
    parts = asset.name.split("/")
    deep = asset.type in FILE_TYPES
    if len(asset.files) > MOST_FILES or not all(map(_PART.match, parts)) or (len(parts) > 1 and not deep):
        raise BadInput(f"{asset.type} {asset.name!r} cannot be stored under its name")
    if asset.type == "model" and asset.name in _TAKEN_NAMES:
        raise Refused(f"a model named {asset.name} would lie where the checkpoints are")
    final = parents[asset.type].joinpath(*parts)
    path = final.relative_to(paths.home).as_posix()
    return Landing(path, final.parent if deep else final, not deep)


def own_place(paths: Paths, landing: Landing) -> Place:
    """Return the catalogue's place of a landing."""
    return Place(zone=Hosts.load(paths).own_zone(), stronghold=HOME, kind="local", path=landing.path)


def already_here(paths: Paths, asset: AssetManifest, landing: Landing) -> bool:
    """Say whether exactly these bytes lie at the landing; raises Conflict when something else does."""
    if not os.path.lexists(paths.home / landing.path):
        return False
    try:
        check_asset(paths.home, asset, landing.path)
    except (Corrupt, Unknown) as other:
        raise Conflict(f"{landing.path} exists and holds other bytes: {other.message}", hint="move it away first") from other
    return True


def check_admission(
    paths: Paths, connection: sqlite3.Connection, asset: AssetManifest, line: Sequence[Record]
) -> None:
    """Refuse what would contradict this home: another asset of the same id, a checkpoint of another hero or line.

    `line` are the records from the first parent to the checkpoint itself. Raises Conflict or Corrupt.
    """
    known = Catalogue(connection).find(asset.id)
    if known is not None and known.digest != asset.digest:
        kept = [one for one in Catalogue(connection).locations(asset.id) if one.kind == "local"]
        if kept:
            raise Conflict(
                f"{asset.id} lies here as {known.digest[:16]}, the other side offers {asset.digest[:16]}",
                hint="an id stands for the same bytes for ever; remove one of the two",
            )
    if asset.type == "checkpoint":
        _check_line(paths, connection, asset, line)


def _check_line(paths: Paths, connection: sqlite3.Connection, asset: AssetManifest, line: Sequence[Record]) -> None:
    if not line or line[-1].canonical_name != asset.name:
        raise Corrupt(f"the other side sent no record of {asset.name}")
    if any(child.parent != parent.canonical_name for parent, child in pairwise(line)):
        raise Corrupt(f"the records before {asset.name} are no line of parents")
    record = line[-1]
    found = connection.execute(
        "SELECT name FROM checkpoints WHERE step = ? AND state = 'present' AND name != ?", (record.step, record.canonical_name)
    ).fetchone()
    if found is not None:
        raise Conflict(f"{found['name']} has step {record.step} here already", hint="a step is one checkpoint")
    if paths.config.is_file():
        _check_hero(paths, connection, record, line)


def _check_hero(paths: Paths, connection: sqlite3.Connection, record: Record, line: Sequence[Record]) -> None:
    """A home that trains takes back its own line only: training goes on from the highest step."""
    mine = json.loads(paths.config.read_text(encoding="utf-8")).get("hero")
    if mine is not None and record.hero != mine:
        raise Conflict(f"{record.canonical_name} is of hero {record.hero}, this home trains {mine}",
                       hint="pull it into another base directory")  # fmt: skip
    rows = connection.execute("SELECT name, step, parent, state FROM checkpoints").fetchall()
    names = {one.canonical_name for one in line}
    related = any(row["name"] in names or row["parent"] in names for row in rows)
    if rows and not related:
        raise Conflict(f"{record.canonical_name} does not come from this home's line of checkpoints",
                       hint="pull it into another base directory")  # fmt: skip
    newest = max((row["step"] for row in rows if row["state"] == "present"), default=-1)
    if record.step > newest and lock_holder(paths, "arena") is not None:
        raise Conflict(f"the arena is at step {newest} and would reach step {record.step} itself",
                       hint="stop the arena before pulling a later checkpoint")  # fmt: skip


def check_space(folder: Path, needed: int, reserve: int = RESERVE) -> None:
    """Raise NoSpace when a folder's disk cannot take `needed` bytes and keep the reserve."""
    free = shutil.disk_usage(folder).free
    if free < needed + reserve:
        raise NoSpace(f"{needed / 1e6:.1f} MB are to come, {free / 1e6:.1f} MB are free in {folder.name}/",
                      hint=f"free {(needed + reserve - free) / 1e6:.1f} MB; nothing was fetched")  # fmt: skip


def check_arrived(asset: AssetManifest, files: Path) -> None:
    """Compare what arrived with what it says of itself; raises Corrupt when a checkpoint contradicts its own manifest."""
    for file in asset.files:
        found = (files / file.path).stat().st_size
        if found != file.size:
            raise Corrupt(f"{file.path} has {found} bytes, its manifest says {file.size}")
    if asset.type not in ("checkpoint", "model"):
        return
    told = manifest.read_manifest(files)
    expected = {file.path: {"size": file.size, "sha256": file.sha256} for file in asset.files if file.path != manifest.NAME}
    if {name: {"size": e["size"], "sha256": e["sha256"]} for name, e in told["files"].items()} != expected:
        raise Corrupt(f"the files of {asset.name} are not those of its own manifest")
    if asset.type == "checkpoint":
        record = ledger.read_record(files / ledger.SIDECAR)
        named = (asset.name, ledger.extract_step(asset.name), told["weights_sha256"])
        if (record.canonical_name, record.step, record.weights_sha256) != named or told["canonical_name"] != asset.name:
            raise Corrupt(f"{asset.name} holds the files of another checkpoint")


def publish(paths: Paths, asset: AssetManifest, landing: Landing, files: Path) -> None:
    """Give arrived files their final names: a folder by one rename, a data file after what belongs to it."""
    landing.folder.parent.mkdir(parents=True, exist_ok=True)
    if landing.whole_folder:
        durable.commit_dir(files, landing.folder)
        return
    landing.folder.mkdir(parents=True, exist_ok=True)
    main = paths.home / landing.path
    for file in sorted(asset.files, key=lambda one: one.path == main.name):
        target = landing.folder / file.path
        if not os.path.lexists(target):
            durable.move(files / file.path, target)
            continue
        try:
            check_file(landing.folder, file.path, file)
        except Corrupt as other:
            raise Conflict(f"{file.path} exists beside {asset.name} and holds other bytes", hint="move it away first") from other


def keep_line(paths: Paths, connection: sqlite3.Connection, line: Sequence[Record]) -> None:
    """Keep the records of parents that are not here, so that the line of parents has no gap; only ever adds."""
    known = {row["name"] for row in connection.execute("SELECT name FROM checkpoints")}
    known |= {record.canonical_name for record in ledger.dropped_records(paths)}
    for record in line:
        if record.canonical_name not in known:
            ledger.keep_sidecar(paths, record)


def refer(
    paths: Paths, connection: sqlite3.Connection, asset: AssetManifest, landing: Landing, line: Sequence[Record],
    clock: Clock = SYSTEM,
) -> None:
    """Write what refers to committed content, inside the caller's transaction: ledger rows and the catalogue's.

    A checkpoint from elsewhere is pinned: retention would take it away again at the next save.
    """
    if asset.type == "checkpoint":
        for parent in line[:-1]:
            connection.execute(
                "INSERT OR IGNORE INTO checkpoints(name, step, state, parent, generation, weights_sha256, manifest_sha256,"
                " size, created_at, record) VALUES (?,?,'dropped',?,?,?,'',0,?,?)",
                (parent.canonical_name, parent.step, parent.parent, parent.generation, parent.weights_sha256,
                 parent.timestamp, parent.model_dump_json()),
            )  # fmt: skip
        row = connection.execute("SELECT state FROM checkpoints WHERE name = ?", (asset.name,)).fetchone()
        if row is None or row["state"] != "present":
            ledger.index(connection, ledger.read_record(landing.folder / ledger.SIDECAR), landing.folder)
            connection.execute("UPDATE checkpoints SET pinned = 1 WHERE name = ?", (asset.name,))
    catalogue = Catalogue(connection, clock)
    catalogue.put(asset)
    catalogue.place(asset.id, own_place(paths, landing), verified=True)
