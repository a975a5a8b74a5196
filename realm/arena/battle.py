"""The battle, top to bottom: claim a quest, form it, train it step by step, save, obey orders, claim the next.

The hero is loaded by `enter` (entering.py) and stays in memory between quests. Every step boundary is a place where the
battle may be held, and every save is a place from which it is repeated bit for bit: a checkpoint holds the weights, the
optimiser, the random states and how far each unfinished quest is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from realm.arena import control
from realm.arena.entering import Arena as Arena
from realm.arena.entering import enter as enter
from realm.arena.entering import leave as leave
from realm.arena.formation.rows import EncodedRow
from realm.arena.forming import Formed, cut_of, form, validation_rows
from realm.arena.memory_fault import OutOfMemory, is_memory_fault
from realm.arena.quests import board
from realm.arena.quests.quest import Quest
from realm.arena.saver import Poisoned
from realm.arena.saves import note_save, save, save_due, save_now
from realm.arena.stepper import StepResult
from realm.arena.trial import TrialFailed, before_battle
from realm.core.daemon import StopFlag
from realm.core.errors import NoSpace, RealmError
from realm.core.logs import get_logger
from realm.vault.ledger import ConsumedRows

log = get_logger("battle")
IDLE_WAIT_S = 0.1
FULL_WAIT_S = 5.0
HOLD_WAIT_S = 0.1


def fight(arena: Arena, stop: StopFlag, *, until_idle: bool = False, max_steps: int | None = None) -> None:
    """Fight until `stop`, until the board is empty (`until_idle`) or for `max_steps` more steps; saves at the end.

    Raises the error of the last save when the end could not be saved, Poisoned when the weights are not finite any more
    and OutOfMemory (the next start goes on from the last checkpoint), and with `until_idle` NoSpace when the disk is full.
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
    except (MemoryError, RuntimeError) as error:
        if not is_memory_fault(error):
            raise
        raise _out_of_memory(arena, None, f"after step {arena.step}", error) from error
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
    """Hold while paused or stopped, end when a restart is asked for; returns whether anything was. The end is never held up."""
    orders = control.read_orders(arena.paths)
    if orders.skip and arena.progress.status.get("quest") is None:
        control.obeyed(arena.paths, "skip")  # nothing to skip between quests
    if orders.restart and not stop.is_set():
        control.obeyed(arena.paths, "restart")
        stop.set()
        return True
    if stop.is_set() or not (orders.pause or orders.stop):
        return False
    save_now(arena)
    name = "stopped" if orders.stop else "paused"
    arena.progress.state(name, "by the player; resume goes on at the same step")
    arena.progress.event(f"battle.{name}", step=arena.step, data={"name": arena.progress.status.get("quest")})
    while not stop.is_set() and not orders.restart and (orders.pause or orders.stop):
        stop.wait(HOLD_WAIT_S)
        arena.progress.publish()
        orders = control.read_orders(arena.paths)
    if not (stop.is_set() or orders.restart):
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
    done = arena.cursor.steps_done.get(quest.id, 0)
    try:
        with _marked(arena, quest, done):
            formed = form(arena.paths, quest, arena.template, arena.hero, arena.config, cut)
            before_battle(arena, quest, formed.rows, formed.steps)
    except (NoSpace, OutOfMemory):
        raise
    except TrialFailed as failed:
        _fail_trial(arena, quest, failed)
        raise
    except (RealmError, OSError) as error:
        _set_aside(arena, quest, None, error)
        return
    arena.cursor.cuts[quest.id] = cut
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
        if arena.deaths.get(quest.id) == number:
            save_now(arena)
        rows = [formed.rows[i] for i in formed.steps[number]]
        try:
            with _marked(arena, quest, number, rows):
                result = arena.stepper.step(rows)
        except OutOfMemory:
            raise
        except RealmError as error:
            _set_aside(arena, quest, formed, error)
            return
        _after_step(arena, quest, formed, number, result, held_out)
    if control.read_orders(arena.paths).skip:
        control.obeyed(arena.paths, "skip")  # it came with the last step; the next quest was not meant
    if control.read_orders(arena.paths).stop_after_quest:
        control.stop_now(arena.paths)


@contextmanager
def _marked(arena: Arena, quest: Quest, number: int, rows: Sequence[EncodedRow] = ()) -> Iterator[None]:
    """Mark on disk what is computed; raises OutOfMemory, with the mark left behind, where memory was refused."""
    try:
        with arena.mark.during(quest.id, number, [row.index for row in rows]):
            yield
    except (MemoryError, RuntimeError) as error:
        if not is_memory_fault(error):
            raise
        tokens = f", {len(rows)} rows of up to {max(map(len, rows))} tokens" if rows else ""
        raise _out_of_memory(arena, quest, f"in step {number + 1} of quest {quest.name}{tokens}", error) from error


def _out_of_memory(arena: Arena, quest: Quest | None, where: str, error: Exception) -> OutOfMemory:
    """Tell that memory was refused; the process ends, and the weights go on from the last checkpoint."""
    hint = "lower training.batch_size (and raise gradient_accumulation), or set gradient_checkpointing: realm arena estimate"
    fault = OutOfMemory(f"out of memory {where}: {str(error)[:160] or type(error).__name__}", hint=hint)
    log.error("%s", fault)
    data = {"name": quest.name if quest else None, "reason": fault.message}
    arena.progress.event("battle.failed", subject=quest.id if quest else "", step=arena.step, data=data)
    arena.progress.state("error", str(fault))
    return fault


def _fail_trial(arena: Arena, quest: Quest, failed: TrialFailed) -> None:
    """Keep what was trained and say why nothing starts; the quest waits in processing/ until the cause is mended."""
    log.error("%s", failed)
    save_now(arena)
    arena.progress.event("battle.failed", subject=quest.id, step=arena.step, data={"name": quest.name, "reason": str(failed)})
    arena.progress.end_quest()
    arena.progress.state("error", str(failed))


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
    arena.progress.status.update(peak_memory_bytes=arena.stepper.peak_bytes(), largest_micro_batch=arena.stepper.largest)
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
