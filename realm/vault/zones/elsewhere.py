"""One door to every other place: a name is a zone of config/hosts.json or a stronghold of config/strongholds.json."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Literal, cast

from realm.core.errors import BadInput, unknown_name
from realm.core.hosts import Hosts
from realm.core.paths import Paths
from realm.core.store import open_facts
from realm.vault.zones.registry import TransferResult, id_of, move_asset, result_of, take_over
from realm.vault.zones.strongholds import StorageRegistry, StrongholdType
from realm.vault.zones.strongholds_copy import ask_copy
from realm.vault.zones.transfer_receive import Pace, Progress
from realm.vault.zones.transfer_rows import Direction, Transfer
from realm.vault.zones.transfer_runner import run_transfer


def kind_of(paths: Paths, place: str) -> Literal["zone", "stronghold"]:
    """Say what a name means; raises Unknown listing all names, BadInput for a name that means both."""
    zones = Hosts.load(paths).all_zones()
    strongholds = {one.name: one for one in StorageRegistry(paths).list_strongholds()}
    if place in zones and place in strongholds and strongholds[place].type is not StrongholdType.REMOTE:
        raise BadInput(f"{place} is a zone and a stronghold", hint="rename one of them")
    if place in zones:
        return "zone"
    if place in strongholds:
        return "stronghold"
    raise unknown_name("zone or stronghold", place, [*zones, *strongholds])


def ask(
    paths: Paths, connection: sqlite3.Connection, asset: str, stronghold: str, direction: Direction, runner: str
) -> Transfer:
    """Queue a copy with a stronghold."""
    return ask_copy(paths, connection, id_of(asset), stronghold, direction, runner)


def move_now(
    paths: Paths, asset: str, place: str, direction: str, tell: Callable[[Progress], None], limit_mb_s: float | None = None
) -> TransferResult:
    """Move an asset to or from a zone or stronghold in this process; raises the RealmError that ended it."""
    way = cast(Direction, direction)
    if kind_of(paths, place) == "zone":
        return move_asset(asset, place, way, paths, on_progress=tell, limit_mb_s=limit_mb_s)
    with closing(open_facts(paths)) as connection:
        asked = take_over(connection, ask(paths, connection, asset, place, way, f"process-{os.getpid()}"))
        pace = Pace(tell=tell, limit_mb_s=limit_mb_s or asked.limit_mb_s)
        return result_of(run_transfer(paths, connection, asked.id, pace))
