"""Zones: other machines with a branch officer; what they say of themselves, and assets moved to and from them.

A push asks the other zone to pull: only a receiver can verify what it received.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel, ConfigDict

from realm.core.clock import SYSTEM, Clock, parse_stamp, stamp
from realm.core.durable import read_projection, write_json_fast
from realm.core.errors import Conflict, RealmError, Refused, Unavailable
from realm.core.hosts import Hosts, Zone
from realm.core.paths import Paths, open_home
from realm.core.store import open_facts, read_facts
from realm.vault import ledger
from realm.vault.keeper.assets import asset_id
from realm.vault.keeper.catalogue import Catalogue
from realm.vault.zones import transfer_rows as rows
from realm.vault.zones.transfer_receive import Pace, Progress
from realm.vault.zones.transfer_rows import Direction, Order, Transfer
from realm.vault.zones.zone_tokens import token_for
from realm.vault.zones.zones_client import ZoneClient

FILE = "zones.json"
_NAMED = re.compile(r"checkpoint-[0-9]+-[0-9]{8}-[0-9]{4}\Z")


def client_for(paths: Paths, zone_id: str, hosts: Hosts | None = None) -> ZoneClient:
    """Return the client of a zone of config/hosts.json, with the token it gave us; raises Unknown."""
    zone = (hosts or Hosts.load(paths)).get_zone(zone_id)
    return ZoneClient(zone_id, zone, token_for(paths, zone_id))


class TransferResult(BaseModel):
    """How a transfer ended, for callers that wait for it."""

    model_config = ConfigDict(frozen=True)
    success: bool
    transfer: str
    asset: str
    digest: str
    zone: str
    direction: Direction
    bytes: int
    bytes_moved: int
    seconds: float
    reason: str = ""


def result_of(transfer: Transfer) -> TransferResult:
    return TransferResult(
        success=transfer.state == "done", transfer=transfer.id, asset=transfer.asset, digest=transfer.digest,
        zone=transfer.peer, direction=transfer.direction, bytes=transfer.bytes_total, bytes_moved=transfer.bytes_moved,
        seconds=transfer.seconds, reason=transfer.reason,
    )  # fmt: skip


def id_of(text: str) -> str:
    """Return the asset id of an id, of a checkpoint's step or name, or of the path of its folder. Pure; raises BadInput."""
    if text.isascii() and text.isdigit():
        return f"checkpoint_{int(text)}"
    name = PurePath(text).name
    if _NAMED.match(name):
        return f"checkpoint_{ledger.extract_step(name)}"
    if "/" in text or os.sep in text:
        return asset_id("model", name)
    return text


def digest_meant(paths: Paths, text: str, direction: Direction) -> str:
    """Return the digest a push means: what lies here under that id; raises Unknown, or Conflict for another name."""
    if direction == "pull":
        return ""
    with closing(read_facts(paths)) as facts:
        asset = Catalogue(facts).get(id_of(text))
    name = PurePath(text).name
    if _NAMED.match(name) and name != asset.name:
        raise Conflict(f"step {ledger.extract_step(name)} is {asset.name} here, not {name}", hint="name it by its exact name")
    return asset.digest


def ask_transfer(
    paths: Paths, connection: sqlite3.Connection, text: str, zone_id: str, direction: Direction, runner: str,
    limit_mb_s: float | None = None,
) -> Transfer:
    """Queue a transfer with a zone of config/hosts.json; raises Unknown for asset or zone before anything is written."""
    zone = Hosts.load(paths).get_zone(zone_id)
    order = Order(
        asset=id_of(text), direction=direction, peer=zone_id, digest=digest_meant(paths, text, direction),
        limit_mb_s=limit_mb_s or zone.limit_mb_s,
    )  # fmt: skip
    return rows.ask(connection, order, runner)


def move_asset(
    text: str, zone_id: str, direction: Direction, paths: Paths, *,
    on_progress: Callable[[Progress], None] | None = None, limit_mb_s: float | None = None,
) -> TransferResult:
    """Move an asset now, in this process, and return how it ended; raises the RealmError that ended it."""
    from realm.vault.zones.transfer_runner import run_transfer

    with closing(open_facts(paths)) as connection:
        asked = ask_transfer(paths, connection, text, zone_id, direction, f"process-{os.getpid()}", limit_mb_s)
        asked = take_over(connection, asked)
        pace = Pace(tell=on_progress or (lambda progress: None), limit_mb_s=asked.limit_mb_s)
        return result_of(run_transfer(paths, connection, asked.id, pace))


def take_over(connection: sqlite3.Connection, asked: Transfer) -> Transfer:
    """Return a transfer that this process may run, from a process that has ended if need be; raises Conflict."""
    kind, _, pid = asked.runner.partition("-")
    if asked.runner == f"process-{os.getpid()}":
        return asked
    if kind != "process" or os.path.exists(f"/proc/{int(pid)}"):
        raise Conflict(f"{asked.asset} is on its way already: transfer {asked.id}, {asked.state} in {asked.runner}",
                       hint="see realm vault transfers")  # fmt: skip
    rows.move(connection, asked.id, "failed", reason=rows.INTERRUPTED)
    order = Order(asset=asked.asset, direction=asked.direction, peer=asked.peer, peer_kind=asked.peer_kind,
                  digest=asked.digest, limit_mb_s=asked.limit_mb_s)  # fmt: skip
    return rows.ask(connection, order, f"process-{os.getpid()}")


def push_to_zone(path: str, zone: str, *, home: str | None = None, **more: Any) -> TransferResult:
    """Bring an asset (an id, a checkpoint's folder, name or step) to another zone and wait; raises RealmError."""
    return move_asset(str(path), zone, "push", open_home(home), **more)


def pull_from_zone(path: str, zone: str, *, home: str | None = None, **more: Any) -> TransferResult:
    """Fetch an asset (an id, the folder it has there, a name or a step) from another zone and wait; raises RealmError."""
    paths, text = open_home(home), str(path)
    name = PurePath(text).name
    if _NAMED.match(name):
        _check_name(paths, zone, id_of(text), name)
    return move_asset(text, zone, "pull", paths, **more)


def _check_name(paths: Paths, zone_id: str, asset: str, name: str) -> None:
    client = client_for(paths, zone_id)
    found = client.offer(asset).asset.name
    if found != name:
        raise Conflict(f"zone {zone_id} has {found} under that step, not {name}", hint="name it by its exact name")


# what zones say of themselves


def local_status(paths: Paths) -> dict[str, Any]:
    """Return what this machine says of itself as a zone."""
    with closing(read_facts(paths)) as facts:
        stats = Catalogue(facts).stats()
        states = facts.execute("SELECT state, count(*) AS n FROM transfers WHERE state IN ('queued','running') GROUP BY state")
        transfers = {"queued": 0, "running": 0, **{row["state"]: row["n"] for row in states}}
    disk = shutil.disk_usage(paths.home)
    return {
        "zone": Hosts.load(paths).own_zone(), "state": "up", "assets": stats["assets"], "bytes": stats["bytes"],
        "types": stats["types"], "free_bytes": disk.free, "total_bytes": disk.total, "transfers": transfers,
    }  # fmt: skip


_SHOWN = ("assets", "bytes", "types", "free_bytes", "total_bytes", "transfers")


def ask_zone(paths: Paths, zone_id: str, zone: Zone, clock: Clock = SYSTEM) -> dict[str, Any]:
    """Ask a zone how it is; an outage is part of the answer, with the last word it gave and that word's age."""
    before = (read_projection(paths.status / FILE) or {}).get(zone_id, {})
    client = ZoneClient(zone_id, zone, token_for(paths, zone_id))
    try:
        told = client.ask("GET", "/status")
        state, reason = "up", ""
        if told.get("zone") != zone_id:
            state, reason = "wrong_name", f"it calls itself {str(told.get('zone'))[:128]!r}"
        before = {"at": stamp(clock.now()), **{name: told.get(name) for name in _SHOWN}}
    except Refused as error:
        state, reason = "refused", error.message
    except RealmError as error:
        state, reason = "down", error.message
    age = None if "at" not in before else round((clock.now() - parse_stamp(before["at"])).total_seconds(), 1)
    return {
        "id": zone_id, "name": zone.name or zone_id, "role": zone.role, "address": f"{zone.host}:{zone.port}",
        "base_dir": zone.base_dir, "local": False, "state": state, "reason": reason,
        "last_word_at": before.get("at"), "last_word_age_s": age, "breaker": client.breaker.told(),
        **{name: before.get(name) for name in _SHOWN},
    }  # fmt: skip


def _own_row(paths: Paths, hosts: Hosts) -> dict[str, Any]:
    told, host = local_status(paths), hosts.local()
    return {
        "id": told["zone"], "name": host.name, "role": host.role, "address": None, "base_dir": host.models_dir,
        "local": True, "state": "up", "reason": "", "last_word_at": None, "last_word_age_s": 0.0,
        "breaker": None, **{name: told[name] for name in _SHOWN},
    }  # fmt: skip


def overview(paths: Paths, clock: Clock = SYSTEM) -> list[dict[str, Any]]:
    """Return this zone and all others, each asked now, at the same time; what they said is kept in `status/zones.json`."""
    hosts = Hosts.load(paths)
    others = hosts.all_zones()
    with ThreadPoolExecutor(max(1, min(8, len(others))), "zones") as pool:
        asked = [pool.submit(ask_zone, paths, zone_id, zone, clock) for zone_id, zone in others.items()]
        found = [one.result() for one in asked]
    if found:
        kept = {one["id"]: {"at": one["last_word_at"], **{name: one[name] for name in _SHOWN}} for one in found
                if one["last_word_at"]}  # fmt: skip
        write_json_fast(paths.status / FILE, kept)
    return [_own_row(paths, hosts), *found]


def zone_view(paths: Paths, zone_id: str, clock: Clock = SYSTEM) -> dict[str, Any]:
    """Return one zone with the assets it lists; raises Unknown."""
    hosts = Hosts.load(paths)
    if zone_id == hosts.own_zone():
        return _own_row(paths, hosts)
    found = ask_zone(paths, zone_id, hosts.get_zone(zone_id), clock)
    listed: list[Any] = []
    if found["state"] == "up":
        try:
            told = client_for(paths, zone_id, hosts).ask("GET", "/assets?limit=200").get("assets")
            listed = told if isinstance(told, list) else []
        except Unavailable as error:
            found = {**found, "state": "down", "reason": error.message}
    return {**found, "listed": listed}
