"""The battle as the arena reports it: one step, one number; nothing is guessed between two reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from realm.watchtower.fields import Block, Number, number, put, text, whole
from realm.watchtower.inputs import Inputs
from realm.watchtower.life import Life

# The smoothed loss is s' = DECAY * s + (1 - DECAY) * raw.
DECAY = 0.9

_QUEST_TEXTS = ("quest", "quest_id", "kind", "skill")
_QUEST_COUNTS = ("quest_level", "steps_in_quest", "steps_done_in_quest", "rows_in_quest")
_MEASURED = ("loss", "raw_loss", "best_loss", "lr", "grad_norm")
_SPEEDS = ("tokens_per_s", "steps_per_s", "eta_s")
# States in which the quest of the status is the one on the field.
_IN_QUEST = frozenset({"training", "paused", "evaluating", "stopped", "error"})


def battle_block(inputs: Inputs, life: Life) -> Block:
    """Build the battle block of the snapshot. Pure."""
    live = life.live
    block: Block = {"state": life.state, "state_reason": life.reason}
    quest = live if life.state in _IN_QUEST else None
    for name in _QUEST_TEXTS:
        put(block, name, text(quest, name), _no_quest(life, quest, name))
    for name in _QUEST_COUNTS:
        put(block, name, whole(quest, name), _no_quest(life, quest, name))
    put(block, "step", whole(live, "step"), _unmeasured(life))
    for name in _MEASURED:
        put(block, name, number(live, name), _unmeasured(life))
    put(block, "loss_delta", loss_delta(live), _unmeasured(life))
    moving = live if life.state == "training" else None
    for name in _SPEEDS:
        put(block, name, number(moving, name), _unmeasured(life))
    put(block, "threads", whole(live, "threads"), _unmeasured(life))
    put(block, "heartbeat_age_s", life.age_s, life.age_reason)
    block["evals_waiting"] = inputs.facts.evals_waiting
    return block


def loss_delta(live: Mapping[str, Any] | None) -> float | None:
    """Return how far the last step moved the smoothed loss: (1 - d) / d * (raw - smoothed), from the EMA's own formula."""
    smoothed, raw = number(live, "loss"), number(live, "raw_loss")
    return None if smoothed is None or raw is None else _round((1 - DECAY) / DECAY * (raw - smoothed))


def _round(value: Number) -> float:
    return round(float(value), 6)


def _no_quest(life: Life, quest: Mapping[str, Any] | None, field: str) -> str:
    if quest is None:
        return f"no quest is being fought: {life.reason}"
    if text(quest, "quest_id") is None and field != "quest_id":
        return "no quest is being fought"
    return f"this quest carries no {field.replace('_', ' ')}"


def _unmeasured(life: Life) -> str:
    if life.live is None or life.state != "training":
        return f"not measured now: {life.reason}"
    return "not measured yet in this battle"
