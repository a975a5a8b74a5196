"""The catalogue: every asset the vault knows, and where its copies are; the one writer of assets and locations.

Pages are keyset-paged, newest entry first: give the `next` of a page as `after`. Each change appends its event in the
same transaction; a call inside a caller's transaction joins it.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict

from realm.core import events
from realm.core.clock import SYSTEM, Clock, stamp
from realm.core.errors import BadInput, Conflict, Unknown, unknown_name
from realm.core.store import transaction
from realm.vault.keeper.assets import MUTABLE, TYPES, Asset, AssetFile, AssetManifest, check_asset_id, check_type

Kind = Literal["local", "nas", "remote", "cloud"]
State = Literal["present", "quarantined", "missing"]
# The best place to read from comes first.
KINDS: tuple[Kind, ...] = get_args(Kind)
STATES: tuple[State, ...] = get_args(State)
HOME = "home"
MOST = 1000
_ASSET = "id, type, name, size, file_count, digest, created_at, meta"


class Place(BaseModel):
    """A place a copy can lie in: `path` is relative to the stronghold's root. The base directory is stronghold `home`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    zone: str
    stronghold: str
    kind: Kind
    path: str


class Location(BaseModel):
    """A copy of an asset: `state` present, quarantined (its bytes are wrong, `reason` says how) or missing."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    asset_id: str
    zone: str
    stronghold: str
    kind: Kind
    path: str
    state: State
    verified_at: str | None = None
    reason: str = ""

    @property
    def place(self) -> Place:
        return Place(zone=self.zone, stronghold=self.stronghold, kind=self.kind, path=self.path)


class Page(BaseModel):
    """Assets of one page, newest entry first; `next` is None on the last page."""

    model_config = ConfigDict(frozen=True)
    rows: list[Asset]
    next: int | None


class Catalogue:
    """Assets and locations over an open facts database; a read-only connection serves the reading calls.

    `quiet` is for a rebuild: what was told once is not told again.
    """

    def __init__(self, connection: sqlite3.Connection, clock: Clock = SYSTEM, *, quiet: bool = False) -> None:
        self.connection = connection
        self._clock = clock
        self._quiet = quiet

    # reading

    def find(self, asset_id: str) -> Asset | None:
        """Return an asset, None when the catalogue does not know it; raises BadInput for what is no id."""
        row = self.connection.execute(f"SELECT {_ASSET} FROM assets WHERE id = ?", (check_asset_id(asset_id),)).fetchone()
        return None if row is None else _asset(row)

    def get(self, asset_id: str) -> Asset:
        """Return an asset; raises Unknown naming the nearest ids."""
        found = self.find(asset_id)
        if found is None:
            raise unknown_name("asset", asset_id, self._near(asset_id))
        return found

    def _near(self, asset_id: str) -> list[str]:
        words = re.findall(r"\w+", asset_id.replace("_", " "))
        for count in range(len(words), 0, -1):
            if found := self.search(" ".join(words[:count]), limit=5).rows:
                return [asset.id for asset in found]
        return []

    def manifest(self, asset_id: str) -> AssetManifest:
        """Return every file of an asset with size and SHA-256, as registered; raises Unknown."""
        asset = self.get(asset_id)
        row = self.connection.execute("SELECT files FROM asset_manifests WHERE asset_id = ?", (asset_id,)).fetchone()
        files = tuple(AssetFile(path=path, size=size, sha256=sha256) for path, size, sha256 in json.loads(row["files"]))
        return AssetManifest(id=asset.id, type=asset.type, name=asset.name, digest=asset.digest, files=files)

    def page(self, type: str | None = None, after: int | None = None, limit: int = 50) -> Page:
        """Return one page of assets, of one type or of all; raises Unknown for another type."""
        where, args = ["seq < ?"], [_before(after)]
        if type is not None:
            where, args = [*where, "type = ?"], [*args, check_type(type)]
        sql = f"SELECT seq, {_ASSET} FROM assets WHERE {' AND '.join(where)} ORDER BY seq DESC LIMIT ?"
        return _page(self.connection.execute(sql, (*args, _limit(limit) + 1)), limit)

    def search(self, text: str, type: str | None = None, after: int | None = None, limit: int = 50) -> Page:
        """Return assets that hold every word of `text` (or a word that begins so) in id, name or meta."""
        words = [f'"{word}"*' for word in re.findall(r"\w+", text.replace("_", " "))]
        if not words:
            if text.strip():
                raise BadInput(f"nothing to search for in {text[:80]!r}", hint="give words of letters or digits")
            return self.page(type, after, limit)
        words += [f'type : "{check_type(type)}"'] if type is not None else []
        sql = (
            f"SELECT a.seq, {', '.join(f'a.{name}' for name in _ASSET.split(', '))} FROM asset_words w"
            " JOIN assets a ON a.seq = w.rowid WHERE w.asset_words MATCH ? AND w.rowid < ? ORDER BY w.rowid DESC LIMIT ?"
        )
        return _page(self.connection.execute(sql, (" AND ".join(words), _before(after), _limit(limit) + 1)), limit)

    def locations(self, asset_id: str, present: bool = True) -> list[Location]:
        """Return the copies of an asset, best first: local, NAS, remote, cloud; with `present=False` the others too."""
        self.get(asset_id)
        rows = self.connection.execute("SELECT * FROM locations WHERE asset_id = ? ORDER BY seq", (asset_id,))
        found = [location_of(row) for row in rows if row["state"] == "present" or not present]
        return sorted(found, key=lambda one: (STATES.index(one.state), KINDS.index(one.kind), one.verified_at is None))

    def at(self, place: Place) -> Location | None:
        """Return what the catalogue says of a place, None when nothing is recorded there."""
        row = self.connection.execute(
            "SELECT * FROM locations WHERE zone = ? AND stronghold = ? AND path = ?", (place.zone, place.stronghold, place.path)
        ).fetchone()
        return None if row is None else location_of(row)

    def held(self, zone: str, stronghold: str, after: str = "", limit: int = 200) -> list[Location]:
        """Return what is recorded in a stronghold, whatever its state, by path; give the last path as `after` to go on."""
        rows = self.connection.execute(
            "SELECT * FROM locations WHERE zone = ? AND stronghold = ? AND path > ? ORDER BY path LIMIT ?",
            (zone, stronghold, after, _limit(limit)),
        )
        return [location_of(row) for row in rows]

    def stats(self) -> dict[str, Any]:
        """Return counts and bytes of assets with a copy by type, the number without one, copies by kind and state."""
        types = {kind: {"count": 0, "bytes": 0} for kind in TYPES}
        known = 0
        rows = self.connection.execute(
            "SELECT type, count(*) AS n, sum(kept) AS kept, sum(size * kept) AS size FROM (SELECT a.type, a.size, EXISTS"
            " (SELECT 1 FROM locations l WHERE l.asset_id = a.id AND l.state = 'present') AS kept FROM assets a) GROUP BY type"
        )
        for row in rows:
            types[row["type"]] = {"count": row["kept"], "bytes": row["size"]}
            known += row["n"]
        copies: dict[str, dict[str, int]] = {kind: dict.fromkeys(STATES, 0) for kind in KINDS}
        for row in self.connection.execute("SELECT kind, state, count(*) AS n FROM locations GROUP BY kind, state"):
            copies[row["kind"]][row["state"]] = row["n"]
        total = {field: sum(one[field] for one in types.values()) for field in ("count", "bytes")}
        lost = known - total["count"]
        return {"assets": total["count"], "bytes": total["bytes"], "without_copy": lost, "types": types, "copies": copies}

    # writing

    def put(self, manifest: AssetManifest, created_at: str | None = None, meta: dict[str, Any] | None = None) -> Asset:
        """Register an asset and return it; the same one again changes its meta at most.

        An id whose every copy is gone may come back with other bytes, and a config may change. Raises Conflict for any
        other second digest, naming both.
        """
        now = stamp(self._clock.now())
        with self._writing():
            known = self.find(manifest.id)
            if known is not None and known.digest != manifest.digest:
                self._supersede(known, manifest)
            asset = Asset(
                id=manifest.id, type=manifest.type, name=manifest.name, size=manifest.size, file_count=len(manifest.files),
                digest=manifest.digest, created_at=created_at or (known.created_at if known else now),
                meta=meta if meta is not None else known.meta if known else {},
            )  # fmt: skip
            if asset == known:
                return asset
            self._write(asset, manifest, now)
            if known is None or known.digest != asset.digest:
                data = {"id": asset.id, "type": asset.type, "name": asset.name, "size": asset.size, "digest": asset.digest}
                self._tell("asset.registered", asset, data if known is None else {**data, "before": known.digest})
        return asset

    def _supersede(self, known: Asset, manifest: AssetManifest) -> None:
        kept = self.locations(known.id)
        if kept and known.type not in MUTABLE:
            first = kept[0]
            raise Conflict(
                f"{known.id} is {known.digest[:16]} in {first.zone}/{first.stronghold}/{first.path},"
                f" another asset of that id is {manifest.digest[:16]}",
                hint="rename or remove one of the two", id=known.id, digests=[known.digest, manifest.digest],
            )  # fmt: skip
        self.connection.execute(
            "UPDATE locations SET state = 'missing', reason = ? WHERE asset_id = ? AND state = 'present'",
            (f"what lay here was {known.digest[:16]}, an older version", known.id),
        )

    def _write(self, asset: Asset, manifest: AssetManifest, now: str) -> None:
        meta = json.dumps(asset.meta, ensure_ascii=False, sort_keys=True)
        row = self.connection.execute(
            "INSERT INTO assets(id, type, name, size, file_count, digest, created_at, registered_at, meta)"
            " VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET name = excluded.name, size = excluded.size,"
            " file_count = excluded.file_count, digest = excluded.digest, created_at = excluded.created_at,"
            " meta = excluded.meta RETURNING seq",
            (asset.id, asset.type, asset.name, asset.size, asset.file_count, asset.digest, asset.created_at, now, meta),
        ).fetchone()
        files = json.dumps([[file.path, file.size, file.sha256] for file in manifest.files], ensure_ascii=False)
        self.connection.execute("INSERT OR REPLACE INTO asset_manifests(asset_id, files) VALUES (?,?)", (asset.id, files))
        words = " ".join(str(value) for value in asset.meta.values() if isinstance(value, (str, int)))
        self.connection.execute("DELETE FROM asset_words WHERE rowid = ?", (row["seq"],))
        self.connection.execute(
            "INSERT INTO asset_words(rowid, id, name, type, words) VALUES (?,?,?,?,?)",
            (row["seq"], asset.id.replace("_", " "), asset.name.replace("_", " "), asset.type, words.replace("_", " ")),
        )

    def place(self, asset_id: str, place: Place, verified: bool = True) -> Location:
        """Record a copy as present; `verified` when every byte was just compared with the manifest.

        What was recorded in that place before gives way. Copies elsewhere and second copies are told as copied.
        """
        now = stamp(self._clock.now())
        with self._writing():
            asset, before = self.get(asset_id), self.at(place)
            same = before is not None and before.asset_id == asset_id
            if before is not None and not same:
                self._remove(before.asset_id, place)
            fresh = not (before is not None and same and before.state == "present")
            others = bool(self.locations(asset_id)) if fresh else False
            self.connection.execute(
                "INSERT INTO locations(asset_id, zone, stronghold, kind, path, state, verified_at, changed_at)"
                " VALUES (?,?,?,?,?,'present',?,?) ON CONFLICT (zone, stronghold, path) DO UPDATE SET"
                " kind = excluded.kind, state = 'present', reason = '', changed_at = excluded.changed_at,"
                " verified_at = coalesce(excluded.verified_at, verified_at)",
                (asset_id, place.zone, place.stronghold, place.kind, place.path, now if verified else None, now),
            )
            if verified:
                self._number(place)
            if fresh and (others or place.kind != "local"):
                self._tell("asset.copied", asset, _told(asset, place))
        return self._sure(place)

    def confirm(self, place: Place) -> None:
        """Record that every byte of a copy was compared with its manifest just now."""
        with self._writing():
            self.connection.execute(
                "UPDATE locations SET verified_at = ? WHERE zone = ? AND stronghold = ? AND path = ?",
                (stamp(self._clock.now()), place.zone, place.stronghold, place.path),
            )
            self._number(place)

    def defer(self, place: Place) -> None:
        """Put a copy that could not be read just now at the end of the line, without calling it verified."""
        with self._writing():
            self._number(place)

    def mark(self, place: Place, state: State, reason: str) -> Location:
        """Record that a copy is quarantined or missing, and why; a copy that was present is told as dropped."""
        with self._writing():
            before = self._sure(place)
            self.connection.execute(
                "UPDATE locations SET state = ?, reason = ?, changed_at = ? WHERE zone = ? AND stronghold = ? AND path = ?",
                (state, reason, stamp(self._clock.now()), place.zone, place.stronghold, place.path),
            )
            if before.state == "present" and state != "present":
                self._tell_dropped(before.asset_id, place, state, reason)
        return self._sure(place)

    def forget(self, asset_id: str, place: Place, reason: str = "removed") -> None:
        """Remove a copy from the catalogue; the asset stays known. Nothing happens when it is not recorded there."""
        with self._writing():
            before = self.at(place)
            if before is not None and before.asset_id == asset_id:
                self._remove(asset_id, place)
                if before.state == "present":
                    self._tell_dropped(asset_id, place, "removed", reason)

    def forget_asset(self, asset_id: str) -> None:
        """Remove an asset without a present copy from the catalogue; raises Conflict while there is one."""
        with self._writing():
            kept = self.locations(asset_id)
            if kept:
                raise Conflict(f"{asset_id} has {len(kept)} copies", hint="forget its places first")
            seq = self.connection.execute("SELECT seq FROM assets WHERE id = ?", (asset_id,)).fetchone()["seq"]
            self.connection.execute("DELETE FROM asset_words WHERE rowid = ?", (seq,))
            self.connection.execute("DELETE FROM assets WHERE id = ?", (asset_id,))

    def _writing(self) -> AbstractContextManager[Any]:
        return nullcontext() if self.connection.in_transaction else transaction(self.connection)

    def _remove(self, asset_id: str, place: Place) -> None:
        self.connection.execute(
            "DELETE FROM locations WHERE asset_id = ? AND zone = ? AND stronghold = ? AND path = ?",
            (asset_id, place.zone, place.stronghold, place.path),
        )

    def _number(self, place: Place) -> None:
        """Verifications are ordered by a number of their own, because wall clocks are set back."""
        self.connection.execute(
            "UPDATE locations SET checked = (SELECT max(checked) + 1 FROM locations)"
            " WHERE zone = ? AND stronghold = ? AND path = ?",
            (place.zone, place.stronghold, place.path),
        )

    def _sure(self, place: Place) -> Location:
        found = self.at(place)
        if found is None:
            raise Unknown(f"nothing is recorded in {place.zone}/{place.stronghold}/{place.path}")
        return found

    def _tell_dropped(self, asset_id: str, place: Place, state: str, reason: str) -> None:
        asset = self.get(asset_id)
        self._tell("asset.dropped", asset, {**_told(asset, place), "state": state, "reason": reason})

    def _tell(self, kind: str, asset: Asset, data: dict[str, Any]) -> None:
        if not self._quiet:
            events.append(self.connection, kind, subject=asset.id, step=asset.meta.get("step"), data=data, clock=self._clock)


def _told(asset: Asset, place: Place) -> dict[str, Any]:
    where = {"place": f"{place.zone}/{place.stronghold}", **place.model_dump()}
    return {"id": asset.id, "name": asset.name, "digest": asset.digest, **where}


def _before(after: int | None) -> Any:
    return 2**62 if after is None else after


def _limit(limit: int) -> int:
    if not 1 <= limit <= MOST:
        raise BadInput(f"a page of {limit} assets", hint=f"1 to {MOST}")
    return limit


def _page(rows: Iterable[sqlite3.Row], limit: int) -> Page:
    found = list(rows)
    more = len(found) > limit
    return Page(rows=[_asset(row) for row in found[:limit]], next=found[limit - 1]["seq"] if more else None)


def _asset(row: sqlite3.Row) -> Asset:
    fields = {name: row[name] for name in _ASSET.split(", ")}
    return Asset(**{**fields, "meta": json.loads(row["meta"])})


def location_of(row: sqlite3.Row) -> Location:
    """Return a row of the table as a location."""
    return Location(**{name: row[name] for name in Location.model_fields})
