"""HTTP routes of the keeper on the vault's port: what there is, where it is, fetch, register, scan; ids, never paths."""

from __future__ import annotations

import shutil
import threading
from contextlib import closing
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from realm.core.clock import SYSTEM, Clock
from realm.core.errors import Conflict
from realm.core.paths import Paths
from realm.core.store import read_facts
from realm.vault.keeper.assets import Asset
from realm.vault.keeper.catalogue import Catalogue, Page
from realm.vault.keeper.discovery import VaultDiscovery, local_zone
from realm.vault.keeper.drill import last_drill
from realm.vault.keeper.scrub import last_scrub
from realm.vault.keeper.sharing import last_sharing
from realm.vault.keeper.vault_keeper import VaultKeeper

Id = Annotated[str, Path(min_length=1, max_length=128)]
After = Annotated[int | None, Query(ge=0, le=2**62)]
Limit = Annotated[int, Query(ge=1, le=200)]
STATS_AGE_S = 5.0


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class AssetBody(_Body):
    """Names one asset."""

    asset_id: str = Field(min_length=1, max_length=128)


class ScanBody(_Body):
    """An empty object; the body is there so that a foreign page cannot send the request as a simple one."""


def vault_stats(paths: Paths, catalogue: Catalogue) -> dict[str, Any]:
    """Return the counts of the catalogue, the disk, what links save, and how the last scrub and drill went."""
    facts, disk = catalogue.connection, shutil.disk_usage(paths.home)
    return {
        "zone": local_zone(paths), **catalogue.stats(),
        "disk": {"total_bytes": disk.total, "free_bytes": disk.free},
        "sharing": last_sharing(facts), "scrub": last_scrub(facts), "drill": last_drill(facts),
    }  # fmt: skip


def keeper_router(paths: Paths, keeper: VaultKeeper, clock: Clock = SYSTEM) -> APIRouter:
    """Return the keeper's routes below `/api`."""
    router = APIRouter(prefix="/api", tags=["vault"])
    _add_views(router, paths, keeper, clock)
    _add_orders(router, paths, keeper, clock)
    return router


def _add_views(router: APIRouter, paths: Paths, keeper: VaultKeeper, clock: Clock) -> None:
    counted: dict[str, Any] = {"at": -1e9, "stats": {}}

    @router.get("/stats")
    def stats() -> dict[str, Any]:
        """Count assets and copies, and say what links save and how the last scrub and restore drill went."""
        if clock.monotonic() - counted["at"] > STATS_AGE_S:
            with closing(read_facts(paths)) as facts:
                counted.update(stats=vault_stats(paths, Catalogue(facts)), at=clock.monotonic())
        return dict(counted["stats"])

    @router.get("/locate/{asset_id}")
    def locate(asset_id: Id) -> dict[str, Any]:
        """Say where an asset is, best copy first; 404 for one the vault does not know."""
        found = keeper.locate(asset_id)
        if found.asset is None:
            keeper.asset(asset_id)  # names the nearest ids
        best = found.locations[0].model_dump() if found.locations else None
        return {**found.model_dump(exclude={"local_path"}), "best_location": best}

    @router.get("/asset/{asset_id}")
    def asset(asset_id: Id) -> dict[str, Any]:
        """Show an asset with every file and every copy, those that are quarantined or missing too."""
        with closing(read_facts(paths)) as facts:
            catalogue = Catalogue(facts)
            copies = [one.model_dump() for one in catalogue.locations(asset_id, present=False)]
            return {"asset": catalogue.get(asset_id), "manifest": catalogue.manifest(asset_id), "locations": copies}

    @router.get("/checkpoints")
    def checkpoints(limit: Limit = 50, after: After = None) -> Page:
        """List checkpoints, newest entry first; `after` is the `next` of a page."""
        with closing(read_facts(paths)) as facts:
            return Catalogue(facts).page("checkpoint", after, limit)

    @router.get("/search")
    def search(
        q: Annotated[str, Query(max_length=200)] = "",
        type: Annotated[str | None, Query(max_length=20)] = None,
        limit: Limit = 50,
        after: After = None,
    ) -> Page:
        """List assets that hold every word of `q` in id, name or meta, of one type or of all."""
        return keeper.search(q, type, after, limit)


def _add_orders(router: APIRouter, paths: Paths, keeper: VaultKeeper, clock: Clock) -> None:
    scanning = threading.Lock()

    @router.post("/fetch")
    def fetch(body: AssetBody) -> dict[str, Any]:
        """Have a verified copy in this base directory, fetched from the best place when needed."""
        path = keeper.ensure_local(body.asset_id)
        return {"asset_id": body.asset_id, "path": path.relative_to(paths.home).as_posix(), "verified": True}

    @router.post("/register")
    def register(body: AssetBody) -> Asset:
        """Enter what this base directory holds under an id, without waiting for a scan."""
        return keeper.register(body.asset_id)

    @router.post("/scan")
    def scan(_: ScanBody) -> dict[str, Any]:
        """Look for assets that came, changed or went; one scan at a time."""
        if not scanning.acquire(blocking=False):
            raise Conflict("a scan is under way", hint="its result is in /api/stats")
        try:
            return asdict(VaultDiscovery(paths, clock).scan())
        finally:
            scanning.release()
