"""Bringing the catalogue and the base directory together: what is new or changed is hashed, what is unchanged is not.

A file is unchanged when size, modification time and inode are the remembered ones. Bytes that differ from what was
registered are damage in a checkpoint, model, snapshot or backup; a data or config file that was written anew is a new
version of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from realm.core import manifest as folder_manifest
from realm.core.clock import SYSTEM, Clock
from realm.core.errors import Conflict, RealmError, Unavailable, Unknown
from realm.core.hosts import Hosts
from realm.core.paths import Paths, open_home
from realm.core.store import open_facts, transaction
from realm.vault.keeper.assets import FILE_TYPES, AssetFile, AssetManifest, make_manifest
from realm.vault.keeper.catalogue import HOME, Catalogue, Place
from realm.vault.keeper.finds import SIDECAR_END, Find, Mark, Odd, born, told_of, walk
from realm.vault.keeper.reading import Pace, full_speed, hash_file

BATCH, BATCH_BYTES = 100, 2**30
WITH_MANIFEST = ("checkpoint", "model")
Progress = Callable[[str], None]


@dataclass
class ScanReport:
    """What a scan did; `missing` went unasked, `dropped` by a rule or the player, `problems` could not be registered.

    Ids, but for `problems`, which are sentences.
    """

    seen: int = 0
    unchanged: int = 0
    registered: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    bytes_hashed: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Judged:
    """A find with what was expected of it: `damage` is empty when the bytes are those of the manifest."""

    find: Find
    manifest: AssetManifest
    marks: dict[str, Mark]
    damage: str


class VaultDiscovery:
    """Scans a base directory into its catalogue."""

    def __init__(self, paths: Paths | None = None, clock: Clock = SYSTEM) -> None:
        self.paths = paths or open_home()
        self._clock = clock

    def scan_all(self) -> ScanReport:
        """Scan everything; the seed's name of `scan`."""
        return self.scan()

    def scan(
        self, pace: Pace = full_speed, progress: Progress = lambda _: None, only: str | None = None
    ) -> ScanReport:
        """Register what is new or changed, mark what is gone, and report; an asset is never registered twice.

        With `only`, an asset's id, everything else is left as it is.
        """
        begin = self._clock.monotonic()
        with closing(open_facts(self.paths)) as facts:
            report = scan_into(self.paths, Catalogue(facts, self._clock), pace, progress, only)
        report.seconds = round(self._clock.monotonic() - begin, 3)
        return report


def scan_into(
    paths: Paths, catalogue: Catalogue, pace: Pace = full_speed, progress: Progress = lambda _: None, only: str | None = None
) -> ScanReport:
    """Scan a base directory into a catalogue that may lie elsewhere, as `VaultDiscovery.scan` does."""
    return _Scan(paths, catalogue, pace).run(progress, only)


class _Scan:
    """One pass over the base directory."""

    def __init__(self, paths: Paths, catalogue: Catalogue, pace: Pace) -> None:
        self._paths = paths
        self._catalogue = catalogue
        self._facts: sqlite3.Connection = catalogue.connection
        self._pace = pace
        self._zone = local_zone(paths)
        self._report = ScanReport()
        self._waiting: list[Judged] = []
        self._flushed = 0

    def run(self, progress: Progress, only: str | None = None) -> ScanReport:
        _keep_zone(self._facts, self._zone)
        known = {row["path"]: (row["asset_id"], row["state"], row["file_count"]) for row in self._facts.execute(
            "SELECT l.path, l.asset_id, l.state, a.file_count FROM locations l JOIN assets a ON a.id = l.asset_id"
            " WHERE l.kind = 'local' AND l.stronghold = ?", (HOME,)
        )}  # fmt: skip
        seen = set()
        for find in walk(self._paths):
            seen.add(find.path)
            if only is not None and (isinstance(find, Odd) or find.id != only):
                continue
            if isinstance(find, Odd):
                self._refuse(find.path, find.why)
                continue
            self._report.seen += 1
            if self._unchanged(find, known.get(find.path)):
                self._report.unchanged += 1
                continue
            progress(find.path)
            self._look(find)
        self._flush()
        gone = [
            (path, row[0]) for path, row in known.items()
            if row[1] == "present" and path not in seen and only in (None, row[0])
        ]  # fmt: skip
        self._miss(gone)
        return self._report

    def _unchanged(self, find: Find, known: tuple[str, str, int] | None) -> bool:
        if known is None or known[1] != "present":
            return False
        # Only a folder with a manifest may hold files that are not part of the asset.
        if find.type not in WITH_MANIFEST and known[2] != len(find.files):
            return False
        same = 0
        for file, mark in find.files.items():
            row = self._remembered(find.place_of(file))
            if row is not None:
                if Mark(row["size"], row["mtime_ns"], row["inode"]) != mark:
                    return False
                same += 1
        return same == known[2]

    def _remembered(self, path: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._facts.execute("SELECT * FROM scanned_files WHERE path = ?", (path,)).fetchone()
        return row

    def _look(self, find: Find) -> None:
        try:
            self._waiting.append(self._judge(find))
        except (Unavailable, Unknown):
            return  # written or dropped while it was read; the next scan sees how it ended
        except RealmError as error:
            self._refuse(find.path, f"{find.path}: {error.message}")
        if len(self._waiting) >= BATCH or self._report.bytes_hashed - self._flushed > BATCH_BYTES:
            self._flush()

    def _refuse(self, path: str, why: str) -> None:
        """Report what cannot be an asset; one that was registered in its place is quarantined."""
        self._report.problems.append(why)
        place = Place(zone=self._zone, stronghold=HOME, kind="local", path=path)
        before = self._catalogue.at(place)
        if before is not None and before.state == "present":
            set_aside(self._catalogue, place, why)
            self._report.damaged.append(before.asset_id)

    def _judge(self, find: Find) -> Judged:
        """Hash what is not remembered and compare it with what the asset should be."""
        told = _own_manifest(self._paths, find)
        hashed: dict[str, AssetFile] = {}
        marks: dict[str, Mark] = {}
        for file in sorted(told if told is not None else find.files):
            if file in find.files:
                hashed[file], marks[file] = self._hash(find, file)
        if told is None:
            found = make_manifest(find.type, find.name, hashed.values())
            return Judged(find, found, marks, self._damage_of(find, found))
        # The folder's manifest names every file but itself.
        wanted = [entry for entry in told.values() if entry is not None]
        own = hashed[folder_manifest.NAME]
        declared = make_manifest(find.type, find.name, [*wanted, own])
        damage = [f"{find.path}/{entry.path} {_told(hashed.get(entry.path), entry)}" for entry in wanted
                  if hashed.get(entry.path) != entry]  # fmt: skip
        return Judged(find, declared, marks, damage[0] if damage else self._damage_of(find, declared))

    def _hash(self, find: Find, file: str) -> tuple[AssetFile, Mark]:
        path = find.place_of(file)
        row, mark = self._remembered(path), find.files[file]
        if row is not None and Mark(row["size"], row["mtime_ns"], row["inode"]) == mark:
            return AssetFile(path=file, size=mark.size, sha256=row["sha256"]), mark
        sha256, mark = hash_file(self._paths.home, path, self._pace)
        self._report.bytes_hashed += mark.size
        return AssetFile(path=file, size=mark.size, sha256=sha256), mark

    def _damage_of(self, find: Find, found: AssetManifest) -> str:
        """Say how what was found differs from what is registered in its place; a new version is no damage."""
        if find.type == "checkpoint":
            row = self._facts.execute(
                "SELECT manifest_sha256 FROM checkpoints WHERE name = ? AND manifest_sha256 <> ''", (find.name,)
            ).fetchone()
            mine = found.file(folder_manifest.NAME).sha256 if row is not None else ""
            if row is not None and mine != row["manifest_sha256"]:
                return f"{find.path}/{folder_manifest.NAME} is not the one that was recorded when it was saved"
        if find.type in FILE_TYPES:
            return ""
        before = self._catalogue.at(self._place(find))
        if before is None or before.asset_id != found.id or before.state == "missing":
            return ""
        registered = self._catalogue.manifest(found.id)
        return "" if registered.digest == found.digest else _first_difference(find, registered, found)

    def _place(self, find: Find) -> Place:
        return Place(zone=self._zone, stronghold=HOME, kind="local", path=find.path)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._flushed = self._report.bytes_hashed
        if waiting:
            with transaction(self._facts):
                for judged in waiting:
                    self._enter(judged)

    def _enter(self, judged: Judged) -> None:
        find, place = judged.find, self._place(judged.find)
        before = self._catalogue.at(place)
        known = before is not None and before.asset_id == judged.manifest.id
        try:
            if not (judged.damage and known):
                if known and self._catalogue.get(find.id).digest != judged.manifest.digest:
                    self._catalogue.mark(place, "missing", "it was written anew")
                at, meta = born(find, told_of(self._paths, find))
                self._catalogue.put(judged.manifest, created_at=at, meta=meta)
                self._catalogue.place(find.id, place, verified=not judged.damage)
        except Conflict as error:
            self._report.problems.append(f"{find.path}: {error.message}")
            return
        if judged.damage:
            set_aside(self._catalogue, place, judged.damage)
            self._report.damaged.append(find.id)
            return
        self._remember(judged)
        self._report.registered.append(find.id)

    def _remember(self, judged: Judged) -> None:
        for file in judged.manifest.files:
            mark = judged.marks[file.path]
            self._facts.execute(
                "INSERT OR REPLACE INTO scanned_files(path, asset_id, size, mtime_ns, inode, sha256) VALUES (?,?,?,?,?,?)",
                (judged.find.place_of(file.path), judged.find.id, mark.size, mark.mtime_ns, mark.inode, file.sha256),
            )

    def _miss(self, gone: list[tuple[str, str]]) -> None:
        for start in range(0, len(gone), BATCH):
            with transaction(self._facts):
                for path, asset_id in gone[start : start + BATCH]:
                    place = Place(zone=self._zone, stronghold=HOME, kind="local", path=path)
                    forget_marks(self._facts, path)
                    if self._let_go(path):
                        self._forget(asset_id, place)
                        self._report.dropped.append(asset_id)
                    else:
                        self._catalogue.mark(place, "missing", "it is not in the base directory any more")
                        self._report.missing.append(asset_id)

    def _let_go(self, path: str) -> bool:
        """Say whether a rule or the player took it away: the ledger and the board remember what they dropped."""
        name = PurePosixPath(path).name
        gone = (
            "SELECT 1 FROM checkpoints WHERE name = ? AND state = 'dropped'"
            " UNION SELECT 1 FROM quests WHERE file = ? AND (kept = 0 OR state = 'deleted')"
        )
        return self._facts.execute(gone, (name, name)).fetchone() is not None

    def _forget(self, asset_id: str, place: Place) -> None:
        self._catalogue.forget(asset_id, place, "dropped")
        if not self._catalogue.locations(asset_id, present=False):
            self._catalogue.forget_asset(asset_id)


def local_zone(paths: Paths) -> str:
    """Return the id of this machine, by which its copies are told from those of other zones."""
    return Hosts.load(paths).own_zone()


def forget_marks(facts: sqlite3.Connection, path: str) -> None:
    """Forget by what the files of a place were known, so that the next look reads every byte."""
    facts.execute(
        "DELETE FROM scanned_files WHERE path IN (?, ?) OR (path >= ? AND path < ?)",
        (path, path + SIDECAR_END, path + "/", path + "0"),
    )


def set_aside(catalogue: Catalogue, place: Place, reason: str) -> None:
    """Mark a local copy as quarantined; it is present again when a scan has found every byte right."""
    catalogue.mark(place, "quarantined", reason)
    forget_marks(catalogue.connection, place.path)


def _keep_zone(facts: sqlite3.Connection, zone: str) -> None:
    """When this machine got another id in hosts.json, its copies go with it."""
    with transaction(facts):
        facts.execute("UPDATE locations SET zone = ? WHERE kind = 'local' AND zone <> ?", (zone, zone))


def _own_manifest(paths: Paths, find: Find) -> dict[str, AssetFile | None] | None:
    """Return what the manifest inside a folder names, itself with None; None when the folder has none."""
    if find.type not in WITH_MANIFEST or (find.type == "model" and folder_manifest.NAME not in find.files):
        return None
    told = folder_manifest.read_manifest(paths.home / find.path)
    files: dict[str, AssetFile | None] = {
        name: AssetFile(path=name, size=entry["size"], sha256=entry["sha256"]) for name, entry in told["files"].items()
    }
    return {**files, folder_manifest.NAME: None}


def _told(found: AssetFile | None, wanted: AssetFile) -> str:
    if found is None:
        return "is gone"
    if found.size != wanted.size:
        return f"has {found.size} bytes, its manifest says {wanted.size}"
    return f"does not match its manifest: {found.sha256[:12]} instead of {wanted.sha256[:12]}"


def _first_difference(find: Find, registered: AssetManifest, found: AssetManifest) -> str:
    now = {file.path: file for file in found.files}
    for file in registered.files:
        if now.get(file.path) != file:
            return f"{find.path}/{file.path} {_told(now.get(file.path), file)}"
    extra = sorted(set(now) - {file.path for file in registered.files})
    return f"{find.path}/{extra[0]} was not there when it was registered"
