"""`realm vault chronicle`: named versions of the hero."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict

import click

from realm.core.paths import open_home


@click.group("chronicle", help="Named versions of the hero: write, list, show, compare, go back.")
def command() -> None: ...


@command.command()
@click.argument("name")
@click.argument("checkpoint")
@click.option("--why", default="by the player", show_default=True)
@click.option("--notes", default="")
def write(name: str, checkpoint: str, why: str, notes: str) -> None:
    """Give CHECKPOINT (name or step) the name NAME; retention never drops it from then on."""
    from realm.core.store import open_facts
    from realm.vault.keeping import chronicle

    with closing(open_facts(open_home())) as facts:
        made = chronicle.write(facts, name, checkpoint, why=why, notes=notes)
    click.echo(f"{made.name} is {made.checkpoint}")


@command.command("list")
@click.option("--json", "as_json", is_flag=True)
def list_(as_json: bool) -> None:
    """List the versions, the highest step first."""
    from realm.core.store import read_facts
    from realm.vault.keeping import chronicle

    with closing(read_facts(open_home())) as facts:
        found = chronicle.list_versions(facts)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found]))
        return
    for one in found:
        click.echo(f"{one.name:24} {one.checkpoint:36} {one.why}")


@command.command()
@click.argument("name")
def show(name: str) -> None:
    """Show a version as JSON."""
    from realm.core.store import read_facts
    from realm.vault.keeping import chronicle

    paths = open_home()
    with closing(read_facts(paths)) as facts:
        found = chronicle.get(facts, name)
    click.echo(json.dumps({**asdict(found), "place": chronicle.present(paths, found)}, ensure_ascii=False, indent=1))


@command.command()
@click.argument("one")
@click.argument("other")
def diff(one: str, other: str) -> None:
    """Compare two versions as JSON: evals, steps, quests that only one of them contains."""
    from realm.core.store import read_facts
    from realm.vault.keeping import chronicle

    paths = open_home()
    with closing(read_facts(paths)) as facts:
        click.echo(json.dumps(chronicle.diff(paths, facts, one, other), ensure_ascii=False, indent=1))


@command.command()
@click.argument("name")
def strike(name: str) -> None:
    """Take a name out of the chronicle; its checkpoint is left to retention."""
    from realm.core.store import open_facts
    from realm.vault.keeping import chronicle

    with closing(open_facts(open_home())) as facts:
        click.echo(f"{chronicle.strike(facts, name).checkpoint} has no name {name} any more")


@command.command()
@click.argument("name")
@click.option("--confirm", metavar="STEP", help="the version's step; asked for when not given")
def restore(name: str, confirm: str | None) -> None:
    """Let the hero go on from a version while no arena runs: later checkpoints go into the trash, after a backup."""
    from realm.gate.keeping import go_back

    typed = confirm if confirm is not None else click.prompt(f"the step of {name}, to go back to it")
    gone = go_back(open_home(), name, typed)
    click.echo(f"the hero goes on from {name}; {len(gone)} later checkpoints are in the trash for a week")
