"""Replay: the recorded steps after a checkpoint trained once more in memory, compared with what was recorded; nothing is written.

A loss is compared bit for bit with the loss curve, the served weights with the digest of every checkpoint on the way.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save

from realm.arena.checkpoint_io import read_state, read_weights, restore_rng, versions
from realm.arena.entering import load_fighter
from realm.arena.formation.rows import EncodedRow
from realm.arena.forming import encode_quest
from realm.arena.quests.quest import quest_path
from realm.arena.stepper import Stepper, fix_numerics
from realm.arena.timeline import Place, cut_at, find_places, find_quest, rows_of
from realm.armory.config import Config
from realm.armory.hero_loading import LoadedHero
from realm.armory.hero_presets import TrainingDefaults
from realm.armory.heroes import Hero, active_hero
from realm.core import manifest
from realm.core.errors import Unknown, unknown_name
from realm.core.ids import sha256_bytes, sha256_file
from realm.core.paths import Paths
from realm.core.store import read_facts, read_telemetry
from realm.vault import ledger


@dataclass
class Replay:
    """What a replay found: steps with both losses, checkpoints with whether their digest came out again, why it ended early."""

    checkpoint: str
    first: int
    asked: int
    steps: list[dict[str, Any]] = field(default_factory=list)
    checkpoints: list[dict[str, Any]] = field(default_factory=list)
    missing: str | None = None
    other_versions: dict[str, list[str]] = field(default_factory=dict)

    @property
    def differences(self) -> int:
        """Steps and checkpoints that came out differently."""
        steps = [step for step in self.steps if step["recorded"] is not None and step["recorded"] != step["loss"]]
        return len(steps) + sum(not found["equal"] for found in self.checkpoints)

    def as_json(self) -> dict[str, Any]:
        """Return the whole finding as a plain table."""
        return {**asdict(self), "replayed": len(self.steps), "differences": self.differences}


class _Source:
    """Rows of recorded steps, formed as they were; each quest is read and encoded once."""

    def __init__(self, paths: Paths, facts: sqlite3.Connection, hero: Hero, loaded: LoadedHero) -> None:
        self._paths, self._facts, self._hero, self._template = paths, facts, hero, loaded.template
        self._formed: dict[str, tuple[list[EncodedRow], Any]] = {}

    def rows(self, place: Place, max_length: int) -> list[EncodedRow]:
        """Return the encoded rows of a step; raises Unknown saying what of it is not there any more."""
        quest = find_quest(self._facts, place.quest)
        if quest is None:
            raise Unknown(f"step {place.step}: the store does not know quest {place.name}")
        path = quest_path(self._paths, quest)
        if place.quest not in self._formed:
            if not path.is_file():
                raise Unknown(f"step {place.step}: the file of {place.name} is not kept any more")
            if sha256_file(path) != quest.sha256:
                raise Unknown(f"step {place.step}: the file of {place.name} is not the one that was trained")
            cut = cut_at(self._paths, quest, place.checkpoint)
            if cut is None:
                raise Unknown(f"step {place.step}: nothing says how {place.name} was cut into steps")
            rows = encode_quest(self._paths, quest, self._template, self._hero, max_length, cut).rows
            self._formed[place.quest] = (rows, cut)
        rows, cut = self._formed[place.quest]
        return [rows[at] for at in rows_of(quest, place, cut)]


def replay(paths: Paths, name: str, steps: int) -> Replay:
    """Train up to `steps` recorded steps after checkpoint `name` (`0`: the base hero) and compare; raises Unknown, Corrupt."""
    hero = active_hero(paths)
    begin = 0 if name == "0" else ledger.extract_step(name)
    found = Replay(name, begin + 1, steps)
    places = find_places(paths, begin + 1, begin + steps)
    if not places:
        raise Unknown(f"no recorded step follows {name}", hint="name an older checkpoint: realm ledger list")
    state = _state(paths, name) if begin else {}
    config = _config_at(paths, places[0].checkpoint) or (Config.model_validate(state["config"]) if state else None)
    if config is None:
        raise Unknown(f"{places[0].checkpoint} is dropped, and with it the settings it was trained with", hint="name a later one")
    recorded = state.get("versions") or _versions_at(paths, places[0].checkpoint)
    fix_numerics(int(recorded["threads"]))
    found.other_versions = {key: [value, versions()[key]] for key, value in recorded.items() if versions().get(key) != value}
    loaded, stepper = load_fighter(hero, config, "cpu")
    if begin:
        weights = read_weights(paths.current_model / name)
        stepper.load_state(weights.served, weights.raw, weights.optimiser)
        restore_rng(state["rng"])
    with closing(read_facts(paths)) as facts, closing(read_telemetry(paths)) as telemetry:
        source = _Source(paths, facts, hero, loaded)
        try:
            _repeat(paths, found, places, stepper, source, config, telemetry)
        except Unknown as gone:
            found.missing = str(gone)
    if found.missing is None and len(places) < steps:
        found.missing = f"only {len(places)} steps after {name} are recorded"
    return found


def _state(paths: Paths, name: str) -> dict[str, Any]:
    folder = paths.current_model / name
    if not folder.is_dir():
        raise unknown_name("checkpoint", name, [path.name for path in ledger.folders(paths)][-10:])
    manifest.verify(folder)
    return read_state(folder)


def _told(paths: Paths, name: str) -> dict[str, Any]:
    path: Path = paths.current_model / name / "state.json"
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return told


def _config_at(paths: Paths, name: str) -> Config | None:
    told = _told(paths, name)
    return Config.model_validate(told["config"]) if told else None


def _versions_at(paths: Paths, name: str) -> dict[str, str]:
    return dict(_told(paths, name)["versions"])


def _repeat(
    paths: Paths, found: Replay, places: list[Place], stepper: Stepper, source: _Source, config: Config,
    telemetry: sqlite3.Connection,
) -> None:  # fmt: skip
    saved = _saved_on_the_way(paths, places)
    for place in places:
        now = _config_at(paths, place.checkpoint)
        if now is not None and _arithmetic(now) != _arithmetic(config):
            raise Unknown(f"step {place.step}: the training settings were changed before {place.checkpoint}")
        result = stepper.step(source.rows(place, config.max_length))
        point = telemetry.execute("SELECT loss FROM steps WHERE step = ?", (place.step,)).fetchone()
        recorded = point["loss"] if point else None
        found.steps.append({"step": place.step, "quest": place.name, "loss": result.loss, "recorded": recorded})
        for record in saved.get(place.step, []):
            digest = sha256_bytes(save(stepper.state_tensors()[0], {"format": "pt"}))
            found.checkpoints.append({"checkpoint": record.canonical_name, "equal": digest == record.weights_sha256})


def _arithmetic(config: Config) -> TrainingDefaults:
    """Return the settings that a step depends on."""
    return config.training.model_copy(update={"save_steps": 1})


def _saved_on_the_way(paths: Paths, places: list[Place]) -> dict[int, list[ledger.Record]]:
    """Return step -> checkpoints that were saved at it by the start of the arena that trained it.

    A save that was still under way when the next one began is no parent of it, but has the weights of its step.
    """
    present = [ledger.read_record(folder / ledger.SIDECAR) for folder in ledger.folders(paths)]
    records = {record.canonical_name: record for record in [*ledger.dropped_records(paths), *present]}
    found: dict[int, list[ledger.Record]] = {}
    for place in places:
        generation = records[place.checkpoint].generation
        same = [one for one in records.values() if (one.step, one.generation) == (place.step, generation)]
        found[place.step] = same
    return found


def replay_text(found: Replay) -> str:
    """Return a replay as lines for a terminal."""
    compared = [step for step in found.steps if step["recorded"] is not None]
    lines = [f"replayed {len(found.steps)} of {found.asked} steps after {found.checkpoint}; {len(compared)} losses compared"]
    for step in compared:
        if step["recorded"] != step["loss"]:
            lines.append(f"step {step['step']} ({step['quest']}): loss {step['loss']!r}, recorded {step['recorded']!r}")
    lines += [f"{one['checkpoint']}: weights {'equal' if one['equal'] else 'DIFFER'}" for one in found.checkpoints]
    for key, (then, now) in found.other_versions.items():
        lines.append(f"{key} was {then}, is {now}: bits may differ")
    if found.missing:
        lines.append(f"ended early: {found.missing}")
    return "\n".join([*lines, f"{found.differences} differences"])
