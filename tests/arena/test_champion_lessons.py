"""The champion school with TRL for real: rewards rise, and a hero goes through it from battle to battle."""

from __future__ import annotations

import random
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import pytest
from fight_kit import no_evals, put_rows
from quest_files import configure, digests
from test_battle import twin

from realm.arena.battle import enter, fight, leave
from realm.arena.champion_school import Pupil, Taught, hold, teach_by_trl, tokenizer_of
from realm.arena.school_lessons import Course
from realm.core.daemon import StopFlag
from realm.core.paths import Paths
from realm.guild.skill_client import Sample, training_row
from realm.guild.skills.inside import SkillInside
from realm.vault import ledger

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(find_spec("trl") is None, reason="the extra [schools] is not installed"),
]
ONE = "①"


def ones(_items: Any, answers: list[str]) -> list[float]:
    """The share of circled ones among the characters of an answer."""
    return [answer.count(ONE) / max(1, len(answer)) for answer in answers]


def write_digits(paths: Paths) -> None:
    """Teach the hero to answer with four to eight circled digits, and to end; which ones is left to chance."""
    draw = random.Random(0)
    told = [{"messages": [{"role": "user", "content": f"Compute: add({number})"},
                          {"role": "assistant", "content": "".join(draw.choice("⓪①") for _ in range(draw.randint(4, 8)))}]}
            for number in range(160)]  # fmt: skip
    put_rows(paths, "digits.jsonl", told)
    arena = enter(paths, no_evals)
    try:
        fight(arena, StopFlag(), until_idle=True)
    finally:
        leave(arena)


def taught_ones(paths: Paths, steps: int) -> tuple[Taught, dict[str, Any], int]:
    arena = enter(paths, no_evals)
    try:
        items: list[Sample] = [{"user_prompt": f"Compute: add({n})"} for n in range(4 * steps)]
        pupil = Pupil(arena.stepper.model, arena.template, None, 12)
        course = Course("bin", 1, steps=steps, groups=4, samples=8, rate=0.25)
        taught = teach_by_trl(arena.stepper, pupil, tokenizer_of(arena), items, course, ones, lambda step: None)
        return taught, arena.stepper.state_tensors()[0], arena.step
    finally:
        leave(arena)


def test_the_mean_reward_rises_and_the_same_seed_gives_the_same_weights(home: Paths) -> None:
    write_digits(home)
    other = twin(home)
    taught, weights, step = taught_ones(home, 15)
    rewards = taught.rewards
    assert (len(rewards), step) == (15, 40 + 15)
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.1, rewards
    assert taught.answers == 15 * 32
    assert taught.tokens > taught.trained >= 0
    again, same, _ = taught_ones(other, 15)
    assert again.rewards == rewards
    assert all(bool((weights[name] == same[name]).all()) for name in weights)


class Few(SkillInside):
    """BIN level 1 with thirty training problems, which a small hero learns in seconds."""

    def generate(
        self, level: int, count: int, seed: int, split: str, styles: Mapping[str, float] | None = None
    ) -> list[Sample]:
        if split != "train":
            return super().generate(level, count, seed, split, styles)
        return random.Random(seed).choices(super().generate(level, 30, 0, "train", {"brief": 1.0}), k=count)


def battle(paths: Paths, name: str, steps: int, seed: int) -> int:
    put_rows(paths, name, [training_row(item) for item in Few("bin").generate(1, 24 * steps, seed, "train")])
    arena = enter(paths, no_evals)
    try:
        fight(arena, StopFlag(), until_idle=True)
        return arena.step
    finally:
        leave(arena)


def test_a_hero_goes_through_the_school_from_battle_to_battle(home: Paths) -> None:
    configure(home, training={"batch_size": 24})
    assert battle(home, "a.jsonl", 200, 1) == 200
    arena = enter(home, no_evals)
    try:
        course = Course("bin", 1, steps=60, seed=3, asked=100, rate=0.25)
        report = hold(arena, course, Few("bin"), {"brief": 1.0}, StopFlag())
    finally:
        leave(arena)
    assert 0.2 <= report.entrance.right / report.entrance.asked <= 0.9
    assert sum(report.rewards[-20:]) > sum(report.rewards[:20]), report.rewards
    assert 0 <= report.flat < report.groups == 480
    folder = home.current_model / report.checkpoint
    record = ledger.read_record(folder / ledger.SIDECAR)
    assert (record.step, record.by_school, record.tokens > report.tokens > 0) == (260, True, True)
    assert digests(folder)["model.safetensors"] != digests(folder)["raw.safetensors"]
    other = twin(home)
    assert [battle(paths, "b.jsonl", 10, 2) for paths in (home, other)] == [270, 270]
    ends = [digests(ledger.folders(paths)[-1]) for paths in (home, other)]
    assert ends[0] == ends[1]
