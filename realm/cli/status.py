"""`realm status`: the hero, the battle, skills, board, checkpoints and services, for a person or as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

Block = Mapping[str, Any]


@click.command(help="Show the hero, the battle, skills, board, checkpoints and services.")
@click.option("--json", "as_json", is_flag=True, help="the first blocks of the Tavern's snapshot, as JSON")
def command(as_json: bool) -> None:
    """Print one look at the home; nothing is started or changed."""
    from realm.core.paths import open_home
    from realm.gate import Realm
    from realm.watchtower.json_text import to_json
    from realm.watchtower.snapshot import status_of

    status = status_of(Realm(open_home()).watchtower.snapshot())
    if as_json:
        click.echo(to_json(status))
    else:
        click.echo("\n".join(table(status)))


def table(status: Block) -> Iterator[str]:
    """Yield the lines of the readable form; a missing value is shown as its reason."""
    hero, battle = status["hero"], status["battle"]
    yield f"Hero      {shown(hero, 'name')}, {shown(hero, 'model')}"
    yield f"          level {shown(hero, 'level')}, step {shown(hero, 'step')}, gold {shown(hero, 'gold')}"
    yield f"          ATK {shown(hero, 'atk')} (1 / train loss {shown(hero, 'loss')})"
    yield f"          DEF {shown(hero, 'def')} (1 / validation loss {shown(hero, 'val_loss')})"
    yield f"          ACC {accuracy(hero)}"
    yield f"Battle    {battle['state']}: {battle['state_reason']}"
    if battle["quest"] is not None:
        yield f"          {plain(battle['quest'])}: {shown(battle, 'steps_done_in_quest')} of "\
              f"{shown(battle, 'steps_in_quest')} steps, {shown(battle, 'steps_per_s')} steps/s"  # fmt: skip
    yield from _skills(status["skills"])
    queue = status["queue"]
    yield "Board     " + ", ".join(f"{queue[name]} {name}" for name in queue)
    kept = status["checkpoints"]
    yield f"Vault     {kept['count']} checkpoints, latest {shown(kept, 'latest')}, champion {shown(kept, 'champion')}"
    yield from _services(status["services"])


def _skills(skills: Mapping[str, Block]) -> Iterator[str]:
    for number, (name, skill) in enumerate(skills.items()):
        head = "Skills    " if number == 0 else "          "
        gate = f"{skill['passes']} of {skill['passes_needed']} passes"
        level = f"mastered {skill['mastered']} of {skill['max_level']}, training {skill['training']}"
        yield f"{head}{name}: {level}, {gate}, {skill_accuracy(skill)}"


def _services(services: Mapping[str, Block]) -> Iterator[str]:
    if not services:
        yield "Services  none has been started on this base directory"
    for number, (name, row) in enumerate(services.items()):
        head = "Services  " if number == 0 else "          "
        port = f" on {row['port']}" if row["port"] is not None else ""
        reason = f": {row['reason']}" if row["reason"] else ""
        yield f"{head}{name}{port} {row['state']} since {row['since']}, {row['restarts']} restarts{plain(reason)}"


def shown(block: Block, field: str) -> str:
    """Return a value for reading, or `-` with its reason."""
    value = block[field]
    if value is None:
        return f"- ({plain(str(block.get(f'{field}_reason') or 'unknown'))})"
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else plain(str(value))


def accuracy(hero: Block) -> str:
    """Return the accuracy with its counts, or why there is none."""
    if hero["acc"] is None:
        return shown(hero, "acc")
    of = f"{hero['acc_correct']} of {hero['acc_n']}"
    return f"{hero['acc']:.0%} ({of}, {hero['acc_skill']} level {hero['acc_level']})"


def skill_accuracy(skill: Block) -> str:
    if skill["acc"] is None:
        return str(skill["acc_reason"])
    return f"{skill['correct']} of {skill['n']} right in the newest eval"


def plain(text: str) -> str:
    """Return text whose control characters are visible, so that a quest's name cannot move the terminal's cursor."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
