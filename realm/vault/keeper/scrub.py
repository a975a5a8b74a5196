"""The rolling scrub: copies in this base directory are read again, the one that waited longest first, a bounded amount a run."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from realm.core.clock import SYSTEM, Clock, parse_stamp, stamp
from realm.core.errors import Unavailable, Unknown
from realm.core.paths import Paths
from realm.core.store import transaction
from realm.vault.keeper.assets import AssetManifest, file_place
from realm.vault.keeper.catalogue import Catalogue, Location, location_of
from realm.vault.keeper.mending import Bring, Damage, Mended, damages, mend
from realm.vault.keeper.reading import Pace, full_speed

BUDGET = 2 * 1024**3
FACT = "vault.scrub"


@dataclass
class ScrubReport:
    """What a run read; `healed` and `lost` are asset -> files, `oldest` is the longest unread copy's last verification."""

    checked: int = 0
    bytes: int = 0
    healed: dict[str, list[str]] = field(default_factory=dict)
    lost: dict[str, list[str]] = field(default_factory=dict)
    oldest: str | None = None
    at: str = ""


def scrub(
    paths: Paths, facts: sqlite3.Connection, budget: int = BUDGET, *, pace: Pace = full_speed, bring: Bring | None = None,
    rest: timedelta = timedelta(0), clock: Clock = SYSTEM,
) -> ScrubReport:
    """Verify copies until `budget` bytes are read, at least one; those verified within `rest` are left alone.

    What is damaged is mended from another verified copy, or quarantined. Other names of a damaged file are read at once.
    """
    catalogue, report = Catalogue(facts, clock), ScrubReport(at=stamp(clock.now()))
    round_began = _newest_check(facts)
    while report.bytes < budget or not report.checked:
        due = _next(facts, round_began)
        if due is None or _fresh(due, rest, clock):
            break
        report.bytes += catalogue.get(due.asset_id).size
        for sharer in check(paths, catalogue, due, report, pace, bring):
            check(paths, catalogue, sharer, report, pace, bring)
    left = _next(facts, 2**62)
    report.oldest = left.verified_at if left else None
    with transaction(facts):
        facts.execute("INSERT OR REPLACE INTO facts(key, value) VALUES (?, ?)", (FACT, json.dumps(asdict(report))))
    return report


def last_scrub(facts: sqlite3.Connection) -> dict[str, Any] | None:
    """Return the report of the newest scrub, None when there was none."""
    row = facts.execute("SELECT value FROM facts WHERE key = ?", (FACT,)).fetchone()
    return None if row is None else dict(json.loads(row["value"]))


def check(
    paths: Paths, catalogue: Catalogue, location: Location, report: ScrubReport, pace: Pace, bring: Bring | None
) -> Sequence[Location]:
    """Verify one copy and mend it; returns the copies that share a damaged file with it and must be read too."""
    report.checked += 1
    manifest = catalogue.manifest(location.asset_id)
    try:
        found = damages(paths, manifest, location.path, pace)
        sharers = _sharers(paths, catalogue, manifest, location, found)
        mended = mend(paths, catalogue, location, found, bring) if found else Mended({}, {})
    except (Unavailable, Unknown):
        catalogue.defer(location.place)  # written or dropped meanwhile
        return ()
    if not found:
        catalogue.confirm(location.place)
    if mended.healed:
        report.healed[location.asset_id] = sorted(mended.healed)
    if mended.lost:
        report.lost[location.asset_id] = sorted(mended.lost)
    return sharers


def _sharers(
    paths: Paths, catalogue: Catalogue, manifest: AssetManifest, location: Location, found: Sequence[Damage]
) -> list[Location]:
    ids: set[str] = set()
    for file, _ in found:
        path = paths.home / file_place(manifest.type, location.path, file.path)
        if path.is_file() and path.stat().st_nlink > 1:
            rows = catalogue.connection.execute(
                "SELECT asset_id FROM scanned_files WHERE sha256 = ? AND inode = ?", (file.sha256, path.stat().st_ino)
            )
            ids |= {row["asset_id"] for row in rows}
    return [one for other in sorted(ids - {location.asset_id}) for one in catalogue.locations(other) if one.kind == "local"]


def _newest_check(facts: sqlite3.Connection) -> int:
    return int(facts.execute("SELECT coalesce(max(checked), 0) FROM locations").fetchone()[0])


def _next(facts: sqlite3.Connection, until: int) -> Location | None:
    """Return the present local copy whose verification is the longest ago, of those verified before `until` began."""
    row = facts.execute(
        "SELECT * FROM locations WHERE kind = 'local' AND state = 'present' AND checked <= ? ORDER BY checked LIMIT 1", (until,)
    ).fetchone()
    return None if row is None else location_of(row)


def _fresh(location: Location, rest: timedelta, clock: Clock) -> bool:
    return location.verified_at is not None and clock.now() - parse_stamp(location.verified_at) < rest
