"""A skill that ships with the realm as a source of problems, in process: no server has to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from realm.guild.skill_client import Grade, Sample
from realm.guild.skills.builtin import builtin_skill
from realm.guild.skills.types import Item, Split


class SkillInside:
    """What `SkillClient` is over HTTP, for a built-in skill; raises Unknown for any other."""

    def __init__(self, skill: str) -> None:
        self.skill, self._skill = skill, builtin_skill(skill)
        self.max_level = self._skill.info.max_level

    def version(self) -> str:
        return self._skill.info.version

    def static_items(self, level: int, style: str | None = None) -> list[Sample]:
        return [item.sample() for item in self._skill.static_eval(level, style)]

    def generate(
        self, level: int, count: int, seed: int, split: str, styles: Mapping[str, float] | None = None
    ) -> list[Sample]:
        return [item.sample() for item in self._skill.generate(level, count, seed, cast("Split", split), styles)]

    def grade(self, items: Sequence[Sample], answers: Sequence[str]) -> list[Grade]:
        scores = [self._skill.score(Item.from_sample(item), answer) for item, answer in zip(items, answers, strict=True)]
        return [Grade(one.strict == 1, one.expected, one.parsed, one.reason, one.partial, one.parts) for one in scores]
