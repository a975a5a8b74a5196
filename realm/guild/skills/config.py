"""A skill's YAML: its schema, and reading it so that a mistake is named by file, line and key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from realm.core.errors import BadInput

SkillId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Share = Annotated[float, Field(ge=0, le=1)]
MAX_YAML_BYTES = 256 * 1024


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Levels(_Table):
    """First and last level."""

    min: int = Field(default=1, ge=1)
    max: int = Field(ge=1, le=1000)

    @model_validator(mode="after")
    def _ordered(self) -> Levels:
        if self.max < self.min:
            raise ValueError(f"max {self.max} is below min {self.min}")
        return self


class Api(_Table):
    """Where the skill's server is: a port of this machine, or a URL elsewhere; all but `external` ones are started by us."""

    port: int | None = Field(default=None, ge=1024, le=65535)
    url: str | None = Field(default=None, pattern=r"^https?://[^\s/?#]+$")
    server: Literal["builtin", "gym", "command", "external"] = "external"
    command: tuple[str, ...] = Field(default=(), max_length=64)

    @model_validator(mode="after")
    def _one_place(self) -> Api:
        if (self.port is None) == (self.url is None):
            raise ValueError("exactly one of port and url is needed")
        if (self.server == "command") != bool(self.command):
            raise ValueError("command is the list of words that start the server, with `server: command` and only there")
        if self.server != "external" and self.port is None:
            raise ValueError(f"`server: {self.server}` needs a port, not a url")
        return self


class Gym(_Table):
    """A task of reasoning-gym as a skill: its name there, and for each level what differs from the task's own defaults.

    `answer` is what the prompt says about the form of the answer, one line; `whole` takes the whole reply for the
    answer instead of its last line; `exact` asks the task's scorer only about text equal to its answer, white space aside.
    """

    task: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    answer: str = Field(min_length=1, max_length=300, pattern=r"^[^\n]+$")
    whole: bool = False
    exact: bool = False
    levels: tuple[dict[str, Any], ...] = Field(min_length=1, max_length=200)


class EvalRules(_Table):
    """How a level is examined; what each number means stands beside it in `configs/skills/bin.yaml`."""

    samples_per_level: int = Field(default=5, ge=1, le=100)
    fresh_items: int = Field(default=15, ge=0, le=500)
    threshold: Share = 0.8
    advancement_evals: int = Field(default=3, ge=1, le=20)
    min_single: Share = 0.65
    min_lower_bound: Share = 0.70
    min_gap_steps: int = Field(default=40, ge=0)
    max_new_tokens: int | None = Field(default=None, ge=1, le=1024)
    strict_seed_rule: bool = False


class SkillConfig(_Table):
    """One skill as its YAML says it; data only."""

    id: SkillId
    name: str = Field(min_length=1, max_length=80)
    icon: str = Field(min_length=1, max_length=16)
    game_icon: str = Field(pattern=r"^game-icons:[a-z0-9-]+$")
    color: str = Field(pattern=r"^#[0-9A-Fa-f]{6}$")
    description: str = Field(default="", max_length=500)
    aliases: tuple[SkillId, ...] = ()
    levels: Levels
    api: Api
    gym: Gym | None = None
    eval: EvalRules = EvalRules()

    @model_validator(mode="before")
    @classmethod
    def _as_many_levels_as_the_gym_has(cls, given: Any) -> Any:
        gym = given.get("gym") if isinstance(given, Mapping) else None
        listed = gym.get("levels") if isinstance(gym, Mapping) else None
        return {"levels": {"max": len(listed)}, **given} if isinstance(listed, list) else given

    @model_validator(mode="after")
    def _gym_belongs_to_its_server(self) -> SkillConfig:
        if (self.gym is None) == (self.api.server == "gym"):
            raise ValueError("`gym` and `api.server: gym` need each other")
        if self.gym is not None and (self.levels.min, self.levels.max) != (1, len(self.gym.levels)):
            raise ValueError(f"levels are 1 to {len(self.gym.levels)}, as `gym.levels` lists them")
        return self

    @property
    def min_level(self) -> int:
        return self.levels.min

    @property
    def max_level(self) -> int:
        return self.levels.max


def read_skill_file(path: Path) -> SkillConfig:
    """Read and check one YAML; raises BadInput naming the file, the line and the key of the first mistakes."""
    text = path.read_bytes()
    if len(text) > MAX_YAML_BYTES:
        raise BadInput(f"{path.name} has {len(text)} bytes", hint=f"a skill file has at most {MAX_YAML_BYTES}")
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise BadInput(f"{path.name} uses YAML aliases", hint="write the value out")
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"{path.name} is not YAML: {error}", hint=str(path)) from error
    if not isinstance(data, Mapping):
        raise BadInput(f"{path.name} is not a table of keys", hint=f"compare configs/skills/_template.yaml; {path}")
    lines: dict[tuple[Any, ...], int] = {}
    _check_twice(path, tree, (), lines)
    try:
        found = SkillConfig.model_validate(data)
    except ValidationError as error:
        raise BadInput(_explain(path, error, lines), hint="compare configs/skills/_template.yaml") from error
    if found.id != path.stem:
        raise BadInput(f"{path.name}:{lines.get(('id',), 1)}: id {found.id!r} is not the file's name {path.stem!r}",
                       hint="rename one of them")  # fmt: skip
    return found


def _check_twice(path: Path, node: yaml.Node | None, place: tuple[Any, ...], lines: dict[tuple[Any, ...], int]) -> None:
    """Note the line of every key; a key given twice in one table is an error (YAML would keep the last)."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, key.value)
            line = key.start_mark.line + 1
            if inner in lines:
                raise BadInput(
                    f"{path.name}:{line}: key {_name(inner)!r} is given twice (first in line {lines[inner]})"
                )
            lines[inner] = line
            _check_twice(path, value, inner, lines)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            lines[(*place, number)] = value.start_mark.line + 1
            _check_twice(path, value, (*place, number), lines)


def _name(place: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in place)


def _explain(path: Path, error: ValidationError, lines: dict[tuple[Any, ...], int]) -> str:
    told = []
    for mistake in error.errors()[:5]:
        place = tuple(mistake["loc"])
        # A missing key has no line of its own: name the table it belongs to.
        line = next((lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in lines), 1)
        what = "unknown key" if mistake["type"] == "extra_forbidden" else mistake["msg"]
        told.append(f"{path.name}:{line}: {_name(place) or 'file'}: {what}")
    return "; ".join(told)
