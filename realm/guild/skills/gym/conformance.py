"""What a task of reasoning-gym has to show before it becomes a skill; what fails is quarantined with the reason.

Golden answers score 1; empty, foreign and prefixed or prolonged ones 0; constants and a neighbour's answer nearly never;
the same seed gives the same items in another process; no question is in both partitions; each level takes its settings. A
task that is not done with all of this in time is quarantined too: as a skill it would keep quests and evals waiting.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time
from typing import Any

from realm.core.clock import SYSTEM, Clock
from realm.core.errors import RealmError
from realm.guild.skills.config import Gym, SkillConfig
from realm.guild.skills.gym.skill import GymSkill
from realm.guild.skills.gym.task import Entry, Task, Verdict
from realm.guild.skills.types import Item

ITEMS, DISTINCT, PARTED, FINGERPRINTED = 50, 200, 100, 20
MOST_LUCKY = 0.10  # share of items that a constant or the neighbour's answer may get right
LEAST_RATE = 50.0  # items a second of processor time
CHECK_S = 120.0  # of the whole test
CONSTANTS = ("0", "1", "2", "-1", "Yes", "True", "A", "[]")
NEVER: dict[str, Callable[[Item], str]] = {
    "an empty reply": lambda _: "",
    "a word": lambda _: "banana",
    "all digits": lambda _: "0123456789",
    "10 kB of garbage": lambda _: "qZ7 " * 2500,
    "the prompt": lambda item: item.user_prompt,
    "the question": lambda item: "\n".join(item.user_prompt.split("\n")[1:-1]),
    "the golden answer and a word": lambda item: f"{item.assistant_response} banana",
    "a word and the golden answer": lambda item: f"banana {item.assistant_response}",
    "the golden answer twice": lambda item: f"{item.assistant_response} {item.assistant_response}",
    "the golden answer and 0": lambda item: f"{item.assistant_response}0",
}  # fmt: skip


@dataclass
class Report:
    """What was found: nothing in `problems` means the skill may be enabled; `numbers` by level."""

    problems: list[str] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not self.problems


class _OutOfTime(Exception):
    """The time of a test is over."""


class _TimedTask(Task):
    """A task that is asked nothing more once the time is over."""

    def __init__(self, table: Gym, left: Callable[[], float]) -> None:
        super().__init__(table)
        self._left = left

    def entry(self, level: int, number: int) -> Entry:
        self._look()
        return super().entry(level, number)

    def score(self, level: int, entry: Entry, answer: str) -> Verdict:
        self._look()
        return super().score(level, entry, answer)

    def _look(self) -> None:
        if self._left() <= 0:
            raise _OutOfTime


def check(
    config: SkillConfig, source: Path | None = None, *, seconds: float = CHECK_S, clock: Clock = SYSTEM
) -> Report:
    """Run the whole test; with `source` (the YAML) also in a second process. Raises nothing that a task can cause.

    What is not done after `seconds` of the clock is a problem like any other.
    """
    report, end, at = Report(), clock.monotonic() + seconds, "its settings"

    def left() -> float:
        return end - clock.monotonic()

    try:
        skill = GymSkill(config, lambda table: _TimedTask(table, left))
        for level in range(1, config.max_level + 1):
            at = f"level {level} of {config.max_level}"
            report.problems += [f"level {level}: {text}" for text in _level(skill, level, report.numbers)]
        report.problems += _steps(skill)
        at = "the items of a second process"
        if source is not None and report.passed:
            report.problems += _other_process(skill, source, left())
    except (_OutOfTime, subprocess.TimeoutExpired):
        report.problems.append(f"the test takes more than {seconds:.0f} s: it was at {at}; fewer levels take less")
    except RealmError as error:
        report.problems.append(error.message)
    return report


def _level(skill: GymSkill, level: int, numbers: dict[str, Any]) -> Iterator[str]:
    drawn = {skill.task.entry(level, number).question for number in range(0, 5 * DISTINCT)}
    if len(drawn) < DISTINCT:
        yield f"{len(drawn)} different questions among {5 * DISTINCT}, {DISTINCT} are needed"
        return
    started = process_time()
    items = skill.generate(level, DISTINCT, 1)
    rate = len(items) / max(1e-6, process_time() - started)
    different = len({item.key for item in items})
    if different < DISTINCT:
        yield f"{different} different questions among {DISTINCT}"
    if rate < LEAST_RATE:
        yield f"{rate:.0f} items/s, {LEAST_RATE:.0f} are needed"
    if items != [Item.from_sample(json.loads(json.dumps(item.sample()))) for item in items]:
        yield "items change when they are written as JSON"
    lucky = _most_lucky(skill, items)
    numbers[str(level)] = {"items_per_s": round(rate), "lucky": lucky[0], "of": len(items)}
    if lucky[0] > MOST_LUCKY * len(items):
        yield f"{lucky[1]} is right on {lucky[0]} of {len(items)}"
    items = items[:ITEMS]
    wrong = [item for item in items if skill.score(item, item.assistant_response).strict != 1]
    if wrong:
        yield f"the golden answer scores 0 on {len(wrong)} of {len(items)}, the first: {wrong[0].assistant_response[:60]!r}"
    yield from _credited(skill, items)
    parted = {item.user_prompt for item in skill.generate(level, PARTED, 2)}
    shared = parted & {item.user_prompt for item in [*skill.generate(level, PARTED, 3, "eval"), *skill.static_eval(level)]}
    if shared:
        yield f"{len(shared)} questions are in both partitions"


def _credited(skill: GymSkill, items: list[Item]) -> Iterator[str]:
    for name, reply in NEVER.items():
        found = [skill.score(item, reply(item)) for item in items if not _same_number(reply(item), item.assistant_response)]
        right = sum(score.strict for score in found)
        broken = next((score.parts["verifier_error"] for score in found if "verifier_error" in score.parts), None)
        if right:
            yield f"{name} scores 1 on {right} of {len(items)}"
        if broken:
            yield f"the scorer raises on {name}: {broken}"


def _same_number(one: str, other: str) -> bool:
    """Say whether two texts are the same number: 00 is a way to write 0."""
    try:
        return float(one) == float(other)
    except ValueError:
        return False


def _most_lucky(skill: GymSkill, items: list[Item]) -> tuple[int, str]:
    """Return how often the best of the blind replies is right, and which that is."""
    neighbours = [*items[1:], items[0]]
    counts = {"a neighbour's answer": sum(
        skill.score(item, other.assistant_response).strict for item, other in zip(items, neighbours, strict=True)
    )}  # fmt: skip
    for text in CONSTANTS:
        counts[f"the constant {text!r}"] = sum(skill.score(item, text).strict for item in items)
    best = max(counts, key=lambda name: counts[name])
    return counts[best], best


def _steps(skill: GymSkill) -> Iterator[str]:
    levels = skill.gym.levels
    for number in range(1, len(levels)):
        if levels[number] == levels[number - 1]:
            yield f"levels {number} and {number + 1} have the same settings"


def fingerprint(skill: GymSkill) -> str:
    """Return a digest of items of every level, equal in every process."""
    found = hashlib.sha256()
    for level in range(1, skill.config.max_level + 1):
        for item in [*skill.generate(level, FINGERPRINTED, 7), *skill.static_eval(level)]:
            found.update(item.sha256().encode())
    return found.hexdigest()


def _other_process(skill: GymSkill, source: Path, seconds: float) -> Iterator[str]:
    words = [sys.executable, "-m", "realm.guild.skills.gym.fingerprint", str(source)]
    env = {**os.environ, "PYTHONHASHSEED": "4242", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    found = subprocess.run(words, capture_output=True, text=True, timeout=max(0.0, seconds), env=env)
    if found.returncode != 0:
        yield f"a second process failed: {found.stderr.strip().splitlines()[-1:]}"
    elif found.stdout.strip() != fingerprint(skill):
        yield "the same seed gives other items in another process"
