"""HTTP routes of a branch officer: what a zone has, its bytes in verified chunks, and orders to scan and to receive."""

from __future__ import annotations

import re
from contextlib import closing
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from realm.core.clock import SYSTEM, stamp
from realm.core.errors import BadInput
from realm.core.guard import Role
from realm.core.hosts import Hosts
from realm.core.paths import Paths
from realm.core.store import open_facts, read_facts
from realm.core.version import build_id, version
from realm.core.web import NothingBody
from realm.vault.ancestry import line_of
from realm.vault.keeper.asset_files import manifest_of
from realm.vault.keeper.assets import check_asset_id
from realm.vault.keeper.catalogue import Catalogue
from realm.vault.keeper.discovery import ScanReport, VaultDiscovery
from realm.vault.zones import registry as zones
from realm.vault.zones import transfer_rows as rows
from realm.vault.zones.transfer_rows import Transfer
from realm.vault.zones.transfer_runner import Runner
from realm.vault.zones.transfer_serve import ChunkDesk
from realm.vault.zones.transfer_source import CHUNK
from realm.vault.zones.zones_client import DIGEST_HEADER

# Everything else that changes something needs an admin's token.
NEEDS: dict[str, Role] = {"/scan": "operate"}
_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})\Z")
_MATCH = re.compile(r'"([0-9a-f]{64})"\Z')
Id = Annotated[str, Path(min_length=1, max_length=128)]


class ReceiveBody(BaseModel):
    """An asset to pull, the zone to pull it from (one of this zone's own config/hosts.json), and the bytes that are meant."""

    model_config = ConfigDict(extra="forbid", strict=True)
    asset: str = Field(min_length=1, max_length=128)
    zone: str = Field(min_length=1, max_length=128)
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    limit_mb_s: float | None = Field(default=None, gt=0)


def asked_range(header: str) -> tuple[int, int]:
    """Return start and length of a `Range` header with one closed range; raises BadInput for any other. Pure."""
    found = _RANGE.match(header)
    if not found or int(found[2]) < int(found[1]):
        raise BadInput(f"range {header[:60]!r} is not bytes=FIRST-LAST", hint=f"at most {CHUNK} bytes at once")
    return int(found[1]), int(found[2]) - int(found[1]) + 1


def branch_router(paths: Paths, runner: Runner, desk: ChunkDesk) -> APIRouter:
    """Return all routes of port 8768; ids are asset ids, files are numbers of the manifest, never paths."""
    router = APIRouter(tags=["branch"])
    _add_views(router, paths)
    _add_bytes(router, paths, desk)
    _add_orders(router, paths, runner)
    return router


def _add_views(router: APIRouter, paths: Paths) -> None:
    @router.get("/status")
    def status() -> dict[str, Any]:
        """Say how this zone is: assets, free space, transfers under way."""
        return {**zones.local_status(paths), "version": version(), "build": build_id(), "at": stamp(SYSTEM.now())}

    @router.get("/assets")
    def assets(
        type: str | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        after: Annotated[int | None, Query(ge=0)] = None,
    ) -> dict[str, Any]:
        """List assets that lie in this zone, newest entry first; `after` is the `next` of a page."""
        with closing(read_facts(paths)) as facts:
            catalogue = Catalogue(facts)
            page = catalogue.page(type, after, limit)
            here = [one for one in page.rows if any(at.kind == "local" for at in catalogue.locations(one.id))]
        return {"assets": here, "next": page.next}

    @router.get("/assets/{asset_id}")
    def asset(asset_id: Id) -> dict[str, Any]:
        """Show an asset with its files and when its copy here was last verified."""
        with closing(read_facts(paths)) as facts:
            catalogue = Catalogue(facts)
            found = catalogue.get(asset_id)
            local = [one for one in catalogue.locations(asset_id, present=False) if one.kind == "local"]
            files = catalogue.manifest(asset_id).files
        copies = [{"state": one.state, "verified_at": one.verified_at, "reason": one.reason} for one in local]
        return {"asset": found, "files": files, "copies": copies}


def _add_bytes(router: APIRouter, paths: Paths, desk: ChunkDesk) -> None:
    @router.get("/fetch/{asset_id}")
    def fetch(asset_id: Id) -> dict[str, Any]:
        """Return what a receiver needs first: every file with size and SHA-256, and the size of a chunk."""
        return {"asset": manifest_of(paths, asset_id), "chunk_bytes": CHUNK}

    @router.get("/fetch/{asset_id}/line")
    def line(asset_id: Id) -> dict[str, Any]:
        """Return the records from the first parent of a checkpoint to itself; of other assets none."""
        found = manifest_of(paths, asset_id)
        if found.type != "checkpoint":
            return {"line": []}
        with closing(read_facts(paths)) as facts:
            return {"line": line_of(paths, facts, found.name)}

    @router.get("/fetch/{asset_id}/files/{number}", status_code=206, response_class=Response)
    def chunk(
        asset_id: Id,
        number: Annotated[int, Path(ge=0, le=1_000_000)],
        range: Annotated[str, Header(max_length=100)],
        if_match: Annotated[str, Header(max_length=100)],
    ) -> Response:
        """Return a range of one file, named by its number in the manifest, if the asset still has the digest of `If-Match`."""
        start, length = asked_range(range)
        digest = _MATCH.match(if_match)
        if not digest:
            raise BadInput('If-Match is not "<digest of the asset>"')
        piece = desk.piece(check_asset_id(asset_id), digest[1], number, start, length)
        return Response(piece.data, 206, media_type="application/octet-stream", headers={
            "content-range": f"bytes {start}-{start + length - 1}/*", DIGEST_HEADER: piece.digest, "etag": if_match,
        })  # fmt: skip

    @router.get("/transfers/{transfer_id}")
    def transfer(transfer_id: Id) -> Transfer:
        """Show how far a transfer to this zone is."""
        with closing(read_facts(paths)) as facts:
            return rows.get(facts, transfer_id)


def _add_orders(router: APIRouter, paths: Paths, runner: Runner) -> None:
    @router.post("/scan")
    def post_scan(_body: NothingBody) -> ScanReport:
        """Look for new, changed and lost assets in this zone."""
        return VaultDiscovery(paths).scan()

    @router.post("/receive", status_code=202)
    def receive(body: ReceiveBody) -> dict[str, Transfer]:
        """Queue the pull of an asset from a zone that this zone's own config/hosts.json names."""
        with closing(open_facts(paths)) as facts:
            zone = Hosts.load(paths).get_zone(body.zone)
            order = rows.Order(asset=body.asset, direction="pull", peer=body.zone, digest=body.digest,
                               limit_mb_s=body.limit_mb_s or zone.limit_mb_s)  # fmt: skip
            asked = rows.ask(facts, order, runner.name)
        runner.wake()
        return {"transfer": asked}

    @router.post("/transfers/{transfer_id}/cancel")
    def cancel(transfer_id: Id, _body: NothingBody) -> Transfer:
        """End a transfer to this zone that waits or runs; asked for again it goes on where it stopped."""
        with closing(open_facts(paths)) as facts:
            return rows.cancel(facts, transfer_id)
