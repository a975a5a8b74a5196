"""What a battle tells the world while it runs: status file, telemetry rows, heartbeat, and the trace of examples."""

from __future__ import annotations

import json
import math
import os
import sqlite3
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from realm.arena.quests.quest import Quest
from realm.core import events
from realm.core.clock import Clock, stamp
from realm.core.daemon import Heartbeat
from realm.core.durable import open_append, write_json_fast
from realm.core.paths import Paths
from realm.core.store import transaction

SMOOTHING = 0.9
SPIKE_SIGMAS = 3.0
SPIKE_WINDOW = 200  # steps that a loss is compared with, of quests of one kind, skill and level
EVENT_PAUSE_S = 10.0
PUBLISH_S = 1.0


class Progress:
    """Collects steps and publishes them once a second; nothing here decides anything about training."""

    def __init__(self, paths: Paths, facts: sqlite3.Connection, telemetry: sqlite3.Connection, clock: Clock) -> None:
        self._paths, self._facts, self._telemetry, self._clock = paths, facts, telemetry, clock
        self._heartbeat = Heartbeat(paths, "arena", clock)
        self._pending: list[tuple[Any, ...]] = []
        self._losses: dict[tuple[Any, ...], deque[float]] = {}
        self._speed: deque[tuple[float, int, int]] = deque(maxlen=64)
        self._published = -1e9
        self._spoke = {"battle.best_loss": -1e9, "battle.loss_spike": -1e9}
        self._best_told = math.inf
        self._trace: IO[str] | None = open_append_trace()
        self.status: dict[str, Any] = {"state": "starting", "state_reason": None}
        self.smoothed: float | None = None
        self.best: float | None = None

    def restore(self, smoothed: float | None, step: int) -> None:
        """Continue after a restart: the smoothed loss goes on, telemetry of steps that will be repeated is forgotten."""
        self.smoothed = smoothed
        self._telemetry.execute("DELETE FROM steps WHERE step > ?", (step,))
        self._telemetry.execute("DELETE FROM validation WHERE step > ?", (step,))

    def begin_quest(self, quest: Quest, steps: int, done: int) -> None:
        self.best, self._best_told = None, math.inf
        self._speed.clear()
        self.status.update(
            quest=quest.name, quest_id=quest.id, kind=quest.kind, skill=quest.skill, quest_level=quest.level,
            rows_in_quest=quest.rows, steps_in_quest=steps, steps_done_in_quest=done, best_loss=None, eta_s=None,
        )  # fmt: skip

    def end_quest(self) -> None:
        for name in ("quest", "quest_id", "kind", "skill", "quest_level", "rows_in_quest", "steps_in_quest",
                     "steps_done_in_quest", "best_loss", "eta_s", "tokens_per_s", "steps_per_s", "rows_per_s"):  # fmt: skip
            self.status[name] = None

    def note_step(self, quest: Quest, result: Any, rows: Sequence[int], done: int, steps: int) -> None:
        """Take in one finished optimiser step; `rows` are line numbers of the quest, `done` of `steps` are finished."""
        self._write_trace(result.step, quest, rows)
        loss = result.loss
        self.smoothed = loss if self.smoothed is None else SMOOTHING * self.smoothed + (1 - SMOOTHING) * loss
        self._pending.append(
            (result.step, stamp(self._clock.now()), loss, result.lr, result.grad_norm, result.trained_tokens,
             result.total_tokens, result.seconds, quest.id)
        )  # fmt: skip
        self._speed.append((self._clock.monotonic(), result.total_tokens, len(rows)))
        self._watch_loss(quest, result.step, loss)
        self.status.update(
            state="training", state_reason=None, step=result.step, loss=self.smoothed, raw_loss=loss,
            best_loss=self.best, lr=result.lr, grad_norm=result.grad_norm, steps_done_in_quest=done, **self._rates(steps - done),
        )  # fmt: skip
        self.publish()

    def _rates(self, left: int) -> dict[str, float | None]:
        if len(self._speed) < 2:
            return {"tokens_per_s": None, "steps_per_s": None, "rows_per_s": None, "eta_s": None}
        span = self._speed[-1][0] - self._speed[0][0]
        if span <= 0:
            return {"tokens_per_s": None, "steps_per_s": None, "rows_per_s": None, "eta_s": None}
        steps = (len(self._speed) - 1) / span
        # The first entry only marks the beginning of the span.
        tokens = sum(entry[1] for entry in list(self._speed)[1:]) / span
        rows = sum(entry[2] for entry in list(self._speed)[1:]) / span
        return {"tokens_per_s": tokens, "steps_per_s": steps, "rows_per_s": rows, "eta_s": left / steps}

    def _watch_loss(self, quest: Quest, step: int, loss: float) -> None:
        assert self.smoothed is not None
        # Rows of another level have another loss: a quest is compared with its like.
        recent = self._losses.setdefault((quest.kind, quest.skill, quest.level), deque(maxlen=SPIKE_WINDOW))
        if len(recent) == SPIKE_WINDOW:
            mean = sum(recent) / SPIKE_WINDOW
            sigma = math.sqrt(sum((x - mean) ** 2 for x in recent) / SPIKE_WINDOW)
            if sigma > 0 and loss > mean + SPIKE_SIGMAS * sigma:
                self._speak("battle.loss_spike", quest, step, {"loss": loss, "mean": mean, "sigma": sigma})
        recent.append(loss)
        if self.best is None or self.smoothed < self.best:
            self.best = self.smoothed
            # Told only when it is visibly better than the last time it was told.
            if self.best < 0.98 * self._best_told and len(recent) > 20 and \
                    self._speak("battle.best_loss", quest, step, {"loss": self.best}):  # fmt: skip
                self._best_told = self.best

    def _speak(self, kind: str, quest: Quest, step: int, data: dict[str, Any]) -> bool:
        now = self._clock.monotonic()
        if now - self._spoke[kind] < EVENT_PAUSE_S:
            return False
        self._spoke[kind] = now
        self.event(kind, subject=quest.id, step=step, data={"name": quest.name, **data})
        return True

    def event(self, kind: str, *, subject: str = "", step: int | None = None, data: dict[str, Any] | None = None) -> None:
        """Append one event of the battle in its own transaction."""
        with transaction(self._facts):
            events.append(self._facts, kind, subject=subject, step=step, data=data, clock=self._clock)

    def note_validation(self, step: int, loss: float, tokens: int, name: str) -> None:
        self.status.update(val_loss=loss, val_loss_step=step, val_set=name)
        self._telemetry.execute(
            "INSERT OR REPLACE INTO validation VALUES (?,?,?,?)", (step, stamp(self._clock.now()), loss, tokens)
        )

    def state(self, state: str, reason: str | None = None, *, force: bool = True) -> None:
        """Say that the arena is in another state, and why."""
        self.status.update(state=state, state_reason=reason)
        self.publish(force=force)

    def flush(self) -> None:
        """Write the steps that are not in the loss curve yet."""
        if self._pending:
            with transaction(self._telemetry):
                self._telemetry.executemany("INSERT OR REPLACE INTO steps VALUES (?,?,?,?,?,?,?,?,?)", self._pending)
            self._pending.clear()

    def publish(self, *, force: bool = False) -> None:
        """Write status, telemetry and heartbeat; at most once a second unless forced."""
        now = self._clock.monotonic()
        if not force and now - self._published < PUBLISH_S:
            return
        self._published = now
        self.flush()
        status = {
            **self.status, "at": stamp(self._clock.now()), "monotonic": now, "pid": os.getpid(),
            "instance": os.environ.get("REALM_INSTANCE", ""),
        }  # fmt: skip
        write_json_fast(self._paths.status / "training_status.json", status)
        self._heartbeat.beat(str(self.status.get("step")), force=True)

    def _write_trace(self, step: int, quest: Quest, rows: Sequence[int]) -> None:
        if self._trace is None:
            return
        line = {"step": step, "examples": [f"{quest.sha256[:12]}:{row}" for row in rows]}
        self._trace.write(json.dumps(line) + "\n")
        self._trace.flush()


def open_append_trace() -> IO[str] | None:
    """Open the file named by REALM_TRACE_EXAMPLES, None when it is not set."""
    name = os.environ.get("REALM_TRACE_EXAMPLES")
    return open_append(Path(name)) if name else None
