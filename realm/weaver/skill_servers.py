"""Which skill servers this machine starts beside those of config/hosts.json: the enabled skills', as their YAML says."""

from __future__ import annotations

import sys
from dataclasses import replace

from realm.core.errors import RealmError
from realm.core.hosts import Hosts
from realm.core.logs import get_logger
from realm.core.paths import Paths
from realm.guild.schedule import load_schedule
from realm.guild.skills.loader import RegisteredSkill, get_skill
from realm.weaver.services import BUILT_IN_SKILLS, SKILL, SkillServer

log = get_logger("weaver")


def skill_servers(paths: Paths) -> list[SkillServer]:
    """Return the servers to start; a skill whose YAML is faulty is told in the log and left out.

    A skill that config/hosts.json gives to another machine is served there.
    """
    hosts = Hosts.load(paths)
    here = hosts.local().services
    elsewhere = {name for host in hosts.hosts.values() for name in host.services} - set(here)
    try:
        wanted = {*load_schedule(paths).enabled(), *(name.removeprefix(SKILL) for name in here if name.startswith(SKILL))}
    except RealmError as error:
        log.warning("only skill servers of config/hosts.json are started: %s", error)
        wanted = {name.removeprefix(SKILL) for name in here if name.startswith(SKILL)}
    found: list[SkillServer] = []
    for skill_id in sorted(wanted - BUILT_IN_SKILLS):
        if f"{SKILL}{skill_id}" in elsewhere:
            continue
        try:
            server = _server(get_skill(skill_id, paths))
        except RealmError as error:
            log.warning("the server of skill %s is not started: %s", skill_id, error)
            continue
        if server is not None:
            asked = here.get(f"{SKILL}{skill_id}")
            found.append(server if asked is None or asked.port is None else replace(server, port=asked.port))
    return found


def _server(skill: RegisteredSkill) -> SkillServer | None:
    """Return how a skill's server is started, None for one that somebody else starts."""
    api = skill.config.api
    if api.port is None or api.server in ("external", "builtin"):
        return None
    words = api.command or ("{python}", "-m", "realm.cli", "skills", "serve", skill.id)
    fixed = {"{python}": sys.executable, "{here}": str(skill.source.resolve().parent)}
    return SkillServer(skill.id, api.port, tuple(_filled(word, fixed) for word in words))


def _filled(word: str, fixed: dict[str, str]) -> str:
    for name, value in fixed.items():
        word = word.replace(name, value)
    return word
