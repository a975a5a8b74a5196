"""`realm vault plan`, `cleanup`, `snapshot`, `consolidate`, `export`: what stays, what goes, what is kept beside."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import click

from realm.core.paths import open_home


def _say(found: dict[str, object], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found))
        return
    dropped = found["dropped"]
    assert isinstance(dropped, list)
    for drop in dropped:
        click.echo(f"{drop['name']:36} {drop['size']:>15,} bytes  {drop['reason']}")
    verb = "went and freed" if found["applied"] else "would go and free"
    click.echo(f"{found['kept']} stay, {len(dropped)} {verb} {found['frees']:,} bytes")
    if found["over"]:
        click.echo(f"the protected ones alone are {found['over']:,} bytes over the cap")


@click.command()
@click.option("--json", "as_json", is_flag=True)
def plan(as_json: bool) -> None:
    """Show what retention would drop now and what that frees; changes nothing."""
    from realm.gate.keeping import clean_up

    _say(clean_up(open_home(), dry_run=True), as_json)


@click.command()
@click.option("--dry-run", is_flag=True, help="show only")
@click.option("--json", "as_json", is_flag=True)
def cleanup(dry_run: bool, as_json: bool) -> None:
    """Drop the checkpoints that no retention rule keeps, while no arena runs."""
    from realm.gate.keeping import clean_up

    _say(clean_up(open_home(), dry_run=dry_run), as_json)


@click.command()
def snapshot() -> None:
    """Keep the newest checkpoint as the snapshot of the day below snapshots/."""
    from realm.core.errors import Unknown
    from realm.vault.keeping import snapshots

    kept = snapshots.keep_daily(open_home())
    if kept is None:
        raise Unknown("no checkpoint was saved yet", hint="realm arena train --once")
    click.echo(f"snapshots/{kept.name}")


@click.command()
@click.argument("checkpoint")
@click.argument("name")
def consolidate(checkpoint: str, name: str) -> None:
    """Write CHECKPOINT (name or step) as the plain Hugging Face folder models/NAME and prove it by its answers."""
    from realm.core.ids import check_id
    from realm.gate.leaving import leave

    paths = open_home()
    click.echo(leave(paths, checkpoint, "hf", paths.models / check_id(name)).text)


@click.command()
@click.argument("checkpoint")
@click.option("--format", "form", type=click.Choice(["hf", "gguf", "ollama"]), default="hf", show_default=True)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="a folder that does not exist yet")
@click.option("--json", "as_json", is_flag=True)
def export(checkpoint: str, form: Literal["hf", "gguf", "ollama"], out: Path, as_json: bool) -> None:
    """Write CHECKPOINT (name or step) for another program, and prove that it answers there as here."""
    from realm.gate.leaving import leave

    left = leave(open_home(), checkpoint, form, out)
    click.echo(json.dumps(asdict(left)) if as_json else left.text)


COMMANDS = (plan, cleanup, snapshot, consolidate, export)
