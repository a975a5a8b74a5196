"""The catalogue made anew: what lies in the base directory is read, copies elsewhere are recalled from the log of events."""

from __future__ import annotations

import json
import sqlite3

from pydantic import ValidationError

from realm.core.paths import Paths
from realm.vault.keeper.catalogue import Catalogue, Place
from realm.vault.keeper.discovery import scan_into


def rebuild_catalogue(paths: Paths, facts: sqlite3.Connection) -> list[str]:
    """Fill an empty catalogue; returns in words what is damaged or cannot be registered.

    A copy elsewhere counts as unverified until it is read again; one of an asset that is not here any more is found by a
    scan of its own place.
    """
    catalogue = Catalogue(facts, quiet=True)
    report = scan_into(paths, catalogue)
    for place, (asset_id, digest) in _last_told(facts).items():
        asset = catalogue.find(asset_id)
        if asset is not None and asset.digest == digest and catalogue.at(place) is None:
            catalogue.place(asset_id, place, verified=False)
    return [*report.problems, *(f"{asset_id} is damaged" for asset_id in report.damaged)]


def _last_told(facts: sqlite3.Connection) -> dict[Place, tuple[str, str]]:
    """Return the copies elsewhere that were told of and not dropped since, with id and digest."""
    found: dict[Place, tuple[str, str]] = {}
    for row in facts.execute("SELECT kind, data FROM events WHERE kind IN ('asset.copied', 'asset.dropped') ORDER BY seq"):
        told = json.loads(row["data"])
        try:
            place = Place.model_validate({name: told.get(name) for name in Place.model_fields})
        except ValidationError:
            continue  # written by an older version, which told less
        if place.kind != "local" and row["kind"] == "asset.copied" and isinstance(told.get("digest"), str):
            found[place] = (str(told.get("id")), told["digest"])
        else:
            found.pop(place, None)
    return found
