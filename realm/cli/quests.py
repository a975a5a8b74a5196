"""`realm quests`: the quest board from the command line."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import click

from realm.core.paths import PRIORITIES, open_home


@click.group(help="The quest board: list, show, receipt, add, set-priority, retry, delete.")
def command() -> None: ...


@command.command("list")
@click.option("--state", type=click.Choice(["queued", "processing", "completed", "failed", "deleted"]), default="queued")
@click.option("--limit", type=click.IntRange(1, 200), default=50)
@click.option("--json", "as_json", is_flag=True)
def list_(state: str, limit: int, as_json: bool) -> None:
    """List quests of one state."""
    from realm.arena.quests.board_view import list_quests
    from realm.core.store import read_facts

    paths = open_home()
    with closing(read_facts(paths)) as facts:
        found = list_quests(facts, paths, state, limit, None)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=1))
        return
    for row in found["rows"]:
        click.echo(f"{row['id']}  {row['priority']:6} {row['rows']:6} rows  {row['name']}  {row['reason']}")
    click.echo(f"{len(found['rows'])} shown; " + ", ".join(f"{k} {v}" for k, v in found["counts"].items()))


@command.command()
def status() -> None:
    """Show the counts of the board."""
    from realm.arena.quests.board_view import counts
    from realm.core.store import read_facts

    with closing(read_facts(open_home())) as facts:
        for name, number in counts(facts).items():
            click.echo(f"{name:12} {number}")


@command.command()
@click.argument("quest_id")
@click.option("--json", "as_json", is_flag=True)
def show(quest_id: str, as_json: bool) -> None:
    """Show a quest with what the five masking validators found in it."""
    from realm.arena.quests.quest import get_quest
    from realm.arena.quests.quest_view import quest_details, quest_text
    from realm.core.store import read_facts

    paths = open_home()
    with closing(read_facts(paths)) as facts:
        found = quest_details(paths, get_quest(facts, quest_id))
    click.echo(json.dumps(found, ensure_ascii=False, indent=1) if as_json else quest_text(found))


@command.command()
@click.argument("quest_id")
@click.option("--json", "as_json", is_flag=True)
def receipt(quest_id: str, as_json: bool) -> None:
    """Show what a completed quest brought: tokens, seconds, losses, strain, evals before and after."""
    from realm.arena.quests.quest import get_quest
    from realm.arena.quests.receipts import receipt_of, receipt_text
    from realm.core.store import read_facts

    with closing(read_facts(open_home())) as facts:
        found = receipt_of(facts, get_quest(facts, quest_id))
    click.echo(json.dumps(found, ensure_ascii=False, indent=1) if as_json else receipt_text(found))


@command.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--priority", type=click.Choice(PRIORITIES), default="normal")
def add(file: Path, priority: str) -> None:
    """Check a training file and put a copy of it on the board."""
    from realm.arena.quests import intake
    from realm.core import durable
    from realm.core.store import open_facts

    paths = open_home()
    spool = durable.spool_file(paths.home / "queue")
    durable.copy_file(file, spool)
    try:
        with closing(open_facts(paths)) as facts:
            click.echo(intake.accept_spool(paths, facts, spool, name=file.name, priority=priority))
    finally:
        spool.unlink(missing_ok=True)


@command.command("set-priority")
@click.argument("quest_id")
@click.argument("priority", type=click.Choice(PRIORITIES))
def set_priority(quest_id: str, priority: str) -> None:
    """Change the priority of a waiting quest."""
    from realm.arena.quests import board
    from realm.core.store import open_facts

    paths = open_home()
    with closing(open_facts(paths)) as facts:
        quest = board.set_priority(paths, facts, quest_id, priority)
    click.echo(f"{quest.name}: {quest.priority}")


def _act(name: str, text: str) -> click.Command:
    @click.command(name, help=text)
    @click.argument("quest_id")
    def act(quest_id: str) -> None:
        from realm.arena.quests import board
        from realm.core.store import open_facts

        paths = open_home()
        with closing(open_facts(paths)) as facts:
            quest = getattr(board, name)(paths, facts, quest_id)
        click.echo(f"{quest.name}: {quest.state}")

    return act


command.add_command(_act("retry", "Put a failed or skipped quest back on the board."))
command.add_command(_act("delete", "Move a quest to the trash."))
command.add_command(_act("undelete", "Bring a deleted quest back."))


@command.command("process-inbox")
def process_inbox() -> None:
    """Take in the complete files of the inbox now."""
    import time

    from realm.arena.quests import intake
    from realm.core.store import open_facts

    paths = open_home()
    with closing(open_facts(paths)) as facts:
        taken = intake.sweep(paths, facts)
        if intake.waiting(paths):
            time.sleep(intake.SETTLE_S)
            taken += intake.sweep(paths, facts)
    click.echo(f"{len(taken)} taken in; still waiting: {', '.join(intake.waiting(paths)) or 'none'}")
