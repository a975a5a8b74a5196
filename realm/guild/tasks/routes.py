"""The task master's API: tasks, runs, and the order to run one."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Any

from fastapi import APIRouter, Query

from realm.core.paths import Paths
from realm.core.store import read_facts
from realm.core.web import NothingBody
from realm.guild.tasks import runs
from realm.guild.tasks.choice import BUSY_PERCENT
from realm.guild.tasks.load import device_stats
from realm.guild.tasks.master import TaskMaster, view


def task_router(paths: Paths, master: TaskMaster) -> APIRouter:
    """Return the routes below `/api/tasks`."""
    router = APIRouter(prefix="/api/tasks", tags=["tasks"])

    @router.get("")
    def tasks() -> dict[str, Any]:
        """List the tasks, the most urgent first, with what each waits for and how its last run ended."""
        return {"tasks": [view(one) for one in master.standings()]}

    @router.get("/runs")
    def task_runs(limit: Annotated[int, Query(ge=1, le=500)] = 50) -> dict[str, Any]:
        """List the newest runs."""
        with closing(read_facts(paths)) as facts:
            return {"runs": runs.recent(facts, limit)}

    @router.get("/queue")
    def queue() -> dict[str, Any]:
        """List the tasks that were asked for and wait."""
        return {"queue": master.queue()}

    @router.get("/active")
    def active() -> dict[str, Any]:
        """Show the run that goes on now, if any."""
        return {"active": master.active()}

    @router.get("/devices")
    def devices() -> dict[str, Any]:
        """Show use and memory of the processor and of every GPU."""
        return {"devices": device_stats(), "busy_percent": BUSY_PERCENT}

    @router.post("/{task}/delete")
    def withdraw(task: str, _: NothingBody) -> dict[str, Any]:
        """Take back a task that was asked for and waits."""
        master.withdraw(task)
        return {"task": task, "queue": master.queue()}

    @router.post("/{task}/run", status_code=202)
    def run_task(task: str, _: NothingBody) -> dict[str, Any]:
        """Have a task run as soon as no other does, whatever its cooldown."""
        master.ask(task)
        return {"task": task, "asked": True}

    return router
