"""`realm tasks`: what is done beside the training, when it may run, and the task master that runs it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from realm.core.paths import Paths, open_home

if TYPE_CHECKING:
    from realm.guild.tasks.load import Load
    from realm.guild.tasks.master import TaskMaster


NICE = 10


@click.group(help="Tasks beside the training: list them, run one, run the task master.")
def command() -> None: ...


@contextmanager
def _master(
    paths: Paths, gpu: str | None = None, interval: float = 60.0, *, rest_first: bool = False
) -> Iterator[TaskMaster]:
    from contextlib import closing

    from realm.core.store import open_facts
    from realm.gate import Realm
    from realm.gate.tasks import works
    from realm.guild.tasks.load import machine_load
    from realm.guild.tasks.master import TaskMaster

    with closing(open_facts(paths)) as facts:
        yield TaskMaster(paths, facts, works(Realm(paths)), lambda: machine_load(gpu), interval_s=interval, rest_first=rest_first)


def _tell(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    for row in rows:
        ready = "ready" if row["ready"] else row["why_not"]
        own = "" if row["by_itself"] else " (only when asked)"
        click.echo(f"{row['id']:22} {row['device']}  {row['priority']:>2}  {row['cooldown_s']:>5} s  {ready}{own}")


def _rows(gpu: str | None, load: Load | None = None) -> list[dict[str, Any]]:
    from realm.guild.tasks.master import view

    with _master(open_home(), gpu) as master:
        return [view(one) for one in master.standings(load)]


@command.command("list")
@click.option("--json", "as_json", is_flag=True)
def list_(as_json: bool) -> None:
    """List the tasks: device, priority, cooldown, and what each waits for."""
    _tell(_rows(None), as_json)


@command.command()
@click.option("--gpu", help="part of a GPU's name, e.g. 3090; where there is none, the processor's load decides")
@click.option("--json", "as_json", is_flag=True)
def available(gpu: str | None, as_json: bool) -> None:
    """List the tasks that may run now, the most urgent first."""
    from realm.guild.tasks.load import machine_load

    load = machine_load(gpu)
    found = [row for row in _rows(gpu, load) if row["ready"]]
    _tell(found, as_json)
    if not as_json:
        click.echo(f"{len(found)} tasks may run; {load.device} is {load.percent:.0f} % in use")


@command.command()
@click.option("--json", "as_json", is_flag=True)
@click.option("--limit", type=click.IntRange(1, 500), default=20)
def status(as_json: bool, limit: int) -> None:
    """Show the task master's state and the newest runs."""
    _status(open_home(), as_json, limit)


def _status(paths: Paths, as_json: bool, limit: int = 20) -> None:
    from contextlib import closing

    from realm.core.daemon import lock_holder
    from realm.core.durable import read_projection
    from realm.core.store import read_facts
    from realm.guild.tasks.runs import recent

    holder = lock_holder(paths, "taskmaster")
    with closing(read_facts(paths)) as facts:
        found = recent(facts, limit)
    if as_json:
        master = read_projection(paths.status / "task_master.json")
        click.echo(json.dumps({"process": holder, "master": master, "runs": found}, ensure_ascii=False, indent=1))
        return
    click.echo(f"task master: {f'process {holder}' if holder else 'does not run'}")
    for row in found:
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.1f} s"
        click.echo(f"{row['started_at']}  {row['task']:22} {row['state']:11} {seconds:>9}  {row['summary']}")


@command.command()
@click.argument("name", required=False)
@click.option("--task", help="the same as the argument")
def run(name: str | None, task: str | None) -> int:
    """Run one task now, whatever its cooldown; exit code 1 when it fails."""
    asked = task or name
    if asked is None or (task and name and task != name):
        raise click.UsageError("name one task")
    return _run(open_home(), asked)


def _run(paths: Paths, asked: str) -> int:
    from realm.guild.tasks.runs import recent

    with _master(paths) as master:
        state = master.run(asked, "player")
        row = recent(master.connection, 1)[0]
    click.echo(f"{asked}: {state}: {row['summary']}")
    return 0 if state == "done" else 1


@command.command("master")
@click.option("--status", "show", is_flag=True, help="show its state and the newest runs")
@click.option("--once", is_flag=True, help="run the most urgent task that may run, and end")
@click.option("--daemon", is_flag=True, help="go on until stopped, with the API on port 8766")
@click.option("--run", "task", help="run this task now")
@click.option("--interval", type=click.FloatRange(min=1), default=60.0, show_default=True, help="seconds between two looks")
@click.option("--gpu", help="part of the name of the GPU that is looked at")
@click.option("--port", type=click.IntRange(1, 65535), help="default: 8766, moved by --port-base")
def master_(show: bool, once: bool, daemon: bool, task: str | None, interval: float, gpu: str | None, port: int | None) -> int:
    """The task master: one task at a time, GPU tasks only while the GPU is less than 40 % in use."""
    if show + once + daemon + (task is not None) != 1:
        raise click.UsageError("give one of --status, --once, --daemon, --run")
    paths = open_home()
    if show:
        _status(paths, as_json=False)
        return 0
    if task is not None:
        return _run(paths, task)
    if once:
        return _once(paths, gpu)
    _serve(paths, gpu, interval, port)
    return 0


def _once(paths: Paths, gpu: str | None) -> int:
    from realm.guild.tasks.runs import recent

    with _master(paths, gpu) as master:
        before = recent(master.connection, 1)
        master.tick()
        after = recent(master.connection, 1)
    if after == before:
        click.echo("no task may run now")
        return 0
    click.echo(f"{after[0]['task']}: {after[0]['state']}: {after[0]['summary']}")
    return 0 if after[0]["state"] == "done" else 1


def _serve(paths: Paths, gpu: str | None, interval: float, port: int | None, *, rest_first: bool = False) -> None:
    from realm.core.daemon import Heartbeat, StopFlag, run_loop, single_instance
    from realm.core.hosts import port_of
    from realm.core.logs import setup
    from realm.core.web import make_app, serve_in_thread
    from realm.guild.tasks.routes import task_router

    setup(paths, "taskmaster")
    os.nice(NICE)  # beside the training, not against it
    with single_instance(paths, "taskmaster"), _master(paths, gpu, interval, rest_first=rest_first) as master:
        app = make_app("taskmaster", [task_router(paths, master)], port=port or port_of("taskmaster"))
        stop = StopFlag().install()
        server, thread = serve_in_thread(app)
        run_loop(master.tick, stop, Heartbeat(paths, "taskmaster"), name="taskmaster")
        server.should_exit = True
        thread.join(5.0)


@command.command("serve")
def serve_() -> None:
    """Run the task master until stopped, as the weaver does; it first looks after an interval of a minute."""
    _serve(open_home(), None, 60.0, None, rest_first=True)
