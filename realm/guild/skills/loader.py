"""The registry of skills: shipped YAML files and the player's, by id; and the way to their servers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from realm.core.errors import BadInput, unknown_name
from realm.core.hosts import Hosts, get_service_url, moved_port
from realm.core.paths import Paths, resolve_home
from realm.core.shipped import shipped_dir
from realm.guild.skills.config import EvalRules, SkillConfig, read_skill_file

if TYPE_CHECKING:
    from realm.guild.skills.trainer import Trainer

# Names of the first version, accepted on the command line only, beside the aliases of the YAML files.
OLD_NAMES = {"binary": "bin", "syllo": "sy"}


@dataclass(frozen=True, slots=True)
class RegisteredSkill:
    """A skill as the rest of the realm sees it: its YAML and the address of its server on this base directory."""

    config: SkillConfig
    api_url: str
    source: Path

    @property
    def id(self) -> str:
        return self.config.id

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def icon(self) -> str:
        return self.config.icon

    @property
    def game_icon(self) -> str:
        return self.config.game_icon

    @property
    def color(self) -> str:
        return self.config.color

    @property
    def description(self) -> str:
        return self.config.description

    @property
    def min_level(self) -> int:
        return self.config.min_level

    @property
    def max_level(self) -> int:
        return self.config.max_level

    @property
    def eval(self) -> EvalRules:
        return self.config.eval


def skill_files(paths: Paths) -> dict[str, Path]:
    """Return id -> YAML file; a file of the base directory takes the place of the shipped one of the same name.

    Files whose name starts with `_` are templates.
    """
    found: dict[str, Path] = {}
    for folder in (shipped_dir("configs/skills"), paths.user_skills):
        if folder.is_dir():
            found.update({path.stem: path for path in sorted(folder.glob("*.yaml")) if not path.name.startswith("_")})
    return dict(sorted(found.items()))


def _paths(paths: Paths | None) -> Paths:
    return paths or Paths(resolve_home()[0])


def list_skills(paths: Paths | None = None) -> list[str]:
    """Return the ids of all skills, sorted; the base directory is the resolved one unless `paths` is given."""
    return list(skill_files(_paths(paths)))


def get_skill(skill_id: str, paths: Paths | None = None, port_base: int | None = None) -> RegisteredSkill:
    """Return one skill by its exact id; raises Unknown listing the ids, BadInput for a faulty YAML."""
    where = _paths(paths)
    files = skill_files(where)
    if skill_id not in files:
        raise unknown_name("skill", skill_id, list(files))
    config = read_skill_file(files[skill_id])
    return RegisteredSkill(config, _api_url(config, where, port_base), files[skill_id])


def all_skills(paths: Paths | None = None, port_base: int | None = None) -> dict[str, RegisteredSkill]:
    """Return every skill by id; raises BadInput for the first faulty YAML."""
    where = _paths(paths)
    return {skill_id: get_skill(skill_id, where, port_base) for skill_id in skill_files(where)}


def _api_url(config: SkillConfig, paths: Paths, port_base: int | None) -> str:
    """The address of a skill's server: its URL, else the host that `config/hosts.json` names, else this machine."""
    if config.api.url is not None:
        return config.api.url
    if config.api.port is None:
        raise BadInput(f"skill {config.id} has neither port nor url")
    service, hosts = f"skill_{config.id}", Hosts.load(paths)
    offered = any(service in host.services for host in hosts.hosts.values())
    if offered and service not in hosts.local().services:
        return get_service_url(service, hosts)
    return f"http://127.0.0.1:{moved_port(config.api.port, port_base)}"


def local_port(skill: RegisteredSkill, port_base: int | None = None) -> int:
    """Return the port a skill's server listens on here; raises BadInput for a skill that lives at a URL."""
    if skill.config.api.port is None:
        raise BadInput(f"skill {skill.id} is served at {skill.config.api.url}", hint="give it a port to serve it here")
    return moved_port(skill.config.api.port, port_base)


def get_trainer(skill_id: str, paths: Paths | None = None, port_base: int | None = None) -> Trainer:
    """Return the HTTP client of a skill's server; raises Unknown for a skill that does not exist."""
    from realm.guild.skills.trainer import Trainer  # httpx is loaded only where it is used

    return Trainer(get_skill(skill_id, paths, port_base))


def resolve_alias(name: str, paths: Paths | None = None) -> str:
    """Turn what a command line was given into a skill id: an id, an alias of a YAML, or an old name.

    Raises Unknown listing the ids.
    """
    where = _paths(paths)
    files = skill_files(where)
    if name in files:
        return name
    for skill_id, path in files.items():
        if name in read_skill_file(path).aliases:
            return skill_id
    if OLD_NAMES.get(name) in files:
        return OLD_NAMES[name]
    raise unknown_name("skill", name, list(files))
