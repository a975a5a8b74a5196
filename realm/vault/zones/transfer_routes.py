"""HTTP routes of zones and transfers on the vault's port; `gate` mounts them, a thread of the service does the work."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from realm.core.ids import check_id
from realm.core.paths import Paths
from realm.core.store import open_facts, read_facts
from realm.core.web import NothingBody
from realm.vault.keeper.assets import check_asset_id
from realm.vault.zones import registry as zones
from realm.vault.zones import transfer_rows as rows
from realm.vault.zones.strongholds_copy import overview as strongholds
from realm.vault.zones.transfer_runner import Runner

Id = Annotated[str, Path(min_length=1, max_length=128)]


class TransferBody(BaseModel):
    """An asset's id, the other zone, and which way: `pull` brings it here, `push` brings it there."""

    model_config = ConfigDict(extra="forbid", strict=True)
    asset: str = Field(min_length=1, max_length=128)
    zone: str = Field(min_length=1, max_length=128)
    direction: Literal["pull", "push"]
    limit_mb_s: float | None = Field(default=None, gt=0)


def zone_router(paths: Paths, runner: Runner) -> APIRouter:
    """Return `/api/zones`, `/api/transfer` and `/api/transfers`; the runner is started by the service, not here."""
    router = APIRouter(prefix="/api", tags=["zones"])

    @router.get("/zones")
    def list_zones() -> dict[str, Any]:
        """List this zone and the others, each asked now: state, free space, assets, age of the last word."""
        return {"zones": zones.overview(paths)}

    @router.get("/zones/{zone_id}")
    def get_zone(zone_id: Id) -> dict[str, Any]:
        """Show one zone and the assets it lists."""
        return zones.zone_view(paths, zone_id)

    @router.get("/strongholds")
    def list_strongholds() -> dict[str, Any]:
        """List the strongholds with what is found of each now, their copies, and what keeping equal files once saves."""
        return {"strongholds": strongholds(paths)}

    @router.post("/transfer", status_code=202)
    def post_transfer(body: TransferBody) -> rows.Transfer:
        """Queue a transfer with a zone of config/hosts.json; asked for twice it is the same transfer."""
        with closing(open_facts(paths)) as facts:
            asset = check_asset_id(body.asset)
            asked = zones.ask_transfer(paths, facts, asset, body.zone, body.direction, runner.name, body.limit_mb_s)
        runner.wake()
        return asked

    _add_transfers(router, paths)
    return router


def _add_transfers(router: APIRouter, paths: Paths) -> None:
    @router.get("/transfers")
    def list_transfers(
        limit: Annotated[int, Query(ge=1, le=200)] = 50, state: rows.State | None = None
    ) -> dict[str, list[rows.Transfer]]:
        """List transfers, the last asked one first, with how far each is."""
        with closing(read_facts(paths)) as facts:
            return {"transfers": rows.newest(facts, limit, state)}

    @router.get("/transfers/{transfer_id}")
    def get_transfer(transfer_id: Id) -> rows.Transfer:
        """Show one transfer."""
        with closing(read_facts(paths)) as facts:
            return rows.get(facts, transfer_id)

    @router.post("/transfers/{transfer_id}/cancel")
    def cancel_transfer(transfer_id: Id, _: NothingBody) -> rows.Transfer:
        """End a transfer that waits or runs; what was verified is kept, asked for again it goes on."""
        with closing(open_facts(paths)) as facts:
            return rows.cancel(facts, check_id(transfer_id))
