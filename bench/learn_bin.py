"""How long a hero made from nothing trains until it masters BIN levels, and what it still knows then.

    .venv/bin/python bench/learn_bin.py [--quick] [--json FILE] [--seeds K] [--levels 6] [--compare]

Quests, level mix, tokenizer and gate are the product's own: `level_mix`, the preset, five static and fifteen fresh problems
for each eval, three evals in the window, the probes of mastered levels. Answers are greedy under the served weights; brief
ones are checked token by token against the golden one, which is what generation gives, unless `--generate` is asked for.
Steps and tokens do not depend on the machine. `cpu_s` is CPU time of the optimiser steps alone.

`--compare` trains each seed twice with the same number of tokens, on the ladder (the mix moves up with the hero) and
uniformly (every level of the ladder alike, from the first step), and reports both whatever comes out.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
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
from realm.armory.tiny_hero import make_tiny_hero  # noqa: E402
from realm.core.seeds import derive_seed  # noqa: E402
from realm.gate.founding import answer_styles, call_names, skill_texts  # noqa: E402
from realm.guild.gate import EvalCount, GateExtras, GateRules, ProbeCount, Standing, gate_rules, judge  # noqa: E402
from realm.guild.gate import probe_plan as levels_to_probe  # noqa: E402
from realm.guild.level_mix import level_mix, rows_by_level  # noqa: E402
from realm.guild.skills.bin.levels import LAST  # noqa: E402
from realm.guild.skills.bin.skill import SKILL  # noqa: E402
from realm.guild.skills.loader import get_skill  # noqa: E402
from realm.guild.skills.types import Item  # noqa: E402
from realm.oracle.generate import PlainDecoder, generate  # noqa: E402

HELD_OUT, RETAINED, RETENTION_AFTER = 100, 200, 3
GOALS = {1: 60.0, 3: 300.0, 6: 480.0}  # seconds with everything running on two cores
LENGTH = 512


@dataclass
class Course:
    """One run: the ladder or uniform, how far it is, and what was seen on the way."""

    hero: LoadedHero
    stepper: Stepper
    preset: HeroPreset
    rules: GateRules
    seed: int
    levels: int
    uniform: bool = False
    by_generation: bool = False
    steps: int = 0
    tokens: int = 0
    cpu: float = 0.0
    wall: float = 0.0
    mastered: int = 0
    mastery_step: int = -1
    evals: list[EvalCount] = field(default_factory=list)
    probes: dict[str, dict[int, ProbeCount]] = field(default_factory=dict)
    reached: dict[int, dict[str, float]] = field(default_factory=dict)
    retention: dict[int, float] = field(default_factory=dict)
    held_out: dict[int, float] = field(default_factory=dict)


def draw(preset: HeroPreset, level: int, count: int, split: str, *address: str | int) -> list[Item]:
    """Draw items of a level: to train in the preset's answer styles, else in the one that evals ask."""
    seed, styles = derive_seed("learn_bin", level, split, *address) % 2**63, answer_styles(preset)
    asked = styles.at(level) if split == "train" else {styles.examined(level): 1.0}
    return SKILL.generate(level, count, seed, split, asked)  # type: ignore[arg-type]


def messages(items: Sequence[Item]) -> list[Any]:
    """Turn items into rows of messages."""
    return [
        [{"role": "user", "content": i.user_prompt}, {"role": "assistant", "content": i.assistant_response}]
        for i in items
    ]


def new_course(preset: HeroPreset, seed: int, asked: argparse.Namespace, *, uniform: bool = False) -> Course:
    """Make a hero from nothing, as `realm hero create` does."""
    texts = list(skill_texts(preset, seed))
    with tempfile.TemporaryDirectory() as folder:
        hero = load_hero(make_tiny_hero(preset, texts, seed, Path(folder) / "hero", call_names()))
    stepper = Stepper(hero.model, preset.training, hero.template.pad_id)
    rules = gate_rules(get_skill("bin").eval, GateExtras())
    return Course(hero, stepper, preset, rules, seed, asked.levels, uniform, asked.generate)


def quest(course: Course, number: int, rows: int) -> list[EncodedRow]:
    """Generate and encode one quest of the level in training, or of all levels alike."""
    if course.uniform:
        mix = dict.fromkeys(range(1, course.levels + 1), 1 / course.levels)
    else:
        mix = level_mix(course.preset.level_mix.model_dump(), course.mastered + 1, LAST, {})
    items: list[Item] = []
    for level, count in rows_by_level(mix, rows).items():
        items += draw(course.preset, level, count, "train", course.seed, number)
    return form_quest(messages(items), course.hero.template, LENGTH).rows


def right(course: Course, items: Sequence[Item]) -> int:
    """Count the items that the served weights answer right, greedily; worked answers have several right texts."""
    if course.by_generation or any(item.meta["style"] != "brief" for item in items):
        return generated_right(course, items)
    stepper, rows = course.stepper, form_quest(messages(items), course.hero.template, LENGTH).rows
    total = 0
    with stepper.served(), torch.no_grad():
        for begin in range(0, len(rows), 100):
            part = rows[begin : begin + 100]
            batch = stepper.lay(part)
            wrong = stepper.head(stepper.hidden(batch)).argmax(-1) != batch.targets
            ends = torch.tensor(batch.lengths or [batch.ids.shape[1]] * len(part)).cumsum(0)
            total += len(part) - len(set(torch.searchsorted(ends, batch.at[wrong], right=True).tolist()))
    return total


def generated_right(course: Course, items: Sequence[Item]) -> int:
    """Count right answers by greedy generation, judged by the skill's scorer."""
    template = course.hero.template
    prompts = [
        row.ids for row in template.render_many([one[:1] for one in messages(items)], add_generation_prompt=True)
    ]
    longest = max(len(ids) for ids in template.encode_contents([item.assistant_response for item in items]))
    decoder = PlainDecoder(course.hero.config, dict(course.stepper.state_tensors()[0]), "cpu", torch.float32)
    found = generate(decoder, prompts, max_new_tokens=longest + 16, stop_ids=frozenset((template.end_id,)))
    return sum(SKILL.score(item, template.decode(one.ids)).strict for item, one in zip(items, found, strict=True))


def look(course: Course) -> bool:
    """One eval at the level in training; returns whether the gate opened."""
    level, name = course.mastered + 1, str(course.steps)
    static = SKILL.static_eval(level, answer_styles(course.preset).examined(level))
    fresh = draw(course.preset, level, course.rules.fresh_items, "gate", course.seed, course.steps)
    static_right = right(course, static)
    correct = static_right + right(course, fresh)
    course.evals.append(
        EvalCount(name, name, course.steps, len(static) + len(fresh), correct, len(static), static_right)
    )
    standing = Standing("bin", level, tuple(range(1, level)), last_mastery_step=course.mastery_step)
    verdict = judge(course.evals, course.probes, standing, course.rules)
    if verdict.awaiting and verdict.probe_on:
        asked = levels_to_probe(standing, verdict.probe_on.checkpoint, course.rules.probe_levels)
        probe(course, verdict.probe_on.checkpoint, asked)
        verdict = judge(course.evals, course.probes, standing, course.rules)
    print(f"seed {course.seed} step {course.steps} L{level}: {correct}/20", file=sys.stderr)
    return verdict.passed


def probe(course: Course, checkpoint: str, levels: Sequence[int]) -> None:
    """Ask mastered levels again."""
    for level in levels:
        items = draw(course.preset, level, course.rules.probe_items, "probe", course.seed, checkpoint)
        found = ProbeCount(checkpoint, course.steps, level, len(items), right(course, items))
        course.probes.setdefault(checkpoint, {})[level] = found


def shares_right(course: Course, levels: Sequence[int], count: int) -> dict[int, float]:
    """Accuracy on `count` held-out problems of each level, drawn a few at a time as evals draw them.

    Drawn at once they would be others: a low level soon runs out of short problems and gives its deepest ones.
    """
    found = {}
    for level in levels:
        items: list[Item] = []
        while len(items) < count:
            items += draw(course.preset, level, course.rules.fresh_items, "eval", "held-out", course.seed, len(items))
        found[level] = right(course, items[:count]) / count
    return found


def rise(course: Course) -> None:
    """Note that a level is mastered; after the third one also what is left of the ones before."""
    course.mastered += 1
    course.mastery_step, course.evals = course.steps, []
    course.reached[course.mastered] = {
        "steps": course.steps, "tokens": course.tokens, "cpu_s": round(course.cpu, 1), "wall_s": round(course.wall, 1),
    }  # fmt: skip
    if course.mastered == RETENTION_AFTER:
        course.retention = shares_right(course, range(1, RETENTION_AFTER + 1), RETAINED)


def batches(course: Course, rows: int) -> Iterator[list[EncodedRow]]:
    """Yield the rows of one step after another, quest after quest; a quest is left when its level is mastered."""
    number = 0
    while True:
        number, level = number + 1, course.mastered
        encoded = quest(course, number, rows)
        lengths, per_step = [len(row) for row in encoded], course.preset.training.rows_per_step
        for step in plan_batches(lengths, per_step, derive_seed(course.seed, number)):
            yield [encoded[n] for n in step]
            if course.mastered != level:
                break


def train(course: Course, *, tokens: float, cpu_s: float, rows: int) -> Course:
    """Train until all levels are mastered (the ladder), or the tokens or the CPU seconds are spent."""
    every = course.preset.training.save_steps
    for batch in batches(course, rows):
        wall, cpu = time.perf_counter(), time.process_time()
        course.tokens += course.stepper.step(batch).total_tokens
        course.wall += time.perf_counter() - wall
        course.cpu += time.process_time() - cpu
        course.steps += 1
        if not course.uniform and course.steps % every == 0 and course.mastered < course.levels and look(course):
            rise(course)
        finished = tokens == float("inf") and course.mastered >= course.levels
        if finished or course.tokens >= tokens or course.cpu >= cpu_s:
            break
    course.held_out = shares_right(course, range(1, course.levels + 1), HELD_OUT)
    return course


def merged(table: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return a preset's table with nested keys replaced."""
    return table | {
        key: merged(table[key], value)
        if isinstance(value, dict) and isinstance(table.get(key), dict) and key not in ("styles", "styles_from")
        else value
        for key, value in change.items()
    }


def told(course: Course) -> dict[str, Any]:
    """One run as JSON."""
    return {
        "seed": course.seed, "mix": "uniform" if course.uniform else "ladder", "steps": course.steps, "tokens": course.tokens,
        "cpu_s": round(course.cpu, 1), "ms_per_step": round(course.cpu / course.steps * 1e3, 1),
        "tokens_per_s": round(course.tokens / course.cpu), "mastered": course.mastered,
        "reached": {f"L{level}": found for level, found in course.reached.items()},
        "retention_after_L3": {f"L{level}": share for level, share in course.retention.items()},
        "held_out": {f"L{level}": share for level, share in course.held_out.items()},
    }  # fmt: skip


def ladder_rows(courses: Sequence[Course]) -> list[dict[str, Any]]:
    """One row a level: CPU seconds of the slowest seed beside the goal of the whole realm."""
    rows = []
    for level in sorted({level for course in courses for level in course.reached}):
        found = [course.reached[level] for course in courses if level in course.reached]
        slowest, goal = max(one["cpu_s"] for one in found), GOALS.get(level)
        rows.append({
            "work": f"bin L{level} mastered", "peer": "goal", "ours": slowest, "theirs": goal,
            "ratio": round(goal / slowest, 2) if goal else None, "unit": "s", "rounds": len(found), "of_seeds": len(courses),
            "steps": [one["steps"] for one in found], "tokens": [one["tokens"] for one in found],
        })  # fmt: skip
    return rows


def compared_rows(ladder: Sequence[Course], uniform: Sequence[Course]) -> list[dict[str, Any]]:
    """One row a level: mean held-out accuracy after the same number of tokens, the ladder beside uniform."""
    rows = []
    for level in range(1, ladder[0].levels + 1):
        ours = sum(course.held_out[level] for course in ladder) / len(ladder)
        theirs = sum(course.held_out[level] for course in uniform) / len(uniform)
        rows.append({
            "work": f"bin L{level} held-out after {ladder[0].tokens / 1e6:.1f} M tokens", "peer": "uniform",
            "ours": round(ours, 3), "theirs": round(theirs, 3), "ratio": round(ours / theirs, 2) if theirs else None,
            "unit": "share right", "rounds": len(ladder),
        })  # fmt: skip
    return rows


def conditions(threads: int) -> dict[str, Any]:
    """Machine and versions."""
    machine = {
        "processor": platform.processor() or platform.machine(),
        "system": platform.platform(),
        "threads": threads,
    }
    versions = {name: version(name) for name in ("torch", "transformers", "tokenizers")}
    return {"machine": machine, "versions": versions | {"python": platform.python_version()}}


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, level 1 only; with --compare 0.3 M tokens")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--seeds", type=int, default=2, help="number of seeds (3 with --compare)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--levels", type=int, default=6, help="levels of the ladder")
    parser.add_argument("--limit", type=float, default=900, help="CPU seconds of training per run")
    parser.add_argument("--rows", type=int, default=8000, help="rows of a quest")
    parser.add_argument("--generate", action="store_true", help="generate the answers of evals")
    parser.add_argument("--compare", action="store_true", help="the ladder against a uniform mix, same tokens")
    parser.add_argument("--tokens", type=float, default=3e6, help="tokens of a run with --compare")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--set", type=json.loads, default={}, help="JSON of preset keys to change")
    asked = parser.parse_args()
    if asked.quick:
        asked.seeds, asked.tokens = 1, 3e5
        asked.levels = asked.levels if asked.compare else 1
    elif asked.compare:
        asked.seeds = max(3, asked.seeds)
    return asked


def main() -> None:
    """Run the bench and print its JSON."""
    asked = parsed()
    fix_numerics(asked.threads)
    preset = HeroPreset.model_validate(merged(get_preset(asked.preset).model_dump(), asked.set))
    seeds = range(asked.seed, asked.seed + asked.seeds)
    limits = {"tokens": asked.tokens if asked.compare else float("inf"), "cpu_s": asked.limit, "rows": asked.rows}
    ladder = [train(new_course(preset, seed, asked), **limits) for seed in seeds]
    uniform = (
        [train(new_course(preset, seed, asked, uniform=True), **limits) for seed in seeds] if asked.compare else []
    )
    rows = compared_rows(ladder, uniform) if asked.compare else ladder_rows(ladder)
    text = json.dumps(
        conditions(asked.threads) | {"rows": rows, "runs": [told(one) for one in (*ladder, *uniform)]}, indent=1
    )
    if asked.json:
        asked.json.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
