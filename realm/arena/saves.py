"""When and what a battle saves: the snapshot of a step, the save in flight, and what a committed save changes in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from realm.arena.checkpoint_io import STATE_FORMAT, Weights, rng_states, versions
from realm.arena.quests import board
from realm.arena.quests.receipts import store_receipts
from realm.arena.saver import Outcome, Poisoned, Snapshot
from realm.armory.estimate import SNAPSHOT_MOST
from realm.armory.template import template_hash

if TYPE_CHECKING:
    from realm.arena.entering import Arena

RETRY_S = 5.0


def save_due(arena: Arena) -> bool:
    minutes = (arena.clock.monotonic() - arena.saved_at) / 60
    return arena.step % arena.config.training.save_steps == 0 or minutes >= arena.config.saving.minutes


def save(arena: Arena) -> None:
    """Take a snapshot of this step and let the saver write it; the loss curve holds every step that a checkpoint contains."""
    arena.progress.flush()
    live = arena.stepper.optimiser.nbytes() > SNAPSHOT_MOST
    if live:
        note_save(arena, arena.saver.wait())
    note_save(arena, arena.saver.start(snapshot(arena, live=live)))
    if live:  # the tensors being written are those being trained
        note_save(arena, arena.saver.wait())
    arena.saved_at = arena.clock.monotonic()


def save_now(arena: Arena) -> None:
    """Save when there is something unsaved, wait until it is committed, and move quests that ended early."""
    note_save(arena, arena.saver.wait())
    if arena.step > arena.saved_step:
        save(arena)
        note_save(arena, arena.saver.wait())
    arena.saver.show_all()
    if arena.cursor.ends and arena.step == arena.saved_step:
        _finish_ends(arena)


def _finish_ends(arena: Arena) -> None:
    """Quests that ended exactly at a committed step need no further checkpoint, only their move on the board."""
    for quest in board.processing(arena.facts):
        end = arena.cursor.ends.pop(quest.id, None)
        if end == "skipped":
            board.skip(arena.paths, arena.facts, quest, "skipped by the player", step=arena.step, clock=arena.clock)
        elif end is not None:
            board.set_aside(arena.paths, arena.facts, quest, end, step=arena.step, clock=arena.clock)
    arena.cursor.ends.clear()


def note_save(arena: Arena, outcome: Outcome | None) -> None:
    """Take in how a save ended: a committed one is the new parent, a failed one leaves everything for the next try."""
    if outcome is None:
        return
    arena.save_error = outcome.error
    if isinstance(outcome.error, Poisoned):
        raise outcome.error
    if outcome.record is None:
        arena.next_try = arena.clock.monotonic() + RETRY_S
        arena.progress.status["save_error"] = str(outcome.error)
        arena.progress.event("patrol.failed", step=arena.step, data={"check": "save", "reason": str(outcome.error)})
        return
    record = outcome.record
    arena.parent, arena.saved_step = record.canonical_name, record.step
    arena.progress.status.update(save_error=None, save_seconds=outcome.seconds, checkpoint=record.canonical_name)
    for done in record.quests:
        later = arena.cursor.consumed.get(done.quest)
        if later is not None and later.to_step == done.to_step:
            del arena.cursor.consumed[done.quest]
        elif later is not None:
            arena.cursor.consumed[done.quest] = later.model_copy(update={"from_step": done.to_step})
    store_receipts(arena.facts, arena.telemetry, [done.quest for done in record.quests if done.complete], arena.clock)
    # An end that was noted after the snapshot is not in this checkpoint.
    for quest in outcome.ends:
        if any(done.quest == quest for done in record.quests):
            arena.cursor.ends.pop(quest, None)


def snapshot(arena: Arena, *, live: bool = False) -> Snapshot:
    """Return copies of everything a checkpoint of this step holds; `live`: tensors are not copied."""
    now = arena.progress.status
    last = next(reversed(arena.cursor.consumed.values()), None)
    current = now["val_loss_step"] if now.get("val_loss_step") == arena.step else None
    record: dict[str, Any] = {
        "step": arena.step, "hero": arena.hero.id, "train_loss": arena.progress.smoothed,
        "val_loss": now["val_loss"] if current else None, "val_set": now["val_set"] if current else None,
        "learning_rate": arena.last.lr if arena.last else 0.0, "epoch": 1.0,
        "skill_name": last.skill if last else None, "skill_level": last.level if last else None,
        "training_file": last.name if last else None, "parent": arena.parent, "generation": arena.generation,
        "template_hash": template_hash(), "tokens": arena.totals.tokens, "trained_tokens": arena.totals.trained_tokens,
        "seconds": arena.totals.seconds, "quests": list(arena.cursor.consumed.values()),
    }  # fmt: skip
    state: dict[str, Any] = {
        "format": STATE_FORMAT, "step": arena.step, "hero": arena.hero.id, "steps_done": dict(arena.cursor.steps_done),
        "cuts": {quest: vars(cut) for quest, cut in arena.cursor.cuts.items()}, "ends": dict(arena.cursor.ends),
        "totals": vars(arena.totals).copy(), "smoothed_loss": arena.progress.smoothed, "rng": rng_states(),
        "config": arena.config.model_dump(mode="json"), "template_hash": template_hash(), "versions": versions(),
    }  # fmt: skip
    return Snapshot(arena.step, Weights(*arena.stepper.state_tensors(live=live)), state, record, dict(arena.cursor.ends))
