"""`realm skills gym`: tasks of reasoning-gym as skills."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from realm.core.paths import open_home

if TYPE_CHECKING:
    from realm.core.paths import Paths
    from realm.guild.skills.gym.conformance import Report


@click.group("gym", help="Tasks of reasoning-gym as skills: list, add, check.")
def command() -> None: ...


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def list_(as_json: bool) -> None:
    """List the tasks: added skills and how their check went, ready YAMLs, and what else the package has."""
    from realm.core.errors import Unavailable
    from realm.core.shipped import shipped_dir
    from realm.guild.skills.config import read_skill_file
    from realm.guild.skills.gym.record import why_not
    from realm.guild.skills.gym.task import task_names
    from realm.guild.skills.loader import skill_files

    paths = open_home()
    added = {name: read_skill_file(path) for name, path in skill_files(paths).items()}
    gym = {config.gym.task: config for config in added.values() if config.gym}
    ready = {path.stem.removeprefix("rg_") for path in shipped_dir("configs/skills/gym").glob("rg_*.yaml")}
    try:
        known = set(task_names())
    except Unavailable as error:
        known = set()
        click.echo(f"{error.message}; {error.hint}", err=True)
    for task in sorted(known | ready | set(gym)):
        config = gym.get(task)
        reason = why_not(paths, config) if config else ""
        state = ("added, " + (reason or "passed its check")) if config else "ready to add" if task in ready else "in the package"
        row = {"task": task, "skill": config.id if config else None, "state": state}
        click.echo(json.dumps(row, ensure_ascii=False) if as_json else f"{task:28} {state}")


@command.command()
@click.argument("task")
def add(task: str) -> int:
    """Check TASK and add it to the base directory as the skill rg_TASK; it stays off until the schedule enables it."""
    from realm.core.durable import write_text
    from realm.core.errors import Conflict
    from realm.core.shipped import shipped_dir
    from realm.guild.skills.config import read_skill_file
    from realm.guild.skills.gym.derive import skill_yaml
    from realm.guild.skills.gym.record import checked
    from realm.guild.skills.gym.task import package_version
    from realm.guild.skills.loader import skill_files

    paths, name = open_home(), task.removeprefix("rg_")
    package_version()
    files = skill_files(paths)
    if f"rg_{name}"[:32] in files:
        raise Conflict(f"skill rg_{name} is there already: {files[f'rg_{name}'[:32]]}")
    ready = shipped_dir("configs/skills/gym") / f"rg_{name}.yaml"
    ports = [config.api.port for config in map(read_skill_file, files.values()) if config.api.port is not None]
    text = ready.read_text(encoding="utf-8") if ready.is_file() else skill_yaml(name, ports)
    trial = paths.status / "gym" / "trial" / f"rg_{name}"[:32]
    path = trial.with_name(f"{trial.name}.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    config = read_skill_file(path)
    report = checked(paths, config, path)
    if not report.passed:
        _tell(config.id, report)
        click.echo(f"not added; its YAML is {path}")
        return 4
    final = paths.user_skills / path.name
    final.parent.mkdir(parents=True, exist_ok=True)
    write_text(final, text)
    _tell(config.id, report)
    click.echo(f"added {final} with {config.max_level} levels; enable it on the scheduler page or in config/schedule.yaml")
    return 0


@command.command("check")
@click.argument("skill", required=False)
def check_(skill: str | None) -> int:
    """Run the conformance test of SKILL, or of every added gym skill; exit code 4 when one is quarantined."""
    from realm.core.errors import BadInput
    from realm.guild.skills.loader import all_skills, get_skill, resolve_alias

    paths = open_home()
    if skill is None:
        found = [one for one in all_skills(paths).values() if one.config.gym]
    else:
        found = [get_skill(resolve_alias(skill, paths), paths)]
        if found[0].config.gym is None:
            raise BadInput(f"{found[0].id} is no skill of reasoning-gym", hint="realm skills gym list")
    good = [_checked(paths, one.id) for one in found]
    if not found:
        click.echo("no gym skill was added")
    return 0 if all(good) else 4


def _checked(paths: Paths, skill_id: str) -> bool:
    from realm.guild.skills.gym.record import checked
    from realm.guild.skills.loader import get_skill

    skill = get_skill(skill_id, paths)
    report = checked(paths, skill.config, skill.source)
    _tell(skill_id, report)
    return report.passed


def _tell(skill_id: str, report: Report) -> None:
    click.echo(f"{skill_id}: {'passed' if report.passed else 'quarantined'}")
    for problem in report.problems:
        click.echo(f"  {problem}")
