"""The branch officer: the service of a zone, on port 8768, with its token file, its runner and its place to listen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI

from realm.core.errors import Conflict
from realm.core.hosts import Hosts
from realm.core.listening import plan_listening
from realm.core.paths import Paths
from realm.core.web import make_app
from realm.vault.zones.branch_routes import NEEDS, branch_router
from realm.vault.zones.transfer_runner import Runner, running
from realm.vault.zones.transfer_serve import ChunkDesk
from realm.vault.zones.zone_tokens import TokenFile, list_tokens

RUNNER = "branch"


def check_zone(paths: Paths, zone: str | None) -> str:
    """Return the name of this zone; raises Conflict when a given one is not the one of config/hosts.json."""
    own = Hosts.load(paths).own_zone()
    if zone is not None and zone != own:
        raise Conflict(f"config/hosts.json says this machine is zone {own!r}, not {zone!r}", hint='change "zone" there')
    return own


def officer_app(
    paths: Paths, port: int, *, address: str | None = None, allowed_hosts: Sequence[str] = ()
) -> FastAPI:
    """Build the officer; raises Refused for an address that others reach without a token or without host names."""
    listening = plan_listening(port, address, allowed_hosts, has_token=bool(list_tokens(paths)))
    runner, desk = Runner(paths, RUNNER), ChunkDesk(paths)

    def facts() -> dict[str, Any]:
        return {"zone": Hosts.load(paths).own_zone()}

    return make_app(
        "branch", [branch_router(paths, runner, desk)], port=port, lifespan=running(runner), health=facts,
        listening=listening, keyring=TokenFile(paths, always=listening.address is not None), needs=NEEDS,
    )  # fmt: skip
