"""`realm evals`: what was evaluated, one more eval now, two checkpoints compared, results for other programs."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import click


@click.group(help="Results of evals: list them, run one now, compare two checkpoints, export for other programs.")
def command() -> None:
    """Hold the verbs."""


@command.command("list")
@click.option("--checkpoint", help="name or step")
@click.option("--skill", help="skill id or alias")
@click.option("--kind", type=click.Choice(["static", "gate", "probe", "full", "passive", "unseen"]))
@click.option("--state", type=click.Choice(["queued", "done", "no_contest", "dropped"]))
@click.option("--limit", type=click.IntRange(1, 10_000), default=30, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="print one JSON object a line")
def list_(
    checkpoint: str | None, skill: str | None, kind: str | None, state: str | None, limit: int, as_json: bool
) -> None:
    """List evals, newest checkpoint first."""
    from contextlib import closing

    from realm.arena.evals.compare import resolve_checkpoint
    from realm.core.paths import open_home
    from realm.core.store import read_facts
    from realm.guild.intervals import wilson
    from realm.guild.skills.loader import resolve_alias

    paths = open_home()
    with closing(read_facts(paths)) as facts:
        named = resolve_checkpoint(facts, checkpoint)["name"] if checkpoint else None
        wanted = {"checkpoint": named, "skill": resolve_alias(skill, paths) if skill else None, "kind": kind, "state": state}
        given = {name: value for name, value in wanted.items() if value is not None}
        where = " AND ".join(f"{name} = ?" for name in given) or "1"
        rows = facts.execute(
            f"SELECT * FROM evals WHERE {where} ORDER BY step DESC, skill, level, kind LIMIT ?", (*given.values(), limit)
        ).fetchall()
    for row in rows:
        if as_json:
            click.echo(json.dumps(dict(row), ensure_ascii=False))
            continue
        result = row["reason"] or "waits"
        if row["state"] == "done":
            low, high = wilson(row["correct"], row["n"])
            result = f"{row['correct']} of {row['n']} right, 95 % interval {low:.0%} to {high:.0%}"
        click.echo(f"{row['checkpoint']}  {row['skill']} L{row['level']} {row['kind']:6} {row['state']:10} {result}")
    if not as_json:
        click.echo(f"{len(rows)} evals shown")


@command.command()
@click.option("--step", required=True, help="step or name of a checkpoint")
@click.option("--skill", required=True, help="skill id or alias")
@click.option("--level", type=click.IntRange(min=1), required=True)
@click.option("--kind", type=click.Choice(["static", "gate", "probe", "full", "passive"]), default="full", show_default=True)
@click.option("--wait", type=click.IntRange(0, 3600), default=120, show_default=True, help="seconds")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def run(step: str, skill: str, level: int, kind: str, wait: int, as_json: bool) -> None:
    """Evaluate a checkpoint now, or show the result when it was asked before: one eval of a kind is never repeated.

    full asks 100 fresh problems, the same ones of every checkpoint. The oracle and the skill's server must be running.
    """
    from contextlib import closing

    from realm.core.paths import open_home
    from realm.core.store import open_facts

    paths = open_home()
    with closing(open_facts(paths)) as facts:
        row = _done(paths, facts, step, skill, level, kind, wait)
    if as_json:
        click.echo(json.dumps(dict(row), ensure_ascii=False))
        return
    click.echo(f"{row['checkpoint']}, {row['skill']} level {row['level']}, {row['kind']}: {row['correct']} of {row['n']} right")
    click.echo(f"report: {row['file']}")


def _done(paths: Any, facts: sqlite3.Connection, name: str, skill: str, level: int, kind: str, wait: int) -> sqlite3.Row:
    from realm.arena.evals.compare import ask_for, resolve_checkpoint
    from realm.arena.evals.now import see_through
    from realm.core.errors import BadInput
    from realm.guild.skills.loader import get_skill, resolve_alias

    found = get_skill(resolve_alias(skill, paths), paths)
    if level > found.max_level:
        raise BadInput(f"{found.id} has levels 1 to {found.max_level}, not {level}")
    asked = ask_for(facts, resolve_checkpoint(facts, name), found.id, level, kind)
    return see_through(paths, facts, asked, wait)


@command.command()
@click.option("--step", required=True, help="step or name of a checkpoint")
@click.option("--skill", default="sy", show_default=True, help="skill id or alias")
@click.option("--level", type=click.IntRange(min=1), required=True)
@click.option("--wait", type=click.IntRange(0, 3600), default=120, show_default=True, help="seconds for each eval")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def unseen(step: str, skill: str, level: int, wait: int, as_json: bool) -> None:
    """Ask a checkpoint 40 problems of words that no training row answers with, and 100 of words that training has.

    Both evals are stored; one asked before is shown again. The oracle and the skill's server must be running.
    """
    from contextlib import closing

    from realm.core.paths import open_home
    from realm.core.store import open_facts

    paths = open_home()
    _must_hold_out(paths, skill)
    with closing(open_facts(paths)) as facts:
        kinds = {"seen": "full", "unseen": "unseen"}
        rows = {name: _done(paths, facts, step, skill, level, kind, wait) for name, kind in kinds.items()}
    found = {name: _share(row) for name, row in rows.items()}
    one = rows["unseen"]
    if as_json:
        click.echo(json.dumps({"checkpoint": one["checkpoint"], "skill": one["skill"], "level": level, **found}))
        return
    click.echo(f"{one['checkpoint']}, {one['skill']} level {level}")
    for name, told in found.items():
        low, high = told["ci95"]
        click.echo(f"{name:6} words  {told['correct']} of {told['n']} right, 95 % interval {low:.0%} to {high:.0%}")


def _share(row: sqlite3.Row) -> dict[str, Any]:
    from realm.guild.intervals import wilson

    return {"eval": row["id"], "n": row["n"], "correct": row["correct"], "ci95": wilson(row["correct"], row["n"])}


def _must_hold_out(paths: Any, skill: str) -> None:
    from realm.arena.evals.evaluator import UNSEEN
    from realm.core.errors import BadInput
    from realm.guild.skills.loader import get_trainer, resolve_alias

    styles = get_trainer(resolve_alias(skill, paths), paths).info().get("styles")
    if not isinstance(styles, list) or UNSEEN not in styles:
        raise BadInput(f"{skill} holds no words out of training: it offers no style {UNSEEN!r}", hint="--skill sy does")


@command.command()
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def passives(as_json: bool) -> None:
    """Show the transfer probes: problems the hero is not taught, asked now and then; they move no level."""
    from contextlib import closing

    from realm.arena.evals.routes import passives_view
    from realm.core.paths import open_home
    from realm.core.store import read_facts

    paths = open_home()
    with closing(read_facts(paths)) as facts:
        found = passives_view(paths, facts)
    if as_json:
        click.echo(json.dumps(found.model_dump(), ensure_ascii=False))
        return
    click.echo(f"{found.per_checkpoint} of a checkpoint, every {found.every_steps} steps at most")
    for row in found.rows:
        asks = f"{row.skill} L{row.level}" if row.level else f"rests: {row.reason}"
        click.echo(f"{row.title} ({asks})")
        for one in row.evals[:5]:
            click.echo(f"    step {one.step}: {one.correct} of {one.n} right, {one.ci95[0]:.0%} to {one.ci95[1]:.0%}")
    if found.earlier:
        click.echo("asked before, at levels no probe asks now")
        for one in found.earlier[:10]:
            told = f"{one.correct} of {one.n} right, {one.ci95[0]:.0%} to {one.ci95[1]:.0%}"
            click.echo(f"    step {one.step}: {one.skill} L{one.level}, {told}")


@command.command()
@click.argument("a")
@click.argument("b")
@click.option("--skill", help="skill id or alias; default: the first of the schedule")
@click.option("--level", type=click.IntRange(min=1), help="default: the level in training")
@click.option("--wait", type=click.IntRange(0, 3600), default=120, show_default=True, help="seconds for each eval")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def compare(a: str, b: str, skill: str | None, level: int | None, wait: int, as_json: bool) -> None:
    """Compare checkpoints A and B (names or steps) on the same problems, with McNemar's exact test."""
    from contextlib import closing

    from realm.arena.evals.compare import KIND, compare_checkpoints
    from realm.core.paths import open_home
    from realm.core.store import open_facts
    from realm.guild.mastery import training_level
    from realm.guild.schedule import load_schedule
    from realm.guild.skills.loader import get_skill, resolve_alias

    paths = open_home()
    skill_id = resolve_alias(skill, paths) if skill else next(iter(load_schedule(paths).enabled()))
    with closing(open_facts(paths)) as facts:
        at = level if level is not None else training_level(facts, skill_id, get_skill(skill_id, paths).max_level)
        sides = [_done(paths, facts, name, skill_id, at, KIND, wait) for name in (a, b)]
        found = compare_checkpoints(paths, facts, *sides)
    if as_json:
        names = {"a": sides[0]["checkpoint"], "b": sides[1]["checkpoint"], "skill": skill_id, "level": at}
        click.echo(json.dumps({**names, **found.numbers}, ensure_ascii=False))
        return
    click.echo(f"{skill_id} level {at}, {found.n} common problems")
    numbers = found.numbers
    for side, row in zip("ab", sides, strict=True):
        low, high = numbers[f"ci95_{side}"]
        click.echo(f"{side.upper()}  {row['checkpoint']}  {numbers['right_' + side]} right, {low:.0%} to {high:.0%}")
    click.echo(f"n01 (only B right) {found.n01}, n10 (only A right) {found.n10}, McNemar exact p = {found.p:.4g}")


@command.command()
@click.argument("checkpoint")
@click.option("--format", "form", type=click.Choice(["lm-eval", "inspect", "eee"]), required=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="folder; default: CHECKPOINT-FORMAT here")
def export(checkpoint: str, form: str, out: Path | None) -> None:
    """Write the stored results of CHECKPOINT (name or step) as files of lm-eval, inspect-ai or Every Eval Ever."""
    from contextlib import closing

    from realm.arena.evals.compare import resolve_checkpoint
    from realm.arena.evals.export import export as write
    from realm.arena.evals.export import read_stored
    from realm.core.paths import open_home
    from realm.core.store import read_facts

    paths = open_home()
    with closing(read_facts(paths)) as facts:
        name = str(resolve_checkpoint(facts, checkpoint)["name"])
    for path in write(read_stored(paths, name), form, out or Path(f"{name}-{form}")):
        click.echo(str(path))
