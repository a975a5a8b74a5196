"""The task master: looks at the load, runs the most urgent task that may run, records it; one task at a time."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from realm.core.clock import SYSTEM, Clock, stamp
from realm.core.daemon import lock_holder, single_instance
from realm.core.durable import write_json_fast
from realm.core.errors import Conflict, RealmError
from realm.core.logs import get_logger
from realm.core.paths import Paths
from realm.guild.tasks import runs
from realm.guild.tasks.choice import LastRun, Standing, choose, stand_all
from realm.guild.tasks.load import Load, Probe
from realm.guild.tasks.registry import TASKS, Task, get_task

log = get_logger("taskmaster")
LOCK = "task"
INTERVAL_S = 60.0


@dataclass(frozen=True)
class Work:
    """What a task does, given by the gate: `do` returns a sentence, `needs` what it misses right now (empty: nothing)."""

    do: Callable[[], str]
    needs: Callable[[], str] = lambda: ""


class TaskMaster:
    """Runs tasks on one base directory; works, probe and clock are given."""

    def __init__(
        self, paths: Paths, connection: sqlite3.Connection, works: Mapping[str, Work], probe: Probe,
        *, clock: Clock = SYSTEM, interval_s: float = INTERVAL_S, rest_first: bool = False,
    ) -> None:  # fmt: skip
        self._paths, self.connection, self._works = paths, connection, works
        self._probe, self._clock, self._interval_s = probe, clock, interval_s
        self._asked: deque[str] = deque()
        # A realm that starts has better things to do: the first look is an interval later.
        self._rests_until = clock.monotonic() + interval_s if rest_first else -1e9
        self._guard = threading.Lock()

    def ask(self, name: str) -> None:
        """Have a task run as soon as no other does; raises Unknown, and Conflict for one that cannot run at all."""
        get_task(name)
        if name not in self._works:
            raise Conflict(f"task {name} cannot run: nothing does it in this installation")
        if name not in self._asked:
            self._asked.append(name)

    def queue(self) -> list[str]:
        """Return the tasks that were asked for and have not begun, in their order."""
        return list(self._asked)

    def withdraw(self, name: str) -> None:
        """Take back a task that was asked for; raises Unknown, and Conflict for one that does not wait."""
        get_task(name)
        try:
            self._asked.remove(name)
        except ValueError as error:
            raise Conflict(f"task {name} does not wait", hint="a task that runs goes on to its end") from error

    def active(self) -> list[dict[str, Any]]:
        """Return the run that goes on now, whichever process does it; at most one."""
        if lock_holder(self._paths, LOCK) is None:
            return []
        with self._guard:
            return runs.running(self.connection)

    def standings(self, load: Load | None = None) -> list[Standing]:
        """Return where every task stands, the most urgent first."""
        with self._guard:
            last = runs.last_runs(self.connection)
        return stand_all(TASKS.values(), last, self._clock.now(), load or self._probe(), self._needs(last))

    def _needs(self, last: Mapping[str, LastRun]) -> dict[str, str]:
        return {name: work.needs() for name, work in self._works.items()} | {
            name: "nothing does it in this installation" for name in TASKS if name not in self._works
        }

    def tick(self) -> float:
        """Run what was asked, else the most urgent task that may run; returns the seconds to wait.

        After a task it looks again at once, so that one with a short cooldown does not keep the others from their turn;
        when none may run it rests for the interval.
        """
        if self._asked:
            self.run(self._asked.popleft(), "player")
            return 0.0
        now = self._clock.monotonic()
        if now < self._rests_until:
            return min(1.0, self._rests_until - now)
        load = self._probe()
        found = self.standings(load)
        task = choose(found)
        self._show("running" if task else "waiting", load, found, task)
        if task is not None:
            self.run(task.id, "task master")
            self._show("waiting", load, self.standings(load), None)
            return 0.0
        self._rests_until = self._clock.monotonic() + self._interval_s
        return 1.0

    def run(self, name: str, asked_by: str) -> str:
        """Run a task now, whatever its cooldown, and return how it ended (`done` or `failed`) after recording it.

        Raises Unknown, Conflict when it cannot run at all or another task runs on this base directory.
        """
        task = get_task(name)
        if name not in self._works:
            raise Conflict(f"task {name} cannot run: nothing does it in this installation")
        with single_instance(self._paths, LOCK):
            with self._guard:
                runs.end_left(self.connection, self._clock)
                run = runs.begin(self.connection, name, asked_by, self._clock)
            started = self._clock.monotonic()
            state, summary = self._do(task)
            with self._guard:
                runs.end(self.connection, run, state, self._clock.monotonic() - started, summary, self._clock)
        return state

    def _do(self, task: Task) -> tuple[str, str]:
        try:
            return "done", self._works[task.id].do()
        except RealmError as error:
            log.warning("task %s failed: %s", task.id, error)
            return "failed", str(error)
        except Exception as error:
            log.exception("task %s failed", task.id)
            return "failed", f"{type(error).__name__}: {error}"

    def _show(self, state: str, load: Load, found: list[Standing], task: Task | None) -> None:
        now = stamp(self._clock.now())
        write_json_fast(self._paths.status / "task_master.json", {
            "state": state, "at": now, "task": task.id if task else None, "device": load.device, "percent": load.percent,
            "interval_s": self._interval_s, "asked": list(self._asked),
        })  # fmt: skip
        write_json_fast(self._paths.status / "task_state.json", {"at": now, "tasks": [view(one) for one in found]})


def view(one: Standing) -> dict[str, Any]:
    """Return a task with its standing for display."""
    task, last = one.task, one.last
    return {
        "id": task.id, "title": task.title, "device": task.device, "priority": task.priority, "cooldown_s": task.cooldown_s,
        "by_itself": task.by_itself, "ready": not one.why_not, "why_not": one.why_not or None,
        "ready_in_s": round(one.ready_in_s, 1), "last_state": last.state if last else None,
        "last_at": stamp(last.started_at) if last else None, "last_summary": last.summary if last else None,
    }  # fmt: skip
