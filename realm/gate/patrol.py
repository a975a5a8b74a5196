"""Which checks the sentinels walk, gathered from the places, and the rebuilding of the store from sidecars and folders."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from realm.armory.heroes import active_config
from realm.core.clock import SYSTEM
from realm.core.daemon import lock_holder
from realm.core.errors import Conflict
from realm.core.findings import Check, Finding
from realm.core.hosts import Hosts
from realm.core.paths import Paths
from realm.core.store import open_facts, open_telemetry, read_facts, read_telemetry
from realm.gate.salvage import salvage


def _with_facts(paths: Paths, check: Callable[[Paths, sqlite3.Connection], Sequence[Finding]]) -> Check:
    def run() -> Sequence[Finding]:
        with closing(read_facts(paths)) as facts:
            return check(paths, facts)

    return run


def _databases(paths: Paths) -> list[Finding]:
    found = []
    for name, opener in (("realm.db", read_facts), ("telemetry.db", read_telemetry)):
        with closing(opener(paths)) as connection:
            try:
                answers = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
            except sqlite3.DatabaseError as error:
                answers = [str(error)]
        if answers != ["ok"]:
            found.append(Finding("databases", name, "; ".join(map(str, answers)), "realm doctor --rebuild"))
    return found


def _settings(paths: Paths) -> list[Finding]:
    from realm.guild.schedule import load_schedule
    from realm.guild.skills import get_skill, list_skills

    active_config(paths)
    Hosts.load(paths)
    load_schedule(paths)
    for skill_id in list_skills(paths):
        get_skill(skill_id, paths)
    return []


def all_checks(paths: Paths) -> dict[str, Check]:
    """Return every check by name."""
    from realm.arena.inspection import check_board, check_evals
    from realm.vault.inspection import check_heroes, check_ledger

    return {
        "settings": lambda: _settings(paths),
        "databases": lambda: _databases(paths),
        "heroes": lambda: check_heroes(paths),
        "ledger": _with_facts(paths, check_ledger),
        "board": _with_facts(paths, check_board),
        "evals": _with_facts(paths, check_evals),
    }


def rebuild(paths: Paths) -> dict[str, int]:
    """Set the databases aside and make them anew from folders and sidecars; returns how many rows of each kind.

    What no folder holds (events, crowns, pins, ...) is taken over from the old store as far as that can be read.
    Raises Conflict while an arena or a weaver runs on this home.
    """
    from realm.arena.inspection import rebuild_board
    from realm.guild.rebuild import rebuild_learning
    from realm.vault.inspection import rebuild_ledger

    for name in ("weaver", "arena", "evaluator", "dataflow"):
        if holder := lock_holder(paths, name):
            raise Conflict(f"{name} runs on this home (process {holder})", hint="stop it first: realm down")
    aside = _set_aside(paths)
    open_telemetry(paths).close()
    with closing(open_facts(paths)) as facts:
        made = {
            "checkpoints": rebuild_ledger(paths, facts),
            "quests": rebuild_board(paths, facts),
            **rebuild_learning(paths, facts),
        }
        return {**made, **salvage(facts, aside / paths.facts_db.name)}


def _set_aside(paths: Paths) -> Path:
    aside = paths.store / f"before-rebuild-{SYSTEM.now():%Y%m%d-%H%M%S}"
    aside.mkdir()
    for database in (paths.facts_db, paths.telemetry_db):
        for end in ("", "-wal", "-shm"):
            file = database.with_name(database.name + end)
            if file.exists():
                file.rename(aside / file.name)
    return aside
