"""`realm arena champion`: a school for a hero that solves part of a level already."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from realm.core.paths import Paths, open_home

if TYPE_CHECKING:
    from realm.arena.school_lessons import Course, Report
    from realm.guild.skill_client import SkillSource


@click.command()
@click.argument("skill")
@click.option("--level", type=click.IntRange(min=1), help="default: the level in training")
@click.option("--steps", type=click.IntRange(1, 10_000), default=100, show_default=True, help="optimiser steps")
@click.option("--groups", type=click.IntRange(1, 256), default=8, show_default=True, help="problems of a step")
@click.option("--samples", type=click.IntRange(2, 64), default=8, show_default=True, help="answers drawn to each problem")
@click.option("--rate", type=click.FloatRange(0, 10, min_open=True), default=0.05, show_default=True,
              help="factor on the hero's learning rate")  # fmt: skip
@click.option("--temperature", type=click.FloatRange(0, 5, min_open=True), default=1.0, show_default=True)
@click.option("--asked", type=click.IntRange(20, 2000), default=200, show_default=True, help="problems of each exam")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def champion(
    skill: str, level: int | None, steps: int, groups: int, samples: int, rate: float, temperature: float, asked: int,
    as_json: bool,
) -> None:  # fmt: skip
    """Train the newest checkpoint on the score of its own answers to problems of SKILL (GRPO); saves one checkpoint.

    For a hero that solves 20 to 90 % of the level. Needs the extra [schools]; no other arena may run on this home.
    """
    from realm.arena.school_lessons import Course
    from realm.armory.config import whole_number
    from realm.guild.skills.loader import resolve_alias

    paths, given = open_home(), os.environ.get("REALM_SEED")
    name = resolve_alias(skill, paths)
    source = _source(paths, name)
    at = level if level is not None else _training_level(paths, name, source.max_level)
    seed = 0 if given is None else whole_number("REALM_SEED", given)
    report = _hold(paths, Course(name, at, steps, seed, groups, samples, temperature, rate, asked), source)
    click.echo(json.dumps(report.as_json(), ensure_ascii=False) if as_json else text_of(report))


def _source(paths: Paths, skill: str) -> SkillSource:
    """Return a skill in process where it ships with the realm and is not served elsewhere, else its server's client."""
    from realm.guild.skill_client import SkillClient
    from realm.guild.skills.builtin import BUILTIN
    from realm.guild.skills.inside import SkillInside
    from realm.guild.skills.loader import get_skill

    found = get_skill(skill, paths)
    return SkillInside(skill) if skill in BUILTIN and found.config.api.url is None else SkillClient(
        skill, found.api_url, found.max_level)  # fmt: skip


def _training_level(paths: Paths, skill: str, max_level: int) -> int:
    from contextlib import closing

    from realm.core.store import read_facts
    from realm.guild.mastery import training_level

    with closing(read_facts(paths)) as facts:
        return training_level(facts, skill, max_level)


def _hold(paths: Paths, course: Course, source: SkillSource) -> Report:
    from realm.armory.heroes import active_config, active_preset
    from realm.core.daemon import StopFlag, single_instance
    from realm.core.errors import BadInput
    from realm.core.logs import setup

    if course.level > source.max_level:
        raise BadInput(f"{source.skill} has levels 1 to {source.max_level}, not {course.level}")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with single_instance(paths, "arena"):
        stop = StopFlag().install()
        setup(paths, "arena")
        from realm.arena.champion_school import hold, refuse_config, require

        require()
        refuse_config(active_config(paths).config)
        from realm.arena.entering import enter, leave
        from realm.gate import Realm
        from realm.gate.founding import answer_styles

        styles = answer_styles(active_preset(paths))
        arena = enter(paths, Realm(paths).enqueue_evals)
        try:
            return hold(arena, course, source, styles.at(course.level), stop, examined={styles.examined(course.level): 1.0},
                        say=lambda line: click.echo(line, err=True))  # fmt: skip
        finally:
            leave(arena)


def text_of(report: Report) -> str:
    """Return a report as lines for a terminal."""
    course, rewards = report.course, report.rewards
    part = max(1, len(rewards) // 4)
    first, last = sum(rewards[:part]) / part, sum(rewards[-part:]) / part
    return "\n".join([
        f"{course.title}: {report.checkpoint}, {report.seconds:.0f} s, {report.tokens} tokens",
        f"  reward of the answers drawn: {first:.3f} in the first {part} steps, {last:.3f} in the last {part}",
        f"  {report.flat} of {report.groups} groups had no spread and taught nothing",
        f"  held-out problems before: {report.before.text()}",
        f"  held-out problems after:  {report.after.text()}",
    ])  # fmt: skip
