"""`realm arena`: run the battle, train once, give orders, evaluate."""

from __future__ import annotations

import json
from typing import Any

import click

from realm.cli.arena_looks import LOOKS
from realm.cli.arena_school import champion
from realm.core.paths import open_home


@click.group(help="Train, pause, resume, skip, stop.")
def command() -> None: ...


@command.command()
def run() -> None:
    """Fight for ever; the service that the weaver starts."""
    from realm.cli.arena_fight import fight

    fight(until_idle=False)


@command.command()
@click.option("--once", is_flag=True, help="work through the board (inbox included) and end")
@click.option("--max-steps", type=click.IntRange(min=1), help="end after this many more steps")
@click.option("--ray", type=click.IntRange(min=2), help="divide every step among this many processes, started by Ray Train")
def train(once: bool, max_steps: int | None, ray: int | None) -> None:
    """Train without other services; exit code 0 when the board is worked through."""
    from realm.cli.arena_fight import fight

    fight(until_idle=once, max_steps=max_steps, ray=ray)


@command.command()
def evals() -> None:
    """Evaluate checkpoints as they are saved; the service that the weaver starts."""
    from realm.arena.evals.evaluator import main

    main(open_home())


def _order(action: str) -> click.Command:
    from realm.arena.control import ACTIONS, give

    @click.command(action.replace("_", "-"), help=ACTIONS[action][0].upper() + ACTIONS[action][1:] + ".")
    def order() -> None:
        give(open_home(), action)
        click.echo(f"{action}: obeyed at the next step boundary")

    return order


for _look in (*LOOKS, champion):
    command.add_command(_look)

for _action in ("pause", "resume", "skip", "stop", "stop_after_quest", "restart"):
    command.add_command(_order(_action))


@command.command()
def status() -> None:
    """Show what the arena last said of itself, as JSON."""
    path = open_home().status / "training_status.json"
    click.echo(path.read_text() if path.is_file() else json.dumps({"state": None, "state_reason": "never run here"}))


@command.command()
@click.option("--rows", type=int, help="rows of a micro-batch")
@click.option("--length", type=int, help="tokens of a row")
@click.option("--precision", help="fp32, bf16 or fp16")
@click.option("--adapter", help="none, lora or qlora")
@click.option("--device", help="cpu or cuda")
@click.option("--checkpointing/--no-checkpointing", default=None, help="recompute activations in the backward pass")
@click.option("--json", "as_json", is_flag=True)
def estimate(as_json: bool, **asked: Any) -> None:
    """Estimate memory and time of a step, as configured or with some of it changed."""
    from pydantic import ValidationError

    from realm.armory.estimate_view import Ask, view
    from realm.core.errors import BadInput
    from realm.core.field_errors import field_errors

    try:
        ask = Ask.model_validate(asked)
    except ValidationError as error:
        said = "; ".join(f"--{name}: {message}" for name, message in field_errors(error).items())
        raise BadInput(said, hint="realm arena estimate --help") from error
    found = view(open_home(), ask)
    click.echo(json.dumps(found, indent=1, ensure_ascii=False) if as_json else _estimate_text(found))


def _estimate_text(found: dict[str, Any]) -> str:
    lines = [found["model"], *(f"{row['bytes'] / 1e9:9.3f} GB  {row['meaning']}" for row in found["terms"] if row["bytes"])]
    lines.append(f"{found['total_bytes'] / 1e9:9.3f} GB  in all")
    run = found["measured"]
    if run["peak_bytes"]:
        lines.append(f"{run['peak_bytes'] / 1e9:9.3f} GB  measured in the last run; its largest micro-batch had {run['rows']} "
                     f"rows of {run['length']} tokens; the estimate for it is {run['error']:+.0%} off")  # fmt: skip
    else:
        lines.append(f"nothing measured: {run['peak_bytes_reason']}")
    seconds = found["step_seconds"]
    lines.append(f"{seconds:9.3f} s   a step at the speed of the last steps" if seconds else found["step_seconds_reason"])
    for gpu in found["gpus"]:
        fit = f"{gpu['left'] / 1e9:.1f} GB left" if gpu["fits"] else f"{-gpu['left'] / 1e9:.1f} GB too little"
        lines.append(f"  {gpu['name']}: {fit}, about {gpu['step_seconds']:.2g} s a step")
    return "\n".join(lines)
