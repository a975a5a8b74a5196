"""`realm ledger`: checkpoints and their records."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import click

from realm.core.paths import open_home


@click.group(help="Checkpoints and their records.")
def command() -> None: ...


@command.command()
@click.option("--json", "as_json", is_flag=True, help="one JSON object; the only form there is")
def dump(as_json: bool) -> None:
    """Print every quest and every checkpoint, with what each checkpoint consumed."""
    from realm.core.store import read_facts

    with closing(read_facts(open_home())) as facts:
        checkpoints = [dict(r) for r in facts.execute("SELECT * FROM checkpoints WHERE state = 'present' ORDER BY step")]
        rows = [dict(r) for r in facts.execute("SELECT * FROM quests ORDER BY id")]
        every = [json.loads(r["record"]) for r in facts.execute("SELECT record FROM checkpoints ORDER BY step")]
    consumed: dict[str, list[dict[str, Any]]] = {}
    for record in every:
        for part in record["quests"]:
            consumed.setdefault(part["quest"], []).append({"checkpoint": record["canonical_name"], **part})
    quests = [
        {**{k: row[k] for k in ("id", "name", "sha256", "state", "attempts")}, "consumed": consumed.get(row["id"], [])}
        for row in rows
    ]
    saved = [
        {
            **json.loads(row["record"]),
            **{k: row[k] for k in ("step", "parent", "generation", "weights_sha256", "manifest_sha256")},
            "canonical_name": row["name"],
        }
        for row in checkpoints
    ]
    click.echo(json.dumps({"quests": quests, "checkpoints": saved}, ensure_ascii=False, indent=1 if as_json else None))


@command.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20)
def list_(limit: int) -> None:
    """List checkpoints, newest first."""
    from realm.core.store import read_facts
    from realm.vault.ledger import Ledger

    with closing(read_facts(open_home())) as facts:
        for record in Ledger(facts).list_all(limit):
            loss = "-" if record.train_loss is None else f"{record.train_loss:.4f}"
            val = "-" if record.val_loss is None else f"{record.val_loss:.4f}"
            click.echo(f"{record.canonical_name:36} train {loss:>8}  val {val:>8}  {record.training_file or '-'}")


@command.command()
@click.argument("step", type=int)
def show(step: int) -> None:
    """Show the record of one step as JSON."""
    from realm.core.store import read_facts
    from realm.vault.ledger import Ledger

    with closing(read_facts(open_home())) as facts:
        click.echo(Ledger(facts).get(step).model_dump_json(indent=1))
