"""`realm arena`: run the battle, train once, give orders, evaluate."""

from __future__ import annotations

import json
import os
import time

import click

from realm.cli.arena_looks import LOOKS
from realm.core.paths import open_home


@click.group(help="Train, pause, resume, skip, stop.")
def command() -> None: ...


@command.command()
def run() -> None:
    """Fight for ever; the service that the weaver starts."""
    _fight(until_idle=False, max_steps=None)


@command.command()
@click.option("--once", is_flag=True, help="work through the board (inbox included) and end")
@click.option("--max-steps", type=click.IntRange(min=1), help="end after this many more steps")
def train(once: bool, max_steps: int | None) -> None:
    """Train without other services; exit code 0 when the board is worked through."""
    _fight(until_idle=once, max_steps=max_steps)


def _fight(*, until_idle: bool, max_steps: int | None) -> None:
    from realm.core.daemon import StopFlag, single_instance
    from realm.core.logs import setup

    paths = open_home()
    setup(paths, "arena")
    stop = StopFlag().install()
    # cuBLAS is deterministic only with a fixed workspace (docs.nvidia.com/cuda/cublas, Results Reproducibility).
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with single_instance(paths, "arena"):
        # torch comes in only now, so that a second start is refused at once
        from realm.arena.battle import enter, fight, leave
        from realm.gate import Realm

        if until_idle:
            _empty_inbox()
        arena = enter(paths, Realm(paths).enqueue_evals)
        try:
            fight(arena, stop, until_idle=until_idle, max_steps=max_steps)
        finally:
            leave(arena)


def _empty_inbox() -> None:
    """Take in every file of the inbox; one that is still being written gets a few seconds."""
    from contextlib import closing

    from realm.arena import intake
    from realm.core.store import open_facts

    paths = open_home()
    with closing(open_facts(paths)) as facts:
        deadline = time.monotonic() + 3 * intake.SETTLE_S
        while intake.waiting(paths) and time.monotonic() < deadline:
            intake.sweep(paths, facts)
            time.sleep(0.1)
        for name in intake.waiting(paths):
            click.echo(f"left in the inbox, still being written: {name}", err=True)


@command.command()
def evals() -> None:
    """Evaluate checkpoints as they are saved; the service that the weaver starts."""
    from realm.arena.evaluator import main

    main(open_home())


def _order(action: str) -> click.Command:
    from realm.arena.control import ACTIONS, give

    @click.command(action.replace("_", "-"), help=ACTIONS[action][0].upper() + ACTIONS[action][1:] + ".")
    def order() -> None:
        give(open_home(), action)
        click.echo(f"{action}: obeyed at the next step boundary")

    return order


for _look in LOOKS:
    command.add_command(_look)

for _action in ("pause", "resume", "skip", "stop", "stop_after_quest"):
    command.add_command(_order(_action))


@command.command()
def status() -> None:
    """Show what the arena last said of itself, as JSON."""
    path = open_home().status / "training_status.json"
    click.echo(path.read_text() if path.is_file() else json.dumps({"state": None, "state_reason": "never run here"}))
