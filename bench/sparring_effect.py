"""What sparring does to a tiny hero: accuracy, verdicts and second attempts, before and after its rows are trained.

    .venv/bin/python bench/sparring_effect.py [--quick] [--json FILE] [--level 1] [--seeds K] [--sessions 3]

A hero made from nothing is trained until it answers 65 to 90 % of 200 held-out problems of the level. Copies of it go on in
three arms: `session`, it spars as `realm sparring run` has it spar and trains the rows; `alone`, the same without the plain
problems that a session has beside its rows (type 8); and `plain`, as many plain rows as the session's (the control). After
each session the hero spars again with what it became. All rows pass the check of the product. Everyone is asked the same 200
problems of the eval partition, before, after the first session and after the last; intervals are Wilson's at 95 %. One pass
over the rows, the preset's optimiser as it stands; an arm whose hero can spar no more rests there, and says so.

It goes in parts of a few minutes at most. With `--seconds` no part is begun after so many; called again with the same
`--json` (its heroes lie beside it), it goes on with what is not in that file. Exit code 3: something is left.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, process_time
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from bench.learn_bin import Course, batches, draw, new_course, right  # noqa: E402
from realm.arena.formation.batching import plan_batches  # noqa: E402
from realm.arena.formation.rows import form_quest  # noqa: E402
from realm.arena.stepper import fix_numerics  # noqa: E402
from realm.armory.hero_presets import get_preset  # noqa: E402
from realm.core.errors import RealmError  # noqa: E402
from realm.core.seeds import derive_seed  # noqa: E402
from realm.core.version import version  # noqa: E402
from realm.gate.founding import answer_styles  # noqa: E402
from realm.guild.intervals import wilson  # noqa: E402
from realm.guild.skill_client import Grade, Sample, training_row  # noqa: E402
from realm.guild.skills.bin.skill import SKILL  # noqa: E402
from realm.guild.skills.types import Item  # noqa: E402
from realm.guild.sparring import Fighter, Order, Sampling, spar  # noqa: E402
from realm.guild.sparring_check import check_rows  # noqa: E402
from realm.guild.sparring_exam import hold_exam  # noqa: E402
from realm.oracle import generate as generation  # noqa: E402

LENGTH, LOOK_EVERY, MOST_STEPS = 512, 10, 4000
DIGEST = "0" * 64
FIGHTER = Fighter("checkpoint-0", 0, DIGEST)
ARMS = ("session", "alone", "plain")
KINDS = ("served", "raw", "optimiser")


@dataclass(frozen=True)
class Said:
    texts: tuple[str, ...]
    finish_reasons: tuple[str, ...]
    weights_sha256: str = DIGEST


class Bin:
    """The skill in process."""

    skill, max_level = "bin", 30

    def version(self) -> str:
        return SKILL.info.version

    def static_items(self, level: int, style: str | None = None) -> list[Sample]:
        return [item.sample() for item in SKILL.static_eval(level)]

    def generate(self, level: int, count: int, seed: int, split: str, styles: Any = None) -> list[Sample]:
        return [item.sample() for item in SKILL.generate(level, count, seed, split, styles)]  # type: ignore[arg-type]

    def grade(self, items: Sequence[Sample], answers: Sequence[str]) -> list[Grade]:
        found = [SKILL.score(Item.from_sample(item), text) for item, text in zip(items, answers, strict=True)]
        return [Grade(s.strict == 1, s.expected, s.parsed, s.reason, s.partial) for s in found]


def asker(course: Course) -> Callable[[int, Sequence[str], Sampling], Said]:
    """Return the hero's function over the weights that it serves now."""
    template = course.hero.template
    decoder = generation.PlainDecoder(course.hero.config, dict(course.stepper.state_tensors()[0]), "cpu", torch.float32)

    def ask(_step: int, prompts: Sequence[str], wanted: Sampling) -> Said:
        rows = template.render_many([[{"role": "user", "content": text}] for text in prompts], add_generation_prompt=True)
        how = generation.GREEDY
        if wanted.temperature > 0:
            how = generation.Sampling(temperature=wanted.temperature, seed=wanted.seed)
        found = generation.generate(decoder, [row.ids for row in rows], max_new_tokens=wanted.max_new_tokens,
                                    stop_ids=frozenset((template.end_id,)), sampling=how)  # fmt: skip
        return Said(tuple(template.decode(one.ids) for one in found), tuple(one.finish_reason for one in found))

    return ask


def train_rows(course: Course, rows: Sequence[dict[str, Any]], seed: int) -> int:
    """Train every row once; returns the optimiser steps."""
    encoded = form_quest([row["messages"] for row in rows], course.hero.template, LENGTH).rows
    steps = plan_batches([len(row) for row in encoded], course.preset.training.rows_per_step, derive_seed("bench", seed))
    for step in steps:
        course.stepper.step([encoded[place] for place in step])
    return len(steps)


def ready_hero(level: int, seed: int, asked: argparse.Namespace) -> tuple[Course, int]:
    """Train a new hero until it is right on 65 to 90 % of as many problems as the exam has: the more, the rarer ones."""
    course = new_course(get_preset("tiny"), seed, asked)
    course.mastered = level - 1
    count = asked.exam
    probe = draw(course.preset, level, count, "eval", "ready", seed)
    for batch in batches(course, 2000):
        course.stepper.step(batch)
        course.steps += 1
        if course.steps % LOOK_EVERY == 0 and (found := right(course, probe)) >= 0.65 * count:
            if found <= 0.9 * count:
                print(f"seed {seed}: {found} of {count} right after {course.steps} steps", file=sys.stderr, flush=True)
                return course, found
            raise SystemExit(f"seed {seed} passed over the range of 65 to 90 % ({found} of {count}), take another seed")
        if course.steps >= MOST_STEPS:
            raise SystemExit(f"seed {seed} does not reach 65 % of level {level} in {MOST_STEPS} steps")
    raise AssertionError("batches end never")


class Shelf:
    """Weights and optimisers of heroes between parts, beside the result."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, name: str, course: Course) -> None:
        for kind, tensors in zip(KINDS, course.stepper.state_tensors(), strict=True):
            if tensors is not None:
                save_file(tensors, self._folder / f"{name}.{kind}.safetensors")

    def take(self, name: str, course: Course) -> None:
        files = [self._folder / f"{name}.{kind}.safetensors" for kind in KINDS]
        served, raw, optimiser = (load_file(path) if path.is_file() else None for path in files)
        assert served is not None, f"{files[0]} is missing: give another --json, or the folder back"
        course.stepper.load_state(served, raw, optimiser)


@dataclass(frozen=True)
class Part:
    """A piece that ends by itself: session 0 makes the hero, the others are sessions of an arm."""

    seed: int
    arm: str
    session: int

    @property
    def name(self) -> str:
        return f"seed-{self.seed}-{self.arm}" if self.session else f"seed-{self.seed}"


def parts_of(seeds: Sequence[int], sessions: int) -> list[Part]:
    """Return the parts in an order in which each finds what it needs."""
    arms = [(arm, number) for number in range(1, sessions + 1) for arm in ARMS]
    return [Part(seed, arm, number) for seed in seeds for arm, number in [("before", 0), *arms]]


@dataclass
class Bench:
    """What is asked, what was found so far, and where the heroes lie."""

    asked: argparse.Namespace
    shelf: Shelf
    found: list[dict[str, Any]]

    def of(self, part: Part) -> dict[str, Any] | None:
        wanted = {"seed": part.seed, "arm": part.arm, "session": part.session}
        return next((row for row in self.found if wanted.items() <= row.items()), None)

    def exam(self, course: Course, seed: int) -> dict[str, Any]:
        level = self.asked.level
        examined = {answer_styles(course.preset).examined(level): 1.0}
        return hold_exam(FIGHTER, Bin(), asker(course), level, self.asked.exam, seed, examined).numbers()

    def do(self, part: Part) -> dict[str, Any]:
        """Return the result row of a part."""
        started, told = process_time(), {"seed": part.seed, "arm": part.arm, "session": part.session, "level": self.asked.level}
        if part.session == 0:
            course, ready = ready_hero(self.asked.level, part.seed, self.asked)
            told |= {"steps_before": course.steps, "ready": ready, "exam": self.exam(course, part.seed)}
        else:
            course = new_course(get_preset("tiny"), part.seed, self.asked)
            before = Part(part.seed, part.arm, part.session - 1)
            self.shelf.take(before.name, course)
            told |= self.session(part, course)
            if "ended" not in told and part.session in (1, self.asked.sessions):
                told["exam"] = self.exam(course, part.seed)
        self.shelf.put(part.name, course)
        return {**told, "cpu_s": round(process_time() - started, 1)}

    def session(self, part: Part, course: Course) -> dict[str, Any]:
        """Train an arm's rows of one session."""
        mix, level, source = answer_styles(course.preset), self.asked.level, Bin()
        rows: list[dict[str, Any]] = []
        found: dict[str, Any] = {}
        if part.arm != "plain":
            address = derive_seed("sparring_effect", part.seed, part.session)
            rehearsal = 1.0 if part.arm == "session" else 0.0
            order = Order(level, self.asked.count, address, mix, may_rise=False, rehearsal=rehearsal)
            try:
                bout = spar(FIGHTER, source, asker(course), order)
            except RealmError as error:
                return {"ended": error.message}
            rows = list(bout.rows)
            found = {**bout.numbers, "check_passed": check_rows(rows, {"bin": source}, "full").passed}
        sparred = self.of(Part(part.seed, "session", part.session)) or {}
        extra = sparred.get("rows", 0) if part.arm == "plain" else 0
        if extra:
            draw_seed = derive_seed("plain", part.seed, part.arm, part.session)
            rows += [training_row(item) for item in source.generate(level, extra, draw_seed, "train", mix.at(level))]
        random.Random(part.session).shuffle(rows)
        return {**found, "rows": len(rows), "steps": train_rows(course, rows, part.seed) if rows else 0}


def gap(one: tuple[int, int], other: tuple[int, int]) -> dict[str, Any]:
    """Return the difference of two shares (right, n) with its 95 % interval.

    Method 10 of R. G. Newcombe, "Interval estimation for the difference between independent proportions", Statistics in
    Medicine 17 (1998), 873-890; the two are asked the same problems, so it is wider than it need be.
    """
    (a, n), (b, m) = one, other
    (low_a, high_a), (low_b, high_b) = wilson(a, n), wilson(b, m)
    p, q = a / n, b / m
    low = p - q - sqrt((p - low_a) ** 2 + (high_b - q) ** 2)
    high = p - q + sqrt((high_a - p) ** 2 + (q - low_b) ** 2)
    return {"difference": round(p - q, 4), "ci95": [round(low, 4), round(high, 4)]}


def shown(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the result: each exam, and over all seeds the differences of the last ones."""
    rows = [
        {"work": f"seed {row['seed']} {row['arm']} {row['session']}", "right": row["exam"]["right"], "n": row["exam"]["n"],
         "ci95": row["exam"]["ci95"], "verdicts": row["exam"]["verdicts"], **row["exam"]["transitions"],
         "alarms": row["exam"]["alarms"]}
        for row in found if "exam" in row
    ]  # fmt: skip
    pairs = {(arm, number) for row in found if "exam" in row for arm, number in [(row["arm"], row["session"])] if number}
    for arm, number in sorted(pairs):
        for other, at in (("before", 0), ("plain", number)):
            sums = [_sum(found, name, session, arm, number) for name, session in ((arm, number), (other, at))]
            if arm != other and all(n for _, n in sums):
                seeds = len({row["seed"] for row in found if row["arm"] == arm and row["session"] == number})
                rows.append({"work": f"{arm} {number} less {other}, {seeds} seeds", **gap(*sums)})
    return rows


def _sum(found: Sequence[dict[str, Any]], arm: str, session: int, like: str, at: int) -> tuple[int, int]:
    """Return right and asked of an arm over the seeds that have an exam of the other one too."""
    seeds = {row["seed"] for row in found if (row["arm"], row["session"]) == (like, at) and "exam" in row}
    exams = [row["exam"] for row in found
             if (row["arm"], row["session"]) == (arm, session) and row["seed"] in seeds and "exam" in row]  # fmt: skip
    return sum(one["right"] for one in exams), sum(one["n"] for one in exams)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer problems")
    parser.add_argument("--json", type=Path, help="write the result here; what it holds is not done again")
    parser.add_argument("--level", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--sessions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no part after so many")
    asked = parser.parse_args()
    asked.levels, asked.generate = 30, False
    asked.count, asked.exam = (60, 60) if asked.quick else (300, 200)
    fix_numerics(asked.threads)
    end, left = monotonic() + asked.seconds, 0
    with TemporaryDirectory() as scratch:
        folder = asked.json.with_suffix(".heroes") if asked.json else Path(scratch)
        known = json.loads(asked.json.read_text())["parts"] if asked.json and asked.json.exists() else []
        bench = Bench(asked, Shelf(folder), known)
        for part in parts_of(range(asked.seed, asked.seed + asked.seeds), asked.sessions):
            if bench.of(part) is not None:
                continue
            if monotonic() >= end:
                left += 1
                continue
            bench.found.append(bench.do(part))
            print(bench.found[-1], file=sys.stderr, flush=True)
            if asked.json:
                asked.json.write_text(_text(bench.found) + "\n", encoding="utf-8")
    print(_text(bench.found))
    if left:
        print(f"{left} parts left: the same command again", file=sys.stderr)
    return 3 if left else 0


def _text(found: Sequence[dict[str, Any]]) -> str:
    machine = {"platform": platform.platform(), "processor": platform.processor() or platform.machine()}
    versions = {"python": platform.python_version(), "realm": version(), "torch": torch.__version__}
    return json.dumps({"machine": machine, "versions": versions, "rows": shown(found), "parts": list(found)}, indent=1)


if __name__ == "__main__":
    sys.exit(main())
