"""What a school asks and what an answer is worth: problems of one level, rewards, and whether there is anything to learn.

Training problems come from the train partition alone; a problem of the eval partition among them ends the school. The
exams before and after are held on the eval partition, which nothing is ever trained on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from realm.core.errors import BadInput, Conflict, Corrupt
from realm.core.seeds import derive_seed
from realm.guild.skill_client import Grade, Sample, SkillSource
from realm.guild.skills.split import split_of

FORMAT_REWARD = 0.1  # for an answer that can be read, right or wrong
LEAST_RIGHT, MOST_RIGHT = 0.2, 0.9
CHUNK = 200  # problems a request
DRAWN = 15  # problems of an exam drawn together, as evals do: a low level soon runs out of short ones
SPARE_TOKENS = 16  # beyond the longest golden answer


@dataclass(frozen=True)
class Course:
    """What a school is to do: `steps` optimiser steps, each over `samples` answers to each of `groups` problems.

    `rate` is a factor on the hero's learning rate; `asked` problems are asked at the entrance and in each exam.
    """

    skill: str
    level: int
    steps: int = 100
    seed: int = 0
    groups: int = 8
    samples: int = 8
    temperature: float = 1.0
    rate: float = 0.05
    asked: int = 200

    @property
    def title(self) -> str:
        """The course in words, as the ledger tells it."""
        return f"champion, {self.skill} level {self.level}, {self.steps} steps of GRPO"


@dataclass(frozen=True)
class Marks:
    """How a number of answers was graded."""

    asked: int
    right: int
    reward: float  # mean

    def text(self) -> str:
        return f"{self.right} of {self.asked} right ({self.right / self.asked:.1%}), mean reward {self.reward:.3f}"


@dataclass(frozen=True)
class Report:
    """What a school did. A group is the answers to one problem; a flat one has no spread of rewards and teaches nothing.

    `entrance` are sampled answers to training problems before, `before` and `after` greedy ones to held-out problems.
    """

    course: Course
    entrance: Marks
    before: Marks
    after: Marks
    rewards: tuple[float, ...]  # the mean of each step
    flat: int
    tokens: int
    seconds: float
    checkpoint: str

    @property
    def groups(self) -> int:
        return self.course.groups * self.course.steps

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "groups": self.groups}


def format_ok(grade: Grade) -> bool:
    """Say whether an answer could be read: the skill's own word for it, else whether it found an answer in the text."""
    return bool(grade.parts.get("format_ok", grade.parsed is not None))


def rewards_of(grades: Sequence[Grade]) -> list[float]:
    """Return 1 for a right answer plus 0.1 for the right format; raises Corrupt when the skill cannot grade its own problem."""
    broken = next((grade.error for grade in grades if grade.error is not None), None)
    if broken is not None:
        raise Corrupt(f"the skill cannot grade its own problem: {broken}", hint="nothing was saved")
    return [float(grade.correct) + FORMAT_REWARD * format_ok(grade) for grade in grades]


def flat_groups(rewards: Sequence[float], samples: int) -> int:
    """Return how many groups of `samples` rewards have no spread."""
    groups = [rewards[start : start + samples] for start in range(0, len(rewards), samples)]
    return sum(max(group) - min(group) < 1e-9 for group in groups)


def refuse_not_finite(rewards: Sequence[float]) -> None:
    """Raise Corrupt for a reward that is no number: nothing may be learnt from it."""
    if not all(math.isfinite(reward) for reward in rewards):
        raise Corrupt("a reward is not a finite number", hint="nothing was saved; the skill's scorer is at fault")


def refuse_unfit(marks: Marks, course: Course) -> None:
    """Raise Conflict when a hero solves too little of a level to find right answers, or too much to find wrong ones."""
    share = marks.right / marks.asked
    found = (f"the newest checkpoint solves {marks.right} of {marks.asked} training problems of {course.skill} level"
             f" {course.level} ({share:.0%}, answers drawn at temperature {course.temperature:g})")  # fmt: skip
    if share < LEAST_RIGHT:
        raise Conflict(f"{found}; the champion school needs {LEAST_RIGHT:.0%}",
                       hint="right answers are too rare to learn from: train the level first, realm arena train")  # fmt: skip
    if share > MOST_RIGHT:
        raise Conflict(f"{found}; above {MOST_RIGHT:.0%} most groups are right as a whole and teach nothing",
                       hint="name a higher level with --level")  # fmt: skip


class Lessons:
    """The problems of one level, by purpose, seed and the step the school begins at: the same of these draws the same ones."""

    def __init__(
        self, source: SkillSource, course: Course, styles: Mapping[str, float] | None = None, step: int = 0,
        examined: Mapping[str, float] | None = None,
    ) -> None:  # fmt: skip
        if not 1 <= course.level <= source.max_level:
            raise BadInput(f"{source.skill} has levels 1 to {source.max_level}, not {course.level}")
        self.source, self.course, self.step = source, course, step
        self.styles = {"train": styles, "eval": examined}

    def training(self, purpose: str, count: int) -> list[Sample]:
        """Return problems of the train partition."""
        return self._draw(purpose, count, "train")

    def held_out(self, count: int) -> list[Sample]:
        """Return problems of the eval partition for the exams, in the answer style that evals ask."""
        return self._draw("exam", count, "eval")

    def _draw(self, purpose: str, count: int, split: str) -> list[Sample]:
        found: list[Sample] = []
        skill, level = self.course.skill, self.course.level
        most = DRAWN if split == "eval" else CHUNK
        while len(found) < count:
            seed = derive_seed("school", skill, level, self.step, self.course.seed, purpose, len(found))
            part = self.source.generate(level, min(most, count - len(found)), seed, split, self.styles[split])
            if not part:
                raise Corrupt(f"{skill} gave no problems of level {level}")
            wrong = [item for item in part if split_of(skill, level, str(item["key"])) != split]
            if wrong:
                raise Corrupt(f"{skill} gave a problem of the other partition where {split} problems were asked for")
            found += part
        return found

    def reward(self, items: Sequence[Sample], answers: Sequence[str]) -> list[float]:
        """Return the reward of each answer; raises Corrupt when an answer cannot be graded."""
        found = rewards_of(self.source.grade(items, answers))
        refuse_not_finite(found)
        return found

    def marks(self, items: Sequence[Sample], answer: Callable[[Sequence[Sample]], Sequence[str]]) -> Marks:
        """Ask problems and grade the answers."""
        grades = self.source.grade(items, answer(items))
        rewards = rewards_of(grades)
        refuse_not_finite(rewards)
        return Marks(len(items), sum(grade.correct for grade in grades), sum(rewards) / len(rewards))
