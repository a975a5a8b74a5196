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
    from realm.arena.quest import get_quest
    from realm.arena.row_text import row_text
    from realm.arena.row_view import file_tokens, inbox_file, quest_tokens
    from realm.core.ids import is_ulid
    from realm.core.store import read_facts

    paths = open_home()
    if is_ulid(what):
        with closing(read_facts(paths)) as facts:
            found = quest_tokens(paths, get_quest(facts, what), row)
    else:
        found = file_tokens(paths, Path(what) if Path(what).is_file() else inbox_file(paths, what), row)
    say(found, row_text(found), as_json=as_json)


LOOKS: tuple[click.Command, ...] = (inspect,)
