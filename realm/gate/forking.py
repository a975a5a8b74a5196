"""Forking: a new base directory whose hero begins where a checkpoint of this one stands.

One base directory holds one hero's line, so a fork is a base directory. It gets the base hero under a new id, the checkpoint
with weights, averaged weights, optimiser and random states untouched, the records of its parents, settings, schedule, held-out
rows and the levels mastered up to it. Quests, evals and events stay where they are.
"""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

from realm.arena.timeline import line_of_records
from realm.armory.config import read_raw, write_config
from realm.armory.heroes import HERO_FILE, Hero, active_hero, active_preset
from realm.core import durable, events, manifest
from realm.core.errors import BadInput, Conflict, unknown_name
from realm.core.ids import check_id
from realm.core.paths import Paths
from realm.core.store import open_facts, transaction
from realm.guild.rebuild import MASTERIES, rebuild_learning
from realm.vault import ledger

SETTINGS = ("config/schedule.yaml", "configs", "data/validation")


def fork(paths: Paths, name: str, hero_id: str, target: Path | None = None) -> Paths:
    """Make the new base directory, by default beside this one; raises Unknown for no such checkpoint, Conflict for a taken place.

    The directory appears under its name only when it is complete.
    """
    check_id(hero_id)
    target = target or paths.home.with_name(f"{paths.home.name}-{hero_id}")
    hero, source = active_hero(paths), paths.current_model / name
    if ledger.extract_step(name) == 0 or not source.is_dir():
        raise unknown_name("checkpoint", name, [path.name for path in ledger.folders(paths)][-10:])
    if target.exists():
        raise Conflict(f"{target} exists already", hint="give another one with --to")
    if hero_id in (hero.id, "current_model"):
        raise BadInput(f"{hero_id} is not the name of another hero", hint="choose another --name")
    manifest.verify(source)
    record = ledger.read_record(source / ledger.SIDECAR)
    made = Paths(durable.new_dir(target.parent, target.name)).ensure()
    try:
        _copy_settings(paths, made)
        told = {"id": hero_id, "name": hero_id, "forked_from": {"hero": hero.id, "checkpoint": name,
                                                                "weights_sha256": record.weights_sha256}}  # fmt: skip
        _copy_base(hero, made, told)
        _copy_checkpoint(source, made, hero_id, told)
        raw = {**read_raw(paths), "hero": hero_id, "base_model": f"models/{hero_id}"}
        write_config(made, raw, active_preset(paths))
        _index(paths, made, hero, record, told)
        durable.commit_dir(made.home, target)
    except BaseException:
        if made.home.exists():
            durable.remove_tree(made.home)
        raise
    return Paths(target)


def _copy_settings(paths: Paths, made: Paths) -> None:
    for name in SETTINGS:
        source = paths.home / name
        for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if path.is_file():
                target = made.home / path.relative_to(paths.home)
                target.parent.mkdir(parents=True, exist_ok=True)
                durable.copy_file(path, target)


def _copy_base(hero: Hero, made: Paths, told: dict[str, Any]) -> None:
    folder = made.base_hero(told["id"])
    _copy_folder(hero.folder, folder)
    durable.write_json(folder / HERO_FILE, {**hero.facts, **told})
    manifest.write_manifest(folder, 0, told["id"])


def _copy_checkpoint(source: Path, made: Paths, hero_id: str, told: dict[str, Any]) -> None:
    """Copy a checkpoint; quests that were under way stay with the old hero, so their cursors do not come along."""
    folder = made.current_model / source.name
    _copy_folder(source, folder)
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    durable.write_json(folder / "state.json", {**state, "hero": hero_id, "steps_done": {}, "cuts": {}, "ends": {}})
    facts = json.loads((folder / HERO_FILE).read_text(encoding="utf-8"))
    durable.write_json(folder / HERO_FILE, {**facts, **told})
    record = ledger.read_record(folder / ledger.SIDECAR).model_copy(update={"hero": hero_id})
    durable.write_json(folder / ledger.SIDECAR, json.loads(record.model_dump_json()))
    manifest.write_manifest(folder, record.step, source.name)


def _copy_folder(source: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        if path.is_file() and path.name != manifest.NAME:
            durable.copy_file(path, folder / path.name)


def _index(paths: Paths, made: Paths, hero: Hero, record: ledger.Record, told: dict[str, Any]) -> None:
    for parent in line_of_records(paths):
        if parent.step < record.step:
            ledger.keep_sidecar(made, parent)
    masteries = made.evals / MASTERIES
    for path in sorted((paths.evals / MASTERIES).glob("*.json")):
        if json.loads(path.read_text(encoding="utf-8"))["step"] <= record.step:
            masteries.mkdir(exist_ok=True)
            durable.copy_file(path, masteries / path.name)
    with closing(open_facts(made)) as facts:
        ledger.adopt(made, facts)
        rebuild_learning(made, facts)
        with transaction(facts):
            data = {"id": told["id"], "name": told["name"], "model": hero.model, "preset": hero.preset}
            events.append(facts, "hero.created", subject=told["id"], step=record.step, data={**data, **told["forked_from"]})
