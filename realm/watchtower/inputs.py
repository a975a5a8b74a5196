"""What a snapshot is built from: plain values, read at one edge (`gather.py`), so that tests can write them down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from realm.core.events import Event
from realm.guild.gate import GateRules
from realm.guild.mastery import SkillState


@dataclass(frozen=True)
class SkillCard:
    """What the pages need of a skill's YAML: names, look, levels and the level-up rule."""

    id: str
    name: str
    icon: str = ""
    game_icon: str = ""
    color: str = ""
    max_level: int = 1
    rules: GateRules = field(default_factory=GateRules)


@dataclass(frozen=True)
class EvalRow:
    """One finished eval; `finished` orders evals by when they ended."""

    skill: str
    level: int
    correct: int
    n: int
    step: int
    at: str
    finished: int


@dataclass(frozen=True)
class CheckpointRow:
    """The newest checkpoint with the record it was saved with."""

    step: int
    name: str
    record: Mapping[str, Any]


@dataclass(frozen=True)
class ChampionRow:
    """The newest coronation."""

    step: int
    checkpoint: str
    metric: str
    value: float


@dataclass(frozen=True)
class ServiceRow:
    """One row of the services table."""

    name: str
    state: str
    pid: int | None
    created: float | None
    port: int | None
    since: str
    restarts: int
    reason: str


@dataclass(frozen=True)
class FactRows:
    """Everything a snapshot takes from the facts database, read in one transaction.

    `quests` counts by (state, priority), the priority being empty for all but waiting quests; `newest_evals` are a
    skill's gate evals that finished last, at any level, newest first; `seen` is the cursor the player acknowledged.
    """

    cursor: int = 0
    seen: int = 0
    quests: Mapping[tuple[str, str], int] = field(default_factory=dict)
    checkpoints: int = 0
    checkpoint_bytes: int = 0
    latest: CheckpointRow | None = None
    champion: ChampionRow | None = None
    skills: Mapping[str, SkillState] = field(default_factory=dict)
    newest_evals: Mapping[str, tuple[EvalRow, ...]] = field(default_factory=dict)
    evals_waiting: int = 0
    services: tuple[ServiceRow, ...] = ()
    log: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Inputs:
    """All of one moment; `monotonic` is in seconds on the same clock as the heartbeat's."""

    now: datetime
    monotonic: float
    facts: FactRows
    cards: Mapping[str, SkillCard]
    home_name: str = ""
    build: str = ""
    hero: Mapping[str, Any] | None = None
    hero_reason: str = "there is no hero yet: run `realm hero create`"
    status: Mapping[str, Any] | None = None
    status_reason: str = "the arena has not run on this base directory"
    heartbeat: Mapping[str, Any] | None = None
    arena_process: bool = False
    validation: tuple[int, float] | None = None
    gone: frozenset[str] = frozenset()
    free_bytes: int | None = None
    forge: Mapping[str, Any] = field(default_factory=dict)
    demo: Mapping[str, Any] | None = None
