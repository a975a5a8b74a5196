"""The battle, top to bottom: resume, claim a quest, form it, train it step by step, save, obey orders, claim the next.

The hero stays in memory between quests. Every step boundary is a place where the battle may be held, and every save is a
place from which it is repeated bit for bit: a checkpoint holds the weights, the optimiser, the random states and how far
each unfinished quest is.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from dataclasses import dataclass, field

import torch

from realm.arena import board, control
from realm.arena.checkpoint_io import read_state, read_weights, restore_rng, versions
from realm.arena.formation.rows import EncodedRow
from realm.arena.forming import Cut, Formed, cut_of, form, validation_rows
from realm.arena.progress import Progress
from realm.arena.quest import Quest
from realm.arena.reconcile import reconcile
from realm.arena.saver import EnqueueEvals, Poisoned, Saver
from realm.arena.saves import note_save, save, save_due, save_now
from realm.arena.stepper import Stepper, StepResult, fix_numerics
from realm.armory.config import Config
from realm.armory.hero_loading import load_hero
from realm.armory.heroes import Hero, active_config, active_hero
from realm.armory.template import ChatTemplate
from realm.core.clock import SYSTEM, Clock, stamp
from realm.core.daemon import StopFlag
from realm.core.errors import Corrupt, NoSpace, RealmError, Unavailable
from realm.core.logs import get_logger
from realm.core.paths import Paths
from realm.core.store import open_facts, open_telemetry, transaction
from realm.vault.ledger import ConsumedRows
from realm.vault.retention import Keep

log = get_logger("battle")
IDLE_WAIT_S = 0.1
FULL_WAIT_S = 5.0
HOLD_WAIT_S = 0.1


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
    cursor: Cursor = field(default_factory=Cursor)
    totals: Totals = field(default_factory=Totals)
    last: StepResult | None = None
    save_error: RealmError | None = None
    next_try: float = 0.0  # monotonic seconds before which a save that failed is not tried again while idle

    @property
    def step(self) -> int:
        return self.stepper.optimiser.steps


def training_threads(config: Config) -> int:
    """Return the threads to train with: as configured, else all cores but one, so that the services stay alive."""
    return config.threads or max(1, (os.cpu_count() or 2) - 1)


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


def enter(paths: Paths, enqueue_evals: EnqueueEvals, clock: Clock = SYSTEM) -> Arena:
    """Load the hero from the newest whole checkpoint, or from its base, with everything a battle needs."""
    facts, telemetry = open_facts(paths), open_telemetry(paths)
    progress = Progress(paths, facts, telemetry, clock)
    progress.state("starting", "loading the hero")
    hero, config = active_hero(paths), active_config(paths).config
    newest = reconcile(paths, facts, enqueue_evals, clock)
    device = training_device(config)
    fix_numerics(training_threads(config), device)
    torch.manual_seed(config.seed)
    loaded = load_hero(hero.folder, device=device)
    stepper = Stepper(loaded.model, config.training, loaded.template.pad_id, clock=clock)
    keep = Keep(config.retention.newest, config.retention.hours, config.retention.days, int(config.retention.max_gb * 1e9))
    saver = Saver(paths, hero.folder, keep, enqueue_evals, clock)
    arena = Arena(
        paths, facts, telemetry, hero, config, loaded.template, stepper, saver, progress, clock,
        generation=take_lease(facts, clock), parent=None, saved_step=0, saved_at=clock.monotonic(),
    )  # fmt: skip
    progress.status.update(threads=torch.get_num_threads(), hero=hero.id, step=0)
    if newest is not None:
        _resume(arena, newest.name)
    progress.restore(progress.smoothed, arena.step)
    return arena


def _resume(arena: Arena, name: str) -> None:
    """Restore weights, optimiser, random states and cursors from a verified checkpoint."""
    folder = arena.paths.current_model / name
    state = read_state(folder)
    if state["hero"] != arena.hero.id:
        raise Corrupt(
            f"{name} belongs to hero {state['hero']}, config.json names {arena.hero.id}",
            hint="one base directory holds one hero's line: use another --home, or set hero back",
        )
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


def fight(arena: Arena, stop: StopFlag, *, until_idle: bool = False, max_steps: int | None = None) -> None:
    """Fight until `stop`, until the board is empty (`until_idle`) or for `max_steps` more steps; saves at the end.

    Raises the error of the last save when the end could not be saved, Poisoned when the weights are not finite any more
    (the next start goes on from the last checkpoint), and with `until_idle` NoSpace when the disk is full.
    """
    last_step = arena.step + max_steps if max_steps is not None else None
    waiting = board.processing(arena.facts)
    try:
        while not stop.is_set() and not (last_step is not None and arena.step >= last_step):
            try:
                if not _next(arena, waiting, stop, until_idle=until_idle, last_step=last_step):
                    break
            except NoSpace as full:
                if until_idle:
                    raise
                waiting = _wait_for_space(arena, full, stop)
        save_now(arena)
    except Poisoned as poison:
        _blame(arena, poison)
        raise
    if arena.step > arena.saved_step and arena.save_error is not None:
        raise arena.save_error
    arena.progress.state("stopped" if control.read_orders(arena.paths).stop else "idle", "the arena has closed")


def _next(arena: Arena, waiting: list[Quest], stop: StopFlag, *, until_idle: bool, last_step: int | None) -> bool:
    """Hold, fight one quest, or idle; returns False when there is nothing left to do."""
    if _held(arena, stop):
        return True
    quest = waiting[0] if waiting else board.claim(arena.paths, arena.facts, step=arena.step, clock=arena.clock)
    if quest is not None:
        _fight_quest(arena, quest, stop, last_step)
        del waiting[:1]
        return True
    if not until_idle:
        _idle(arena, stop)
    return not until_idle


def _wait_for_space(arena: Arena, full: NoSpace, stop: StopFlag) -> list[Quest]:
    """Wait a little for space on the disk; returns the quests that are not wholly in the weights, to go on with."""
    log.error("the disk is full, training waits: %s", full)
    with suppress(NoSpace):  # a status that cannot be written is what was just logged
        arena.progress.state("error", str(full))
    stop.wait(FULL_WAIT_S)
    whole = {done.quest for done in arena.cursor.consumed.values() if done.complete}
    return [quest for quest in board.processing(arena.facts) if quest.id not in whole]


def _blame(arena: Arena, poison: Poisoned) -> None:
    """Count the attempt of the quest that was trained last: the weights it left are lost."""
    log.error("%s", poison)
    last = next(reversed(arena.cursor.consumed), None)
    for quest in board.processing(arena.facts):
        if quest.id == last:
            arena.progress.event("battle.failed", subject=quest.id, step=arena.step,
                                 data={"name": quest.name, "reason": str(poison)})  # fmt: skip
            board.set_aside(arena.paths, arena.facts, quest, str(poison), step=arena.saved_step, clock=arena.clock)


def _held(arena: Arena, stop: StopFlag) -> bool:
    """Hold while paused or stopped; returns whether it held. The end of the process is never held up."""
    orders = control.read_orders(arena.paths)
    if orders.skip and arena.progress.status.get("quest") is None:
        control.obeyed(arena.paths, "skip")  # nothing to skip between quests
    if stop.is_set() or not (orders.pause or orders.stop):
        return False
    save_now(arena)
    name = "stopped" if orders.stop else "paused"
    arena.progress.state(name, "by the player; resume goes on at the same step")
    arena.progress.event(f"battle.{name}", step=arena.step, data={"name": arena.progress.status.get("quest")})
    while not stop.is_set() and (orders.pause or orders.stop):
        stop.wait(HOLD_WAIT_S)
        arena.progress.publish()
        orders = control.read_orders(arena.paths)
    if not stop.is_set():
        arena.progress.event("battle.resumed", step=arena.step)
    return True


def _idle(arena: Arena, stop: StopFlag) -> None:
    if arena.progress.status.get("state") != "idle":
        arena.progress.end_quest()
        arena.progress.state("idle", "the quest board is empty")
        arena.progress.event("queue.empty", step=arena.step)
    note_save(arena, arena.saver.take())
    if arena.clock.monotonic() >= arena.next_try:
        save_now(arena)
    arena.progress.publish()
    stop.wait(IDLE_WAIT_S)


def _fight_quest(arena: Arena, quest: Quest, stop: StopFlag, last_step: int | None) -> None:
    """Train one quest from its cursor; an error in it sets the quest aside and keeps the weights before it."""
    cut = arena.cursor.cuts.get(quest.id) or cut_of(arena.config)
    try:
        formed = form(arena.paths, quest, arena.template, arena.hero, arena.config, cut)
    except NoSpace:
        raise
    except (RealmError, OSError) as error:
        _set_aside(arena, quest, None, error)
        return
    arena.cursor.cuts[quest.id] = cut
    done = arena.cursor.steps_done.get(quest.id, 0)
    held_out = _held_out(arena, quest)
    arena.progress.begin_quest(quest, len(formed.steps), done)
    kind = "battle.resumed" if done else "battle.started"
    arena.progress.event(kind, subject=quest.id, step=arena.step,
                         data={"name": quest.name, "steps": len(formed.steps), "done": done, "skill": quest.skill,
                               "level": quest.level, "generation": arena.generation})  # fmt: skip
    for number in range(done, len(formed.steps)):
        if stop.is_set() or (last_step is not None and arena.step >= last_step):
            return
        while _held(arena, stop):
            pass
        if stop.is_set():
            return
        if control.read_orders(arena.paths).skip:
            control.obeyed(arena.paths, "skip")
            arena.cursor.ends[quest.id] = "skipped"
            _consume(arena, quest, formed, number)
            save_now(arena)
            arena.progress.end_quest()
            return
        try:
            result = arena.stepper.step([formed.rows[i] for i in formed.steps[number]])
        except RealmError as error:
            _set_aside(arena, quest, formed, error)
            return
        _after_step(arena, quest, formed, number, result, held_out)
    if control.read_orders(arena.paths).skip:
        control.obeyed(arena.paths, "skip")  # it came with the last step; the next quest was not meant
    if control.read_orders(arena.paths).stop_after_quest:
        control.stop_now(arena.paths)


def _held_out(arena: Arena, quest: Quest) -> tuple[str, list[EncodedRow]]:
    """Return the held-out rows of a quest; a broken file of them is told and does not stop the battle."""
    try:
        return validation_rows(arena.paths, quest, arena.template, arena.hero, arena.config)
    except (RealmError, OSError) as error:
        log.error("no validation loss: %s", error)
        arena.progress.event("patrol.failed", step=arena.step, data={"check": "validation", "reason": str(error)})
        return "", []


def _after_step(
    arena: Arena, quest: Quest, formed: Formed, number: int, result: StepResult, held_out: tuple[str, list[EncodedRow]]
) -> None:
    """Count a finished step: the cursor first, then what the world is told, then the save when one is due."""
    arena.last = result
    arena.totals.tokens += result.total_tokens
    arena.totals.trained_tokens += result.trained_tokens
    arena.totals.seconds += result.seconds
    arena.totals.rows += len(formed.steps[number])
    _consume(arena, quest, formed, number + 1)
    arena.progress.note_step(quest, result, [formed.rows[i].index for i in formed.steps[number]], number + 1, len(formed.steps))
    saving = save_due(arena)
    if held_out[1] and (saving or arena.step % arena.config.validation.every_steps == 0):
        _validate(arena, held_out)
    if saving:
        save(arena)
    note_save(arena, arena.saver.take())


def _validate(arena: Arena, held_out: tuple[str, list[EncodedRow]]) -> None:
    name, rows = held_out
    loss = arena.stepper.validation_loss(rows)
    arena.progress.note_validation(arena.step, loss, sum(sum(row.trained) for row in rows), name)


def _consume(arena: Arena, quest: Quest, formed: Formed, done: int) -> None:
    """Note that the weights now contain the first `done` steps of a quest."""
    known = arena.cursor.consumed.get(quest.id)
    start = known.from_step if known else arena.cursor.steps_done.get(quest.id, 0)
    complete = done == len(formed.steps)
    arena.cursor.steps_done[quest.id] = done
    if complete:
        del arena.cursor.steps_done[quest.id], arena.cursor.cuts[quest.id]
    arena.cursor.consumed[quest.id] = ConsumedRows(
        quest=quest.id, sha256=quest.sha256, name=quest.name, from_step=start, to_step=done, steps=len(formed.steps),
        complete=complete, skill=quest.skill, level=quest.level, generator=quest.generator, rows=quest.rows,
    )  # fmt: skip


def _set_aside(arena: Arena, quest: Quest, formed: Formed | None, error: Exception) -> None:
    """An error in a quest: keep the weights, record the reason, give the quest its next try or set it aside."""
    log.error("quest %s: %s", quest.name, error)
    arena.progress.event("battle.failed", subject=quest.id, step=arena.step, data={"name": quest.name, "reason": str(error)})
    arena.cursor.ends[quest.id] = str(error)
    if formed is not None:
        _consume(arena, quest, formed, arena.cursor.steps_done.get(quest.id, 0))
    save_now(arena)
    arena.progress.end_quest()


def leave(arena: Arena) -> None:
    """Close what `enter` opened."""
    arena.saver.wait()
    arena.facts.close()
    arena.telemetry.close()

