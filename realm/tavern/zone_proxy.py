"""Zones and transfers on the page: the vault asks the zones and moves the files, the Tavern passes its answers on."""

from __future__ import annotations

from typing import Annotated, Literal

import httpx
from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from realm.core.web import NothingBody
from realm.tavern.passing import Neighbour

# What an id may consist of anywhere in the realm: nothing that could lead to another address of the vault.
Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


class MoveBody(BaseModel):
    """An asset's id, the other zone, and which way: `pull` brings it here, `push` brings it there."""

    model_config = ConfigDict(extra="forbid", strict=True)
    asset: str = Field(min_length=1, max_length=128)
    zone: str = Field(min_length=1, max_length=128)
    direction: Literal["pull", "push"]


def zone_routes(transport: httpx.AsyncBaseTransport | None = None) -> APIRouter:
    """Return `/api/zones`, `/api/strongholds`, `/api/transfer` and `/api/transfers` of the page; `transport` is for tests."""
    router = APIRouter(prefix="/api", tags=["zones"])
    vault = Neighbour("vault", "the vault", "realm vault serve starts it", transport)

    @router.get("/zones")
    async def zones() -> Response:
        """List this zone and the others, each asked now: state, free space, assets, age of the last word."""
        return await vault.ask("GET", "/api/zones")

    @router.get("/zones/{zone_id}")
    async def zone(zone_id: Id) -> Response:
        """Show one zone and the assets it lists."""
        return await vault.ask("GET", f"/api/zones/{zone_id}")

    @router.get("/strongholds")
    async def strongholds() -> Response:
        """List the strongholds with what is found of each now, their copies, and what keeping equal files once saves."""
        return await vault.ask("GET", "/api/strongholds")

    @router.post("/transfer", status_code=202)
    async def transfer(body: MoveBody) -> Response:
        """Queue a transfer with a zone; asked for twice it is the same transfer."""
        return await vault.ask("POST", "/api/transfer", body.model_dump())

    @router.get("/transfers")
    async def transfers(limit: Annotated[int, Query(ge=1, le=200)] = 50) -> Response:
        """List transfers, the last asked one first, with how far each is."""
        return await vault.ask("GET", f"/api/transfers?limit={limit}")

    @router.post("/transfers/{transfer_id}/cancel")
    async def cancel(transfer_id: Id, _: NothingBody) -> Response:
        """End a transfer that waits or runs; what arrived stays aside, asked for again it goes on from there."""
        return await vault.ask("POST", f"/api/transfers/{transfer_id}/cancel", {})

    return router
