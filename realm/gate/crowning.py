"""What the vault asks of the floors beside and above it: the retention rules in force, and who may wear the crown."""

from __future__ import annotations

import sqlite3

from realm.arena import crown
from realm.armory.heroes import active_config
from realm.core.paths import Paths
from realm.vault.checkpoint_routes import Crowning
from realm.vault.keeping.retention import Keep


def keep_rules(paths: Paths) -> Keep:
    """Return what retention keeps by config.json; raises BadInput without one."""
    kept = active_config(paths).config.retention
    return Keep(kept.newest, kept.hours, kept.days, int(kept.max_gb * 1e9), kept.weeks, kept.best)


def crowning(paths: Paths) -> Crowning:
    """Return how the player crowns a checkpoint, by the champion metric of config.json."""

    def promote(facts: sqlite3.Connection, name: str) -> crown.Claim:
        return crown.promote(facts, name, active_config(paths).config.champion_metric)

    def release(facts: sqlite3.Connection) -> crown.Claim | None:
        return crown.release(facts, active_config(paths).config.champion_metric)

    return Crowning(promote, release)
