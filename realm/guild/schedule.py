"""The schedule table: which skill the data flow asks for next, how long a quest is, when retention is probed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from realm.core.durable import write_text
from realm.core.errors import BadInput, unknown_name
from realm.core.field_errors import field_errors
from realm.core.paths import Paths
from realm.core.shipped import shipped_dir
from realm.guild.gate import GateExtras

Strategy = Literal["adaptive", "equal", "focus", "weighted", "catch_up"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SkillPlan(_Table):
    """How one skill takes part; the highest `priority` is what focus picks, `weight` is what weighted shares by."""

    enabled: bool = True
    priority: int = Field(default=1, ge=-1000, le=1000)
    weight: float = Field(default=1.0, gt=0, le=1000)


class Board(_Table):
    """When to generate and how much; what is not given follows the hero's preset."""

    low: int = Field(default=1, ge=0, le=50)
    quest_seconds: float | None = Field(default=None, gt=0, le=86_400)
    min_rows: int | None = Field(default=None, ge=1, le=1_000_000)
    max_rows: int | None = Field(default=None, ge=1, le=1_000_000)


class Sparring(_Table):
    """How sparring rows are made and how long they may wait; `seed_only` leaves the balance pack out."""

    balance: Literal["full", "seed_only"] = "full"
    max_age_steps: int = Field(default=2000, ge=1)
    samples: int = Field(default=3, ge=0, le=16)
    temperature: float = Field(default=0.8, gt=0, le=5)
    exam: int = Field(default=60, ge=0, le=500)
    rehearsal: float = Field(default=1.0, ge=0, le=4, description="plain problems beside each row of a full pack")


class Schedule(_Table):
    """The whole of schedule.yaml."""

    strategy: Strategy = "adaptive"
    skills: dict[str, SkillPlan]
    board: Board = Board()
    gate: GateExtras = GateExtras()
    sparring: Sparring = Sparring()

    @field_validator("gate", mode="before")
    @classmethod
    def _gate_by_name(cls, given: Any) -> Any:
        """Take `gate: sprt` for `gate: {rule: sprt}`."""
        return {"rule": given} if isinstance(given, str) else given

    def enabled(self) -> dict[str, SkillPlan]:
        """Return the skills that take part, by id."""
        return {name: plan for name, plan in sorted(self.skills.items()) if plan.enabled}


@dataclass(frozen=True)
class Preset:
    """A named choice of strategy; `weights` and `focus` name skills, `only` leaves the others out."""

    title: str
    strategy: Strategy
    focus: str | None = None
    only: str | None = None
    weights: tuple[tuple[str, float], ...] = ()


PRESETS: dict[str, Preset] = {
    "balanced": Preset("every skill the same amount", "equal"),
    "bin_focus": Preset("Binary Alchemy first", "focus", focus="bin"),
    "sy_focus": Preset("Word Weaving first", "focus", focus="sy"),
    "bin_heavy": Preset("two parts Binary Alchemy, one part Word Weaving", "weighted", weights=(("bin", 2.0), ("sy", 1.0))),
    "sy_heavy": Preset("one part Binary Alchemy, two parts Word Weaving", "weighted", weights=(("bin", 1.0), ("sy", 2.0))),
    "bin_only": Preset("Binary Alchemy alone", "equal", only="bin"),
    "sy_only": Preset("Word Weaving alone", "equal", only="sy"),
    "catch_up": Preset("the skill with the smallest mastered share first", "catch_up"),
}


def parse_schedule(table: Any, origin: str) -> Schedule:
    """Validate a schedule table; raises BadInput naming `origin` and every wrong or unknown key."""
    if not isinstance(table, dict):
        raise BadInput(f"{origin} is not a table of keys")
    try:
        return Schedule.model_validate(table)
    except ValidationError as error:
        fields = field_errors(error)
        found = "; ".join(f"{name or 'schedule'}: {message}" for name, message in fields.items())
        hint = "ARCHITECTURE.md, Settings, lists the keys"
        raise BadInput(f"{origin} is not valid: {found}", hint=hint, fields=fields) from error


def schedule_path(paths: Paths) -> Path:
    """Return the schedule in force: the player's copy when there is one, else the shipped one."""
    return paths.schedule if paths.schedule.is_file() else shipped_dir("configs") / "schedule.yaml"


def load_schedule(paths: Paths) -> Schedule:
    """Read the schedule in force; raises BadInput when it is not valid."""
    path = schedule_path(paths)
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{path.name} is not YAML: {error}") from error
    return parse_schedule(table, f"{path.parent.name}/{path.name}")


def save_schedule(paths: Paths, schedule: Schedule) -> None:
    """Write the player's copy durably; the next decision follows it."""
    paths.schedule.parent.mkdir(parents=True, exist_ok=True)
    table = schedule.model_dump(mode="json", exclude_none=True)
    for part in ("gate", "sparring"):
        table[part] = getattr(schedule, part).model_dump(mode="json", exclude_defaults=True)
    write_text(paths.schedule, yaml.safe_dump(table, sort_keys=False, allow_unicode=True))


def check_skills(schedule: Schedule, known: Iterable[str]) -> Schedule:
    """Return the schedule; raises Unknown when it names a skill that is not installed, BadInput when none is enabled."""
    names = sorted(known)
    for name in schedule.skills:
        if name not in names:
            raise unknown_name("skill in the schedule", name, names)
    if not schedule.enabled():
        raise BadInput("the schedule enables no skill", hint=f"enable one of: {', '.join(names)}")
    return schedule


def apply_preset(schedule: Schedule, name: str, known: Iterable[str]) -> Schedule:
    """Return the schedule with a preset's strategy and skills; raises Unknown for a preset or a skill not installed."""
    if name not in PRESETS:
        raise unknown_name("preset", name, list(PRESETS))
    preset, names = PRESETS[name], sorted(known)
    named = [skill for skill in (preset.focus, preset.only, *(skill for skill, _ in preset.weights)) if skill]
    for skill in named:
        if skill not in names:
            raise unknown_name(f"skill of preset {name}", skill, names)
    weights = dict(preset.weights)
    skills = {
        skill: SkillPlan(
            enabled=preset.only in (None, skill) and (not weights or skill in weights),
            priority=2 if skill == preset.focus else 1,
            weight=weights.get(skill, 1.0),
        )
        for skill in names
    }
    return schedule.model_copy(update={"strategy": preset.strategy, "skills": skills})


def enabling(schedule: Schedule, wanted: Iterable[str]) -> Schedule:
    """Return the schedule with exactly the wanted skills enabled; one it has no row for gets a plain one. Pure."""
    chosen = set(wanted)
    known = {name: plan.model_copy(update={"enabled": name in chosen}) for name, plan in schedule.skills.items()}
    return schedule.model_copy(update={"skills": known | {name: SkillPlan() for name in sorted(chosen - set(known))}})
