"""Putting a backup back: proved first, the present state backed up first, everything made ready beside before it is swapped.

A failure on the way moves back what was moved; the state is then the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from realm.core import durable, events
from realm.core.clock import SYSTEM, Clock
from realm.core.daemon import lock_holder
from realm.core.errors import BadInput, Conflict, Corrupt, unknown_name
from realm.core.logs import get_logger
from realm.core.paths import Paths
from realm.core.store import open_facts, transaction
from realm.vault.keeping import archivist
from realm.vault.keeping.archivist import CHAMPION, HERO, PARTS, SETTINGS, STORE

log = get_logger("restoring")
WRITERS = ("weaver", "arena", "evaluator", "dataflow", "sparring", "task")


def restore(paths: Paths, hero: Path | None, name: str, parts: Sequence[str] = PARTS, clock: Clock = SYSTEM) -> dict[str, str]:
    """Put parts of a backup back; returns part -> what was restored. Raises Conflict while anything runs, Corrupt, NoSpace.

    Checkpoints that are newer than the store restored stay and are indexed when the arena starts; a champion or hero that
    is there already is left alone.
    """
    for part in parts:
        if part not in PARTS:
            raise unknown_name("part of a backup", part, list(PARTS))
    for one in WRITERS:
        if holder := lock_holder(paths, one):
            raise Conflict(f"{one} runs on this home (process {holder})", hint="stop it first: realm down")
    folder = archivist.find(paths, name)
    told = archivist.read(folder)
    wanted = [part for part in parts if part in told.holds]
    if not wanted:
        raise BadInput(f"{name} holds none of: {', '.join(parts)}", hint=f"it holds {', '.join(told.holds)}")
    archivist.prove(folder)
    _back_up_first(paths, hero, name, clock)
    stage = durable.new_dir(paths.home, "restore")
    try:
        moves = _ready(paths, folder, stage, wanted)
        aside = durable.untaken(paths.store / f"before-restore-{clock.now():%Y%m%d-%H%M%S}")
        _swap(moves, aside, paths)
    finally:
        durable.remove_tree(stage)
    with closing(open_facts(paths)) as facts, transaction(facts):
        events.append(facts, "backup.restored", subject=name, data={"name": name, "parts": wanted}, clock=clock)
    log.warning("restored %s of %s; what was there lies in store/%s", ", ".join(wanted), name, aside.name)
    return {part: told.holds[part] for part in wanted}


def _back_up_first(paths: Paths, hero: Path | None, name: str, clock: Clock) -> None:
    """Back up what is there; a store that cannot be read is not backed up, but kept aside by the swap."""
    try:
        archivist.make(paths, hero, f"before restoring {name}", clock)
    except Corrupt as damage:
        log.warning("no backup of the present state: %s", damage)


def _ready(paths: Paths, folder: Path, stage: Path, wanted: Sequence[str]) -> list[tuple[Path, Path]]:
    """Copy everything that is to be put back to the file system it goes to; returns (ready, place) of each."""
    moves = []
    if STORE in wanted:
        for target in (paths.facts_db, paths.telemetry_db):
            durable.copy_file(folder / STORE / target.name, stage / target.name)
            moves.append((stage / target.name, target))
    if SETTINGS in wanted:
        for path in sorted((folder / SETTINGS).rglob("*")):
            if path.is_file():
                below = path.relative_to(folder / SETTINGS)
                (stage / SETTINGS / below).parent.mkdir(parents=True, exist_ok=True)
                durable.copy_file(path, stage / SETTINGS / below)
                moves.append((stage / SETTINGS / below, paths.home / below))
    for part, parent in ((HERO, paths.models), (CHAMPION, paths.current_model)):
        for source in sorted((folder / part).glob("*")) if part in wanted else ():
            if not (parent / source.name).exists():
                (stage / part).mkdir(exist_ok=True)
                archivist.take_folder(source, stage / part / source.name)
                moves.append((stage / part / source.name, parent / source.name))
    return moves


def _swap(moves: list[tuple[Path, Path]], aside: Path, paths: Paths) -> None:
    """Move the old things aside and the new ones in; on any failure everything goes back where it was."""
    aside.mkdir(parents=True)
    done: list[tuple[Path, Path]] = []

    def move(source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        durable.move(source, target)
        done.append((source, target))

    try:
        for ready, place in moves:
            ends = ("", "-wal", "-shm") if place.suffix == ".db" else ("",)
            for end in ends:
                old = place.with_name(place.name + end)
                if old.exists():
                    move(old, aside / old.relative_to(paths.home))
            move(ready, place)
    except BaseException:
        for source, target in reversed(done):
            durable.move(target, source)
        raise
