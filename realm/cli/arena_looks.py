"""Commands of `realm arena` that look at training without changing it."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from realm.core.paths import open_home


def say(found: Any, text: str, *, as_json: bool) -> None:
    click.echo(json.dumps(found, ensure_ascii=False, indent=1) if as_json else text)


@click.command()
@click.argument("what", metavar="FILE|QUEST_ID")
@click.option("--row", type=click.IntRange(min=0), default=0, show_default=True, help="counted from 0")
@click.option("--json", "as_json", is_flag=True)
def inspect(what: str, row: int, as_json: bool) -> None:
    """Show a row as the hero reads it: [trained] tokens, segments, both label methods."""
    from realm.arena.quests.quest import get_quest
    from realm.arena.quests.row_text import row_text
    from realm.arena.quests.row_view import file_tokens, inbox_file, quest_tokens
    from realm.core.ids import is_ulid
    from realm.core.store import read_facts

    paths = open_home()
    if is_ulid(what):
        with closing(read_facts(paths)) as facts:
            found = quest_tokens(paths, get_quest(facts, what), row)
    else:
        found = file_tokens(paths, Path(what) if Path(what).is_file() else inbox_file(paths, what), row)
    say(found, row_text(found), as_json=as_json)


@click.command()
@click.option("--step", type=click.IntRange(min=1), required=True)
@click.option("--json", "as_json", is_flag=True)
def rows(step: int, as_json: bool) -> None:
    """Name the rows that an optimiser step was made of, with its loss."""
    from realm.arena.timeline import rows_text, step_rows

    found = step_rows(open_home(), step)
    say(found, rows_text(found), as_json=as_json)


@click.command()
@click.argument("checkpoint")
@click.option("--steps", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def replay(checkpoint: str, steps: int, as_json: bool) -> int:
    """Train recorded steps after a checkpoint (0: the base hero) again, in memory, and compare losses and digests.

    Exit code 0 when all of them came out again, 6 when one did not, 1 when it ended early.
    """
    from realm.arena.replay import replay as repeat
    from realm.arena.replay import replay_text

    found = repeat(open_home(), checkpoint, steps)
    say(found.as_json(), replay_text(found), as_json=as_json)
    return 6 if found.differences else int(found.missing is not None)


@click.command()
@click.argument("checkpoint")
@click.option("--name", required=True, help="id of the new hero")
@click.option("--to", "target", type=click.Path(path_type=Path), help="the new base directory; default: beside this one")
def fork(checkpoint: str, name: str, target: Path | None) -> None:
    """Begin another hero's line at a checkpoint, in a base directory of its own."""
    from realm.gate.forking import fork as begin

    paths = open_home()
    made = begin(paths, checkpoint, name, target)
    click.echo(f"{name} goes on from {checkpoint} in {made.home}\n  realm --home {made.home} --port-base N up")


@click.command()
@click.option("--json", "as_json", is_flag=True)
def trial(as_json: bool) -> None:
    """Show the trials before battle, the newest first."""
    from realm.arena.trial_record import list_trials, trial_text

    found = list_trials(open_home())
    text = "\n".join(map(trial_text, found)) or "no trial yet: it runs before the first step of a quest"
    say({"trials": [one.as_json() for one in found]}, text, as_json=as_json)


LOOKS: tuple[click.Command, ...] = (inspect, rows, replay, fork, trial)
