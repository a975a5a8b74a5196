"""Entering the arena: the hero loaded, the newest whole checkpoint resumed, everything a battle works with in one place."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass, field
from typing import Any

import torch

from realm.arena import adapters, control, parallel
from realm.arena.checkpoint_io import read_state, read_weights, restore_rng, versions
from realm.arena.forming import Cut
from realm.arena.kept_memory import keep_for
from realm.arena.precision import choose_precision
from realm.arena.progress import Progress
from realm.arena.quests.deaths import FightMark, note_death, read_mark
from realm.arena.quests.receipts import store_receipts
from realm.arena.reconcile import reconcile
from realm.arena.saver import EnqueueEvals, Saver
from realm.arena.stepper import Stepper, StepResult, fix_numerics
from realm.armory.config import Config
from realm.armory.hero_loading import LoadedHero, load_hero
from realm.armory.hero_presets import Adapter
from realm.armory.heroes import Hero, active_config, active_hero
from realm.armory.template import ChatTemplate
from realm.core.clock import SYSTEM, Clock, stamp
from realm.core.errors import BadInput, Corrupt, RealmError, Unavailable
from realm.core.logs import get_logger
from realm.core.paths import Paths
from realm.core.store import open_facts, open_telemetry, transaction
from realm.vault.keeping.retention import Keep
from realm.vault.ledger import SIDECAR, ConsumedRows, read_record

log = get_logger("battle")


@dataclass
class Cursor:
    """How far the weights are: finished steps of unfinished quests and how those were cut into steps, what the next
    checkpoint will contain anew, and why quests ended early."""

    steps_done: dict[str, int] = field(default_factory=dict)
    cuts: dict[str, Cut] = field(default_factory=dict)
    consumed: dict[str, ConsumedRows] = field(default_factory=dict)
    ends: dict[str, str] = field(default_factory=dict)


@dataclass
class Totals:
    """Counted over the hero's whole line."""

    tokens: int = 0
    trained_tokens: int = 0
    seconds: float = 0.0
    rows: int = 0


@dataclass
class Arena:
    """Everything a battle works with; built once by `enter`."""

    paths: Paths
    facts: sqlite3.Connection
    telemetry: sqlite3.Connection
    hero: Hero
    config: Config
    template: ChatTemplate
    stepper: Stepper
    saver: Saver
    progress: Progress
    clock: Clock
    generation: int
    parent: str | None
    saved_step: int
    saved_at: float
    mark: FightMark
    deaths: dict[str, int] = field(default_factory=dict)  # quest -> its step in which a process died; saved before it
    cursor: Cursor = field(default_factory=Cursor)
    totals: Totals = field(default_factory=Totals)
    last: StepResult | None = None
    save_error: RealmError | None = None
    next_try: float = 0.0  # monotonic seconds before which a save that failed is not tried again while idle

    @property
    def step(self) -> int:
        return self.stepper.optimiser.steps


def training_threads(config: Config, processes: int = 1) -> int:
    """Return the threads of each process: as configured, else all cores but one divided, so that the services stay alive."""
    return config.threads or max(1, ((os.cpu_count() or 2) - 1) // processes)


def training_device(config: Config) -> str:
    """Return `cuda` where it is wanted and there; raises Unavailable when it was named and is not there."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise Unavailable("config.json names device cuda, torch finds none", hint="realm config set device auto")
    return "cuda" if config.device != "cpu" and torch.cuda.is_available() else "cpu"


def take_lease(facts: sqlite3.Connection, clock: Clock) -> int:
    """Count this start of the arena; the number goes into every checkpoint it writes."""
    with transaction(facts):
        row = facts.execute("SELECT generation FROM leases WHERE name = 'arena'").fetchone()
        generation = int(row["generation"]) + 1 if row else 1
        facts.execute(
            "INSERT OR REPLACE INTO leases(name, holder, generation, at) VALUES ('arena', ?, ?, ?)",
            (str(os.getpid()), generation, stamp(clock.now())),
        )
    return generation


def stepper_kind(config: Config) -> type[Stepper]:
    """Return what takes the steps: one process, several with whole heroes, or several with a shard of it each."""
    if parallel.world()[1] == 1:
        return Stepper
    if config.parallel.strategy == "ddp":
        return parallel.ParallelStepper
    from realm.arena.sharded import ShardedStepper  # brings in the parts of torch for shards

    return ShardedStepper


def load_fighter(
    hero: Hero, config: Config, device: str, clock: Clock = SYSTEM, made_by: type[Stepper] = Stepper
) -> tuple[LoadedHero, Stepper]:
    """Load a hero's base and make it trainable as configured: precision, adapter, optimiser."""
    kind = device.split(":", maxsplit=1)[0]
    training = config.training.model_copy(update={"precision": choose_precision(config.training.precision, kind)})
    adapters.require(training.adapter, kind)
    loaded = load_hero(hero.folder, device=device, four_bit=training.adapter.kind == "qlora")
    torch.manual_seed(config.seed)  # an adapter's first weights
    model = adapters.attach(loaded.model, training.adapter)
    return loaded, made_by(model, training, loaded.template.pad_id, clock=clock)


def enter(paths: Paths, enqueue_evals: EnqueueEvals, clock: Clock = SYSTEM) -> Arena:
    """Load the hero from the newest whole checkpoint, or from its base, with everything a battle needs."""
    facts, telemetry = open_facts(paths), open_telemetry(paths, check=True)
    progress = Progress(paths, facts, telemetry, clock)
    progress.state("starting", "loading the hero")
    control.obeyed(paths, "restart")  # this is the start that was asked for: settings are read after it
    hero, config = active_hero(paths), active_config(paths).config
    newest = reconcile(paths, facts, enqueue_evals, clock)
    death = read_mark(paths)
    device = parallel.local_device(training_device(config))
    keep_for(hero.folder)
    fix_numerics(training_threads(config, parallel.world()[1]), device)
    made_by = stepper_kind(config)
    if made_by is not Stepper:
        parallel.join(device)
    loaded, stepper = load_fighter(hero, config, device, clock, made_by)
    kept = config.retention
    keep = Keep(kept.newest, kept.hours, kept.days, int(kept.max_gb * 1e9), kept.weeks, kept.best)
    saver = Saver(paths, hero.folder, keep, enqueue_evals, clock)
    arena = Arena(
        paths, facts, telemetry, hero, config, loaded.template, stepper, saver, progress, clock,
        generation=take_lease(facts, clock), parent=None, saved_step=0, saved_at=clock.monotonic(),
        mark=FightMark(paths),
    )  # fmt: skip
    progress.status.update(
        threads=torch.get_num_threads(), device=device, precision=stepper.training.precision, hero=hero.id, step=0
    )
    if newest is not None:
        _resume(arena, newest.name)
        ended = [done.quest for done in read_record(newest / SIDECAR).quests if done.complete]
        store_receipts(facts, telemetry, ended, clock)
    if isinstance(stepper, parallel.ParallelStepper):
        stepper.align()
    arena.deaths = note_death(paths, facts, death, arena.step, clock)
    progress.restore(progress.smoothed, arena.step)
    return arena


def follow(paths: Paths) -> None:
    """Train as one of several processes that does not lead: until the leader lets it go."""
    hero, config = active_hero(paths), active_config(paths).config
    device = parallel.local_device(training_device(config))
    keep_for(hero.folder)
    fix_numerics(training_threads(config, parallel.world()[1]), device)
    parallel.join(device)
    _, stepper = load_fighter(hero, config, device, made_by=stepper_kind(config))
    assert isinstance(stepper, parallel.ParallelStepper)
    try:
        stepper.follow()
    finally:
        parallel.part()


def _resume(arena: Arena, name: str) -> None:
    """Restore weights, optimiser, random states and cursors from a verified checkpoint."""
    folder = arena.paths.current_model / name
    state = read_state(folder)
    if state["hero"] != arena.hero.id:
        raise Corrupt(
            f"{name} belongs to hero {state['hero']}, config.json names {arena.hero.id}",
            hint="one base directory holds one hero's line: use another --home, or set hero back",
        )
    _refuse_other_adapter(name, state, arena.config)
    weights = read_weights(folder)
    arena.stepper.load_state(weights.served, weights.raw, weights.optimiser)
    restore_rng(state["rng"])
    arena.cursor.steps_done = dict(state["steps_done"])
    arena.cursor.cuts = {quest: Cut(**cut) for quest, cut in state["cuts"].items()}
    arena.totals = Totals(**state["totals"])
    arena.parent, arena.saved_step = name, int(state["step"])
    arena.progress.smoothed = state["smoothed_loss"]
    arena.progress.status.update(step=arena.step, loss=state["smoothed_loss"])
    if state["versions"] != versions():
        log.warning("versions or threads changed since %s: steps go on, bits may differ", name)
    log.info("resumed %s", name)


def _refuse_other_adapter(name: str, state: dict[str, Any], config: Config) -> None:
    asked = config.training.adapter.model_dump(mode="json")
    saved = state["config"]["training"].get("adapter", Adapter().model_dump(mode="json"))
    if saved != asked:
        raise BadInput(
            f"{name} was trained with adapter {saved}, config.json asks for {asked}",
            hint="a line goes on as it began: set training.adapter back, or make a new hero of an export in another --home",
        )


def leave(arena: Arena) -> None:
    """Close what `enter` opened."""
    arena.saver.wait()
    if isinstance(arena.stepper, parallel.ParallelStepper):
        arena.stepper.dismiss()
        parallel.part()
    arena.mark.close()
    arena.facts.close()
    arena.telemetry.close()
