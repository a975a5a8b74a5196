"""`realm lineage`: what made a checkpoint's weights, and who makes and refuses quests."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict

import click

from realm.core.paths import open_home


@click.group(help="What made a checkpoint's weights; who makes and who refuses quests.")
def command() -> None: ...


@command.command()
@click.argument("checkpoint")
@click.option("--json", "as_json", is_flag=True)
def show(checkpoint: str, as_json: bool) -> None:
    """List every quest and school in a checkpoint's weights: generator with version, rows trained. Takes a name or a step."""
    from realm.core.store import read_facts
    from realm.guild.lineage import BY_HAND, LineageTracker, Provenance
    from realm.vault.ancestry import find_checkpoint, line_of, made_of

    paths = open_home()
    with closing(read_facts(paths)) as facts:
        line = line_of(paths, facts, find_checkpoint(facts, checkpoint))
    known = LineageTracker(paths).provenance()
    rows = []
    for one in made_of(line):
        origin = known.get(one.quest, Provenance())
        rows.append({**asdict(one), "generator": one.generator or origin.generator, "generator_version": origin.generator_version,
                     "validators": dict(origin.validators)})  # fmt: skip
    schools = [{"checkpoint": one.canonical_name, "parent": one.parent, "what": one.training_file}
               for one in line if one.by_school]  # fmt: skip
    if as_json:
        names = [record.canonical_name for record in line]
        told = {"checkpoint": names[-1], "line": names, "quests": rows, "schools": schools}
        click.echo(json.dumps(told, ensure_ascii=False, indent=1))
        return
    for row in rows:
        maker = f"{row['generator'] or BY_HAND} {row['generator_version'] or ''}".strip()
        click.echo(f"{row['quest']}  {row['trained']:>7} of {row['rows']:>7} rows  {maker:28}  {row['name']}")
    for school in schools:
        click.echo(f"{school['what']}: from {school['parent'] or 'the base'} to {school['checkpoint']}")
    total = sum(row["trained"] for row in rows)
    click.echo(f"{line[-1].canonical_name}: {total} rows of {len(rows)} quests, over {len(line)} checkpoints")


@command.command()
@click.option("--json", "as_json", is_flag=True)
def report(as_json: bool) -> None:
    """Say which generator is rejected most and which validator is most aggressive."""
    from realm.core.store import read_facts
    from realm.guild.lineage import LineageTracker

    paths = open_home()
    with closing(read_facts(paths)) as facts:
        found = LineageTracker(paths).report(facts)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=1))
        return
    for key, name in (("generators", "generator"), ("validators", "validator")):
        for row in found[key]:
            versions = ", ".join(row["versions"]) or "-"
            click.echo(f"{name:9}  {row[name]:24} {versions:12} accepted {row['accepted']:>6}  refused {row['refused']:>6}")
            for reason in row["reasons"]:
                click.echo(f"           {reason['count']:>6} x {reason['reason']}")
    for name, text in (("most_rejected_generator", "rejected most"), ("most_aggressive_validator", "most aggressive")):
        click.echo(f"{text}: {found[name] or 'none'} ({found[f'{name}_reason']})")
