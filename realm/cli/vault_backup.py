"""`realm vault backup`: backups of store, settings, hero and champion."""

from __future__ import annotations

import json

import click

from realm.core.paths import open_home


@click.group("backup", help="Backups of store, settings, hero and champion; each is proved by a restore.")
def command() -> None: ...


@command.command()
@click.option("--why", default="by the player", show_default=True, help="a few words, kept with it")
@click.option("--json", "as_json", is_flag=True)
def create(why: str, as_json: bool) -> None:
    """Make a backup and prove it by restoring it into a scratch folder."""
    from realm.gate.keeping import back_up
    from realm.vault.keeping.keeping_routes import shown

    made = back_up(open_home(), why)
    click.echo(json.dumps(shown(made)) if as_json else f"{made.name}: {made.size:,} bytes, proved; holds {', '.join(made.holds)}")


@command.command("list")
@click.option("--json", "as_json", is_flag=True)
def list_(as_json: bool) -> None:
    """List backups, the newest first."""
    from realm.vault.keeping.keeping_routes import list_shown

    rows = list_shown(open_home())
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        click.echo(row.get("damage") or f"{row['name']:28} {row['size']:>15,} bytes  {row['why']}")
    if not rows:
        click.echo("no backup yet: realm vault backup create")


@command.command()
@click.argument("name")
def verify(name: str) -> None:
    """Read every byte of a backup and restore it into a scratch folder."""
    from realm.vault.keeping import archivist

    click.echo(f"{name}: {archivist.prove(archivist.find(open_home(), name)):,} bytes are as they were, the restore opens")


@command.command()
@click.argument("name")
@click.option("--part", "parts", multiple=True, help="store, settings, hero or champion; all of them when not given")
@click.option("--yes", is_flag=True, help="do not ask")
def restore(name: str, parts: tuple[str, ...], yes: bool) -> None:
    """Put a backup back while nothing runs; the present state is backed up first."""
    from realm.gate.keeping import put_back
    from realm.vault.keeping.archivist import PARTS

    if not yes:
        click.confirm(f"replace {', '.join(parts or PARTS)} by what {name} holds?", abort=True)
    for part, what in put_back(open_home(), name, parts or PARTS).items():
        click.echo(f"{part}: {what}")
