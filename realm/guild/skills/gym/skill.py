"""A YAML with a `gym` table as a `Skill`: seeds, partition, strict grades around a task of reasoning-gym."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import count, islice
from random import Random

from realm.core.errors import BadInput, Corrupt
from realm.core.seeds import derive_seed
from realm.guild.skills.config import Gym, SkillConfig
from realm.guild.skills.gym.frame import key_of, partition, read_prompt, write_prompt
from realm.guild.skills.gym.task import NUMBERS, Entry, Task, answer_in, package_version
from realm.guild.skills.types import Item, LevelInfo, Score, SkillInfo, Split, check_call

STATIC_COUNT = 5
STYLES = ("brief",)
_MOST_ATTEMPTS = 20_000
_PATIENCE = 300  # known questions drawn in a row before one may repeat
_ID = re.compile(r"-L(\d{1,4})-(\d{1,10})\Z")


class GymSkill:
    """One task as a skill; raises what `Task` raises."""

    def __init__(self, config: SkillConfig, make: Callable[[Gym], Task] = Task) -> None:
        if config.gym is None:
            raise BadInput(f"skill {config.id} has no gym table")
        self.config, self.gym = config, config.gym
        self.task = make(self.gym)
        self._static = lru_cache(maxsize=None)(self._draw_static)

    @cached_property
    def info(self) -> SkillInfo:
        levels = tuple(
            LevelInfo(number, ", ".join(f"{name} {value}" for name, value in settings.items()) or "defaults", None,
                      {"brief": 1.0}, dict(settings))
            for number, settings in enumerate(self.gym.levels, 1)
        )  # fmt: skip
        return SkillInfo(
            id=self.config.id, name=self.config.name, description=self.config.description,
            version=f"reasoning-gym-{package_version()}", license="Apache-2.0 (reasoning-gym)", primary_metric="strict",
            answer_style=self.gym.answer, styles=STYLES, operations=(self.gym.task,), finite_levels={}, levels=levels,
        )  # fmt: skip

    def generate(
        self, level: int, count: int, seed: int, split: Split = "train", styles: Mapping[str, float] | None = None
    ) -> list[Item]:
        """Return `count` items of one partition; the styles of other skills take no part.

        Raises BadInput for a level, split or count that does not exist, Corrupt when the task fails.
        """
        self._check_level(level)
        check_call(split, count)
        avoid = frozenset() if split == "train" else frozenset(item.key for item in self._static(level))
        return list(islice(_Stream(self, level, split, seed, avoid), count))

    def static_eval(self, level: int, style: str | None = None) -> list[Item]:
        """Return the five fixed eval items of a level; there is one answer style, others take no part."""
        self._check_level(level)
        return list(self._static(level))

    def score(self, item: Item, text: object) -> Score:
        """Judge a reply: the answer in it has full marks of the task's own scorer, or none; never raises."""
        entry = self._entry_of(item)
        if entry is None:
            return Score(0, 0.0, "", None, "the prompt is not the question of its id", {"prompt_ok": False})
        answer = answer_in(text, self.gym.whole) if isinstance(text, str) else ""
        if not answer:
            return Score(0, 0.0, entry.answer, None, "no answer")
        if self.gym.exact and answer.split() != entry.answer.split():
            return Score(0, 0.0, entry.answer, answer[:2000], "not the answer")
        verdict = self.task.score(item.level, entry, answer)
        strict = int(verdict.value == 1.0 and verdict.error is None)
        parts = {"verifier_error": verdict.error} if verdict.error else {"raw": verdict.value}
        reason = "right" if strict else verdict.error or "not the answer"
        return Score(strict, verdict.value if not verdict.error else 0.0, entry.answer, answer[:2000], reason, parts)

    def solve(self, item: Item) -> str:
        """Return the answer the task gives; raises ValueError when the prompt is not the question of its id."""
        entry = self._entry_of(item)
        if entry is None:
            raise ValueError("the prompt is not the question of its id")
        return entry.answer

    def canonical_key(self, item: Item) -> str:
        """Return the key of a prompt; raises ValueError when it is not of this skill."""
        found = read_prompt(item.user_prompt)
        if found is None or found[0] != self.config.id:
            raise ValueError("the prompt is not of this skill")
        return key_of(self.config.id, item.level, found[1])

    def item(self, level: int, number: int, split: str, repeat: bool = False) -> Item:
        """Return question `number` of a level as an item."""
        skill, entry = self.config.id, self.task.entry(level, number)
        return Item(
            id=f"{skill}-L{level}-{number}", skill=skill, version=self.info.version, level=level, split=split,
            user_prompt=write_prompt(skill, entry.question, self.gym.answer), assistant_response=entry.answer,
            key=key_of(skill, level, entry.question), tags=(self.gym.task, *(("repeat",) if repeat else ())),
        )  # fmt: skip

    def _entry_of(self, item: Item) -> Entry | None:
        found, named = read_prompt(item.user_prompt), _ID.search(item.id)
        if found is None or found[0] != self.config.id or named is None or int(named[1]) != item.level:
            return None
        if not 1 <= item.level <= len(self.gym.levels) or int(named[2]) >= NUMBERS:
            return None
        try:
            entry = self.task.entry(item.level, int(named[2]))
        except Corrupt:
            return None
        return entry if entry.question == found[1] else None

    def _draw_static(self, level: int) -> tuple[Item, ...]:
        seed = derive_seed(self.config.id, "static-eval", level)
        return tuple(islice(_Stream(self, level, "eval", seed, frozenset()), STATIC_COUNT))

    def _check_level(self, level: int) -> None:
        if not 1 <= level <= len(self.gym.levels):
            raise BadInput(f"{self.config.id} has no level {level}", hint=f"levels 1 to {len(self.gym.levels)}")


@dataclass(slots=True)
class _Stream:
    """The items of one call; item i is a function of the call's address and i, but for questions given before."""

    skill: GymSkill
    level: int
    split: str
    seed: int
    avoid: frozenset[str]
    seen: set[str] = field(default_factory=set)

    def __iter__(self) -> Iterator[Item]:
        return map(self._next, count())

    def _next(self, index: int) -> Item:
        skill, wanted, known = self.skill, "train" if self.split == "train" else "eval", 0
        rng = Random(derive_seed("gym", skill.config.id, self.level, self.split, self.seed, index))
        for _ in range(_MOST_ATTEMPTS):
            number = rng.randrange(NUMBERS)
            question = skill.task.entry(self.level, number).question
            if partition(skill.config.id, question) != wanted:
                continue
            key = key_of(skill.config.id, self.level, question)
            if key in self.avoid:
                continue
            repeat = key in self.seen
            if repeat and (known := known + 1) < _PATIENCE:
                continue
            self.seen.add(key)
            return skill.item(self.level, number, self.split, repeat)
        raise BadInput(f"{skill.config.id} level {self.level} has no {wanted} question left", hint="ask for another level")
