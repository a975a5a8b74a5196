"""`realm hero`: create, list and show heroes."""

from __future__ import annotations

import json
import os

import click

from realm.core.paths import open_home


def _seed() -> int:
    from realm.armory.config import whole_number

    return whole_number("REALM_SEED", os.environ.get("REALM_SEED", "0"))


@click.group(help="Create, list and show heroes.")
def command() -> None: ...


@command.command()
@click.option("--preset", help="a preset of configs/heroes; default: dio with a GPU, tiny without")
@click.option("--base", type=click.Path(exists=True, file_okay=False), help="a local Hugging Face causal LM folder")
@click.option("--id", "hero_id", default="dio", show_default=True, help="folder under models/")
@click.option("--name", help="what the game calls the hero")
@click.option("--look", help="what the portrait is drawn from; default: the name")
@click.option("--skill", "skills", multiple=True, help="a skill he learns, several times for several; default: as scheduled")
@click.option("--default", "default", is_flag=True, help="make the first hero unless there is one")
def create(
    preset: str | None, base: str | None, hero_id: str, name: str | None, look: str | None, skills: tuple[str, ...],
    default: bool,
) -> None:  # fmt: skip
    """Make a hero; the first one becomes the active one."""
    from realm.core.logs import setup
    from realm.gate.founding import create_default, create_hero, default_preset

    paths = open_home()
    setup(paths, "hero")
    if default:
        hero, made = create_default(paths, _seed())
        click.echo(f"{'made' if made else 'there is'} {hero.name}: {hero.model}")
        return
    asked = base or preset or default_preset()
    hero = create_hero(paths, asked, hero_id, name=name, seed=_seed(), look=look, skills=skills)
    click.echo(f"made {hero.name}: {hero.model}, in models/{hero.id}")


@command.command("list")
def list_() -> None:
    """List the heroes of this base directory and the presets."""
    from realm.armory.config import read_raw
    from realm.armory.hero_presets import list_presets
    from realm.armory.heroes import list_heroes

    paths = open_home()
    active = read_raw(paths).get("hero") if paths.config.is_file() else None
    for hero in list_heroes(paths):
        click.echo(f"{'*' if hero.id == active else ' '} {hero.id:12} {hero.name}: {hero.model}")
    click.echo("presets:")
    for preset in list_presets(paths.home):
        click.echo(f"  {preset.id:12} {preset.title}")


@command.command()
@click.argument("hero_id", required=False)
def show(hero_id: str | None) -> None:
    """Show a hero's facts as JSON; the active one without an id."""
    from realm.armory.heroes import active_hero, list_heroes
    from realm.core.errors import unknown_name

    paths = open_home()
    known = {hero.id: hero for hero in list_heroes(paths)}
    if hero_id is not None and hero_id not in known:
        raise unknown_name("hero", hero_id, list(known))
    hero = known[hero_id] if hero_id else active_hero(paths)
    click.echo(json.dumps(hero.facts, ensure_ascii=False, indent=2))
