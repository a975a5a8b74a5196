"""How long a hero made from nothing trains until it masters BIN levels: training seconds, steps, held-out accuracy.

    .venv/bin/python bench/learn_bin.py [--quick] [--json FILE] [--seed N] [--seeds K] [--threads 1] [--levels 3]

Training rows come from the train partition in the preset's level mix and answer styles, tests from the eval partition:
greedy answers under the served weights, judged by the skill's scorer. A level is mastered after three tests in a row on
different weights with at least 16 of 20 fresh items. Seconds are CPU time of the optimiser steps alone, without
generation of data and tests; wall clock is given beside it.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from realm.arena.formation.batching import plan_batches  # noqa: E402
from realm.arena.formation.rows import EncodedRow, form_quest  # noqa: E402
from realm.arena.stepper import Stepper, fix_numerics  # noqa: E402
from realm.armory.hero_loading import LoadedHero, load_hero  # noqa: E402
from realm.armory.hero_presets import HeroPreset, get_preset  # noqa: E402
from realm.armory.template import ChatTemplate  # noqa: E402
from realm.armory.tiny_hero import make_tiny_hero  # noqa: E402
from realm.core.seeds import derive_seed  # noqa: E402
from realm.guild.skills.bin.skill import SKILL  # noqa: E402
from realm.guild.skills.types import Item  # noqa: E402
from realm.oracle.generate import PlainDecoder, generate  # noqa: E402

QUEST_ROWS = 1600
TEST_EVERY_ROWS = 800  # a checkpoint and its test
GATE_ITEMS, GATE_PASS, GATE_STREAK = 20, 16, 3
HELD_OUT = 100
MARKS = (0.8, 0.9, 0.95)
GOALS = {1: 40.0, 3: 240.0}  # seconds of training on one thread until the level is mastered
TOKENIZER_LEVELS = range(1, 13)


@dataclass
class Course:
    """State of one run: the level in training, the streak of passed tests and when each mark was reached."""

    seed: int
    level: int = 1
    streak: int = 0
    steps: int = 0
    wall: float = 0.0
    cpu: float = 0.0
    tokens: int = 0
    tests: int = 0
    reached: dict[str, dict[str, float]] = field(default_factory=dict)

    def mark(self, name: str) -> None:
        """Remember the first time `name` was reached."""
        self.reached.setdefault(name, {"steps": self.steps, "wall_s": round(self.wall, 1), "cpu_s": round(self.cpu, 1)})


def draw(preset: HeroPreset, level: int, count: int, split: str, *address: str | int) -> list[Item]:
    """Draw items of a level in the preset's answer styles."""
    seed = derive_seed("learn_bin", level, split, *address) % 2**63
    return SKILL.generate(level, count, seed, split, dict(preset.styles))  # type: ignore[arg-type]


def messages(items: Sequence[Item]) -> list[Any]:
    """Turn items into rows of messages."""
    return [
        [{"role": "user", "content": i.user_prompt}, {"role": "assistant", "content": i.assistant_response}]
        for i in items
    ]


def sample_texts(preset: HeroPreset, seed: int) -> list[str]:
    """Texts that the tokenizer is trained on: prompts and answers of many levels."""
    items = [item for level in TOKENIZER_LEVELS for item in draw(preset, level, 150, "train", "tokenizer", seed)]
    return [text for item in items for text in (item.user_prompt, item.assistant_response)]


def level_counts(preset: HeroPreset, level: int, rows: int) -> dict[int, int]:
    """Deal a quest's rows to levels by the preset's mix; at level 1 the lower share goes to the level itself."""
    mix, lower = preset.level_mix, list(range(1, level))
    counts = {level: round(rows * (mix.frontier + (0 if lower else mix.lower)))}
    for other in lower:
        counts[other] = round(rows * mix.lower / len(lower))
    for other in (level + 1, level + 2):
        counts[other] = round(rows * mix.ahead / 2)
    return counts


def quest(preset: HeroPreset, template: ChatTemplate, course: Course, number: int) -> list[EncodedRow]:
    """Generate and encode one quest."""
    items: list[Item] = []
    for level, count in level_counts(preset, course.level, QUEST_ROWS).items():
        items += draw(preset, level, count, "train", course.seed, number)
    return form_quest(messages(items), template, preset.training.max_length).rows


def right(stepper: Stepper, hero: LoadedHero, items: Sequence[Item]) -> int:
    """Count items answered right by greedy generation with the served weights, judged by the skill's scorer."""
    weights = dict(stepper.state_tensors()[0])
    template = hero.template
    prompts = [
        row.ids for row in template.render_many([one[:1] for one in messages(items)], add_generation_prompt=True)
    ]
    longest = max(len(ids) for ids in template.encode_contents([item.assistant_response for item in items]))
    decoder = PlainDecoder(hero.config, weights, "cpu", torch.float32)
    found = generate(decoder, prompts, max_new_tokens=longest + 16, stop_ids=frozenset((template.end_id,)))
    texts = [template.decode(one.ids) for one in found]
    return sum(SKILL.score(item, text).strict for item, text in zip(items, texts, strict=True))


def test(preset: HeroPreset, hero: LoadedHero, stepper: Stepper, course: Course, held: Sequence[Item]) -> bool:
    """Test the present weights; returns True when the level is mastered by this test."""
    course.tests += 1
    fresh = draw(preset, course.level, GATE_ITEMS, "gate", course.seed, course.tests)
    passed = right(stepper, hero, fresh)
    course.streak = course.streak + 1 if passed >= GATE_PASS else 0
    share = right(stepper, hero, held) / len(held)
    for threshold in MARKS:
        if share >= threshold:
            course.mark(f"L{course.level} >= {threshold:.0%}")
    where = f"seed {course.seed} L{course.level} step {course.steps} {course.cpu:.1f} s"
    print(f"{where}: {passed}/20, held-out {share:.1%}", file=sys.stderr)
    return course.streak >= GATE_STREAK


def run(preset: HeroPreset, seed: int, levels: int, limit: float) -> Course:
    """Train from nothing until `levels` are mastered or `limit` CPU seconds of training are spent."""
    with tempfile.TemporaryDirectory() as folder:
        hero = load_hero(make_tiny_hero(preset, sample_texts(preset, 0), seed, Path(folder) / "hero"))
    stepper = Stepper(hero.model, preset.training, hero.template.pad_id)
    course, number = Course(seed), 0
    every = max(1, TEST_EVERY_ROWS // preset.training.rows_per_step)
    held = draw(preset, course.level, HELD_OUT, "eval", "held")
    while course.level <= levels and course.cpu < limit:
        number += 1
        rows = quest(preset, hero.template, course, number)
        for step in plan_batches([len(row) for row in rows], preset.training.rows_per_step, derive_seed(seed, number)):
            wall, cpu = time.perf_counter(), time.process_time()
            course.tokens += stepper.step([rows[n] for n in step]).total_tokens
            course.wall += time.perf_counter() - wall
            course.cpu += time.process_time() - cpu
            course.steps += 1
            if course.steps % every == 0 and test(preset, hero, stepper, course, held):
                course.mark(f"L{course.level} mastered")
                course.level, course.streak = course.level + 1, 0
                held = draw(preset, course.level, HELD_OUT, "eval", "held")
                break
    return course


def merged(table: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return a preset's table with nested keys replaced."""
    return table | {
        key: merged(table[key], value)
        if isinstance(value, dict) and isinstance(table.get(key), dict) and key != "styles"
        else value
        for key, value in change.items()
    }


def report(courses: Sequence[Course], threads: int) -> dict[str, Any]:
    """Return the JSON of the bench: one row per mark, worst seed first shown as `ours`."""
    names = list(dict.fromkeys(name for course in courses for name in course.reached))
    rows = []
    for name in names:
        seconds = [course.reached[name]["cpu_s"] for course in courses if name in course.reached]
        goal = GOALS.get(int(name[1 : name.index(" ")])) if name.endswith("mastered") else None
        ratio = round(goal / max(seconds), 2) if goal else None
        row = {"work": f"bin {name}", "peer": "goal", "ours": max(seconds), "theirs": goal, "ratio": ratio, "unit": "s"}
        rows.append(row | {"rounds": len(seconds), "each": seconds})
    machine = {
        "processor": platform.processor() or platform.machine(),
        "system": platform.platform(),
        "threads": threads,
    }
    versions = {name: version(name) for name in ("torch", "transformers", "tokenizers")} | {
        "python": platform.python_version()
    }
    runs = [{"seed": c.seed, "steps": c.steps, "ms_per_step": round(c.cpu / c.steps * 1e3, 1),
             "tokens_per_s": round(c.tokens / c.cpu), "reached": c.reached} for c in courses]  # fmt: skip
    return {"machine": machine, "versions": versions, "rows": rows, "runs": runs}


def main() -> None:
    """Run the bench and print its JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, level 1 only")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--seeds", type=int, default=2, help="number of seeds")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--levels", type=int, default=3, help="stop when this level is mastered")
    parser.add_argument("--limit", type=float, default=300, help="CPU seconds of training per seed")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--set", type=json.loads, default={}, help="JSON of preset keys to change")
    asked = parser.parse_args()
    fix_numerics(asked.threads)
    preset = HeroPreset.model_validate(merged(get_preset(asked.preset).model_dump(), asked.set))
    seeds = range(asked.seed, asked.seed + (1 if asked.quick else asked.seeds))
    result = report(
        [run(preset, seed, 1 if asked.quick else asked.levels, asked.limit) for seed in seeds], asked.threads
    )
    text = json.dumps(result, indent=1)
    if asked.json:
        asked.json.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
