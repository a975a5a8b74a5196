"""`realm sparring`: hold a session, check sparring files, show the last session."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from realm.guild.sparring_exam import Exam


@click.group(help="Train on the hero's own mistakes: run a session, check files, show the last one.")
def command() -> None:
    """Hold the verbs."""


@command.command()
@click.option("--skill", required=True, help="skill id or alias, e.g. binary")
@click.option("--count", type=click.IntRange(1, 2000), default=100, show_default=True, help="problems to ask")
@click.option(
    "--level", type=click.IntRange(min=1), help="default: the level in training, the next one where it is too easy"
)
@click.option("--checkpoint", help="name of a checkpoint; default: the newest")
@click.option("--step", type=click.IntRange(min=0), help="its step instead of its name; 0 is the base hero")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def run(skill: str, count: int, level: int | None, checkpoint: str | None, step: int | None, as_json: bool) -> None:
    """Let a checkpoint answer problems and put rows from its mistakes on the board, priority high.

    The oracle and the skill's server must be running.
    """
    from realm.armory.config import whole_number
    from realm.core.paths import open_home
    from realm.gate.sparring import Wish, hold_session
    from realm.guild.skills.loader import resolve_alias

    paths, given = open_home(), os.environ.get("REALM_SEED")
    seed = None if given is None else whole_number("REALM_SEED", given)
    wish = Wish(resolve_alias(skill, paths), count, level, checkpoint, step, seed)
    held = hold_session(paths, wish, say=lambda progress: click.echo(progress, err=True))
    told = {"quest": held.quest, "name": held.name, "checkpoint": held.fighter.checkpoint, "step": held.fighter.step,
            "level": held.bout.level, **held.bout.numbers, "check": held.bout.report.numbers,
            "exam": held.exam.numbers() if held.exam else None}  # fmt: skip
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    bout = held.bout
    click.echo(f"{held.fighter.checkpoint}: {bout.greedy_right} of {bout.asked} right at once at level {bout.level}")
    if bout.reason:
        click.echo(f"the next level was asked: {bout.reason}")
    click.echo(f"{bout.used} of {bout.wrong} wrong answers used ({bout.far} more too far off to judge)")
    for line in exam_lines(held.exam):
        click.echo(line)
    click.echo(f"{held.name}: {len(bout.rows)} rows on the board, priority high, quest {held.quest}")


def exam_lines(exam: Exam | None) -> list[str]:
    """Return what an exam found, for people."""
    if exam is None:
        return []
    said, moved = exam.verdicts.numbers(), exam.numbers()["transitions"]
    rates = ", ".join(f"{name} {'none' if said[key] is None else format(said[key], '.2f')}"
                      for name, key in (("right confirmed", "tpr"), ("wrong found", "tnr"),
                                        ("balanced accuracy", "balanced_accuracy"), ("correlation", "mcc")))  # fmt: skip
    second = ", ".join(f"{name.replace('_', ' to ')} {count}" for name, count in moved.items())
    return [f"exam on held-out problems: {exam.right} of {exam.asked} right; verdicts: {rates}, {said['unclear']} unclear",
            f"second attempt: {second}", *(f"alarm: {text}" for text in exam.alarms())]  # fmt: skip


@command.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--all", "--check-all", "every", is_flag=True, help="every sparring file on the board")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object a line")
def check(files: tuple[Path, ...], every: bool, as_json: bool) -> int:
    """Check sparring FILES: shares of labels, lengths, uniqueness, and every label graded anew; exit code 1 for a bad one.

    The skill's server must be running.
    """
    from realm.core.paths import open_home
    from realm.gate.sparring import check_files, sparring_files

    if every == bool(files):
        raise click.UsageError("name files, or say --all")
    paths = open_home()
    found = check_files(paths, sparring_files(paths) if every else files)
    for one in found:
        if as_json:
            click.echo(json.dumps({"file": one.path.name, "passed": one.report.passed, "problems": one.report.problems,
                                   **one.report.numbers}, ensure_ascii=False))  # fmt: skip
            continue
        click.echo(f"{'ok  ' if one.report.passed else 'FAIL'}  {one.path.name}")
        for problem in one.report.problems:
            click.echo(f"      {problem}")
    bad = sum(not one.report.passed for one in found)
    if not as_json:
        click.echo(f"{len(found)} sparring files checked, {bad} refused")
    return 1 if bad else 0


@command.command()
def status() -> None:
    """Show what the last session said of itself, as JSON."""
    from realm.core.paths import open_home
    from realm.gate.sparring import read_status

    click.echo(json.dumps(read_status(open_home()), ensure_ascii=False, indent=1))
