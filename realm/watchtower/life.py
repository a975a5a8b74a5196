"""Whether the arena lives and what it does: its own status, believed only while its process gives a sign of life."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from realm.watchtower.fields import number, text
from realm.watchtower.inputs import Inputs

SILENCE_S = 45.0
STATES = frozenset({"training", "paused", "idle", "stopped", "evaluating", "error", "offline", "starting"})
# States that a process leaves behind as its last word and that stay true after it ended.
LAST_WORDS = frozenset({"stopped", "error"})


@dataclass(frozen=True)
class Life:
    """`live` is the arena's status while it can be believed, else None; `age_s` is the heartbeat's age in seconds."""

    state: str
    reason: str
    live: Mapping[str, Any] | None
    age_s: float | None
    age_reason: str = ""


def judge_life(inputs: Inputs) -> Life:
    """Decide what the arena is doing. Pure.

    A status is believed when the process that beats wrote it, that process exists and its heartbeat is at most
    `SILENCE_S` old. Otherwise the state is `offline` (or the last word the arena left) with the reason.
    """
    age, age_reason = _age(inputs)
    if not inputs.arena_process or age is None or age > SILENCE_S:
        return _silent(inputs, age, age_reason)
    status = inputs.status
    if status is None:
        return Life("starting", inputs.status_reason, None, age)
    if not _same_process(status, inputs.heartbeat or {}):
        return Life("starting", "the arena has started and has not reported yet", None, age)
    state = text(status, "state") or ""
    if state not in STATES:
        return Life("error", f"the arena reports an unknown state {state!r}", status, age)
    return Life(state, text(status, "state_reason") or _PLAIN[state], status, age)


_PLAIN = {
    "training": "the hero is fighting a quest",
    "paused": "paused by the player",
    "idle": "no quest waits on the board",
    "stopped": "stopped by the player",
    "evaluating": "a checkpoint is being evaluated",
    "error": "the arena stopped after an error; see logs/arena.jsonl",
    "offline": "the arena does not run",
    "starting": "the arena is starting",
}


def _age(inputs: Inputs) -> tuple[float | None, str]:
    beat = number(inputs.heartbeat, "monotonic")
    if beat is None:
        return None, "the arena has left no heartbeat"
    age = inputs.monotonic - beat
    if age < 0:
        return None, "the last heartbeat is from before the machine's last start"
    return round(age, 2), ""


def _same_process(status: Mapping[str, Any], heartbeat: Mapping[str, Any]) -> bool:
    return all(status.get(key) == heartbeat.get(key) for key in ("pid", "instance") if key in status)


def _silent(inputs: Inputs, age: float | None, age_reason: str) -> Life:
    last = text(inputs.status, "state")
    if last in LAST_WORDS and not inputs.arena_process:
        return Life(last, text(inputs.status, "state_reason") or _PLAIN[last], None, age, age_reason)
    if inputs.status is None and inputs.heartbeat is None:
        return Life("offline", inputs.status_reason, None, age, age_reason)
    if inputs.arena_process and age is not None:
        return Life("offline", f"no word from the arena for {age:.0f} s", None, age, age_reason)
    word = f"; last word {age:.0f} s ago" if age is not None else ""
    return Life("offline", f"the arena does not run{word}", None, age, age_reason)
