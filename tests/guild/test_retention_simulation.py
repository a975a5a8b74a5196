"""A toy student on a ladder of twelve levels, to hold the level mix against: it learns by share, and forgets.

Its assumptions (a level builds on the one below, neighbours help, what is not seen fades) choose shapes, not numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from realm.guild.level_mix import Probed, level_mix

LEVELS = 12
RATE, TRANSFER, FADE = 0.9, 0.25, 0.012
Mix = Callable[[int, Mapping[int, Probed]], Mapping[int, float]]


class Student:
    """Accuracy by level, moved by one quest at a time."""

    def __init__(self) -> None:
        self.accuracy = dict.fromkeys(range(1, LEVELS + 1), 0.0)

    def train(self, mix: Mapping[int, float]) -> None:
        before = dict(self.accuracy)
        for level, known in before.items():
            helped = mix.get(level, 0.0) + TRANSFER * (mix.get(level - 1, 0.0) + mix.get(level + 1, 0.0))
            base = before.get(level - 1, 1.0)
            gain = RATE * helped * base * (1 - known)
            self.accuracy[level] = min(1.0, max(0.0, known + gain - FADE * known / (1 + 20 * helped)))


def climb(mix: Mix, quests: int) -> tuple[int, float]:
    """Return (levels mastered, share of them still at 0.75 or more) after a number of quests, probed every fifth."""
    student, mastered, probes = Student(), 0, {}
    for quest in range(quests):
        student.train(mix(min(mastered + 1, LEVELS), probes))
        if mastered < LEVELS and student.accuracy[mastered + 1] >= 0.85:
            mastered += 1
        if quest % 5 == 0:
            probes = {level: Probed(student.accuracy[level]) for level in range(1, mastered + 1)}
    kept = sum(student.accuracy[level] >= 0.75 for level in range(1, mastered + 1))
    return mastered, kept / max(1, mastered)


def tiny(level: int, probes: Mapping[int, Probed]) -> Mapping[int, float]:
    return level_mix({"frontier": 0.5, "lower": 0.2, "ahead": 0.3}, level, LEVELS, probes)


def blind(level: int, _probes: Mapping[int, Probed]) -> Mapping[int, float]:
    return tiny(level, {})


def frontier_only(level: int, _probes: Mapping[int, Probed]) -> Mapping[int, float]:
    return {level: 1.0}


def uniform(_level: int, _probes: Mapping[int, Probed]) -> Mapping[int, float]:
    return dict.fromkeys(range(1, LEVELS + 1), 1 / LEVELS)


def quests_to_the_top(mix: Mix) -> int:
    return next(quests for quests in range(1, 2000) if climb(mix, quests)[0] == LEVELS)


def test_the_mix_reaches_the_top_sooner_than_uniform_rows() -> None:
    assert quests_to_the_top(tiny) < quests_to_the_top(uniform)


def test_mastered_levels_are_kept_where_frontier_only_forgets() -> None:
    top, held = climb(tiny, 400)
    assert (top, held >= 0.9) == (LEVELS, True)
    mastered, kept = climb(frontier_only, 400)
    assert mastered == LEVELS
    assert kept < 0.5


def test_probes_lift_the_weakest_mastered_level() -> None:
    def weakest(mix: Mix) -> float:
        student, probes = Student(), {}
        student.accuracy.update(dict.fromkeys(range(1, 9), 0.9))
        student.accuracy[3] = 0.3
        for _ in range(15):
            student.train(mix(9, probes))
            probes = {level: Probed(student.accuracy[level]) for level in range(1, 9)}
        return student.accuracy[3]

    assert weakest(tiny) > weakest(blind) + 0.05
