"""Whether any generated training problem is an eval problem, and whether graders take what is right and nothing else.

    .venv/bin/python bench/skill_purity.py [--quick] [--json FILE] [--rows 1100000] [--replies 1000] [--skill bin] [--seconds 200]

Purity: training problems of every level, drawn with fresh seeds; key and partition of each are worked out from its prompt
alone, the golden answer is graded, and (BIN) the reference solver has to say the same. `--rows` counts both skills
together, nine tenths of them BIN, whose problems take less time. Replies: on `--replies` problems of every level the
golden answer has to score 1, and constants, nothing, the prompt, all digits, all words, a neighbour's answer and 10 kB of
garbage 0. Exit code 1 when anything is wrong.

All of it takes about an hour of one core. With `--seconds` no part is begun after so many; called again with the same
`--json`, it goes on with what is not in that file (of the same versions and sizes). Exit code 3: something is left.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, process_time
from typing import Any

from realm.core.seeds import derive_seed
from realm.core.version import version
from realm.guild.skills.bin.level_of import content_of
from realm.guild.skills.server import BUILTIN, builtin_skill
from realm.guild.skills.split import split_of
from realm.guild.skills.sy import level_of as syllacrostic
from realm.guild.skills.sy.words import all_words
from realm.guild.skills.types import Item, Skill

BATCH = 2000
BIN_SHARE = 0.9
MOST_OF_PART = {"bin": 50_000, "sy": 250}  # a part takes under half a minute of CPU
GARBAGE = "①⓪ qZ7+ = " * 930
MANY_WORDS = "\n".join(f"{n}. {'+'.join(w.tiles)} = {w.text.upper()}" for n, w in enumerate(all_words()[:500], 1))
REPLIES: dict[str, Callable[[Item, Item], str]] = {
    "empty": lambda item, other: "",
    "one digit": lambda item, other: "①",
    "a constant": lambda item, other: "add(①, ①) = ①⓪",
    "a constant word": lambda item, other: "1. rap+ture = RAPTURE",
    "the prompt": lambda item, other: item.user_prompt,
    "the last line of the prompt": lambda item, other: item.user_prompt.rsplit("\n", 1)[-1],
    "all digits": lambda item, other: "⓪①0123456789",
    "all words of the prompt": lambda item, other: " ".join(item.user_prompt.split()),
    "five hundred words": lambda item, other: MANY_WORDS,
    "a neighbour's answer": lambda item, other: other.assistant_response,
    "10 kB of garbage": lambda item, other: GARBAGE,
}


def key_and_level(item: Item) -> tuple[str, list[int]]:
    """Return the key at the item's level and the levels that can pose it, both from the prompt."""
    if item.skill == "bin":
        found = content_of(item.user_prompt)
        return found.key, [found.level]
    keys = syllacrostic.content_of(item.user_prompt).keys
    return keys.get(item.level, ""), list(keys)


def impure(skill: Skill, items: Sequence[Item], static: frozenset[str]) -> Iterator[str]:
    """Yield what is wrong with training items."""
    for item in items:
        key, levels = key_and_level(item)
        if item.level not in levels:
            yield f"{item.id} is of level {levels}, it says {item.level}"
        if key != item.key:
            yield f"{item.id} has key {item.key!r}, its prompt has {key!r}"
        if split_of(item.skill, item.level, key) != "train" or key in static:
            yield f"{item.id} is an eval problem"
        if skill.score(item, item.assistant_response).strict != 1:
            yield f"{item.id}: its golden answer scores 0"
        if item.skill == "bin" and item.assistant_response.rsplit("\n", 1)[-1] != skill.solve(item):
            yield f"{item.id}: the solver says {skill.solve(item)!r}"


def purity(skill: Skill, level: int, rows: int, seed: int) -> tuple[int, list[str]]:
    """Return how many different problems were looked at and the first faults."""
    static, faults, seen = frozenset(item.key for item in skill.static_eval(level)), [], set()
    for part in range(0, rows, BATCH):
        drawn = derive_seed("purity", skill.info.id, level, seed, part)
        items = skill.generate(level, min(BATCH, rows - part), drawn)
        faults += list(impure(skill, items, static))
        seen.update(item.key for item in items)
    return len(seen), faults[:5]


def replies(skill: Skill, level: int, count: int, seed: int) -> list[str]:
    """Return what is wrong with grades: the golden answer not taken, anything else taken."""
    items = skill.generate(level, count, derive_seed("replies", skill.info.id, level, seed))
    faults = []
    for item, other in zip(items, [*items[1:], *items[:1]], strict=True):  # all of an item at once: its solution is kept
        if skill.score(item, item.assistant_response).strict != 1:
            faults.append(f"{item.id}: golden scores 0")
        for name, reply in REPLIES.items():
            said = reply(item, other)
            if _last(said) == _last(item.assistant_response):
                continue  # the same problem, told in another style
            if skill.score(item, said).strict:
                faults.append(f"{item.id}: {name} scores 1")
    return faults[:5]


def _last(text: str) -> str:
    return text.rsplit("\n", 1)[-1]


@dataclass(frozen=True)
class Work:
    """A part of it: training rows of a level to be looked at, or problems of it whose replies are graded."""

    skill: str
    level: int
    rows: int
    graded: int
    seed: int
    version: str

    @property
    def asked(self) -> dict[str, Any]:
        part = {"work": f"{self.skill} L{self.level}", "rows": self.rows, "graded": self.graded}
        return {**part, "seed": self.seed, "version": self.version}


def look(work: Work) -> dict[str, Any]:
    """Return the result row of a part."""
    started, skill = process_time(), builtin_skill(work.skill)
    different, faults = purity(skill, work.level, work.rows, work.seed)
    faults += replies(skill, work.level, work.graded, work.seed)
    told = {"different": different, "replies": work.graded * (1 + len(REPLIES)), "faults": faults}
    return {**work.asked, **told, "cpu_s": round(process_time() - started, 1)}


def work_of(rows: int, graded: int, seed: int, only: str | None) -> list[Work]:
    """Return the parts, a round of all levels before the next one; each part draws with a seed of its own."""
    found = []
    for name in [only] if only else BUILTIN:
        info, share = builtin_skill(name).info, {"bin": BIN_SHARE, "sy": 1 - BIN_SHARE}[name]
        most, a_level = MOST_OF_PART[name], max(1, round(rows * share / len(info.levels)))
        for one in info.levels:
            sizes = [(0, size) for size in _parts(graded, most)] + [(size, 0) for size in _parts(a_level, most)]
            found += [Work(name, one.level, *size, 1000 * seed + part, info.version) for part, size in enumerate(sizes)]
    return sorted(found, key=lambda one: (one.graded == 0, one.seed, -one.level))


def _parts(count: int, most: int) -> list[int]:
    return [min(most, count - begun) for begun in range(0, count, most)]


def run(work: Sequence[Work], processes: int, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield result rows; after `seconds` no further part is begun."""
    end, left = monotonic() + seconds, list(work)
    with ProcessPoolExecutor(processes) as pool:
        running = {pool.submit(look, left.pop(0)) for _ in range(min(processes, len(left)))}
        while running:
            ended = next(as_completed(running))
            running.remove(ended)
            yield ended.result()
            if left and monotonic() < end:
                running.add(pool.submit(look, left.pop(0)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a thousandth of it")
    parser.add_argument("--json", type=Path, help="write the result here; what it holds is not done again")
    parser.add_argument("--rows", type=int, default=1_100_000)
    parser.add_argument("--replies", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--skill", help="one built-in skill (default: both)")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no part after so many")
    asked = parser.parse_args()
    rows, count = (1000, 5) if asked.quick else (asked.rows, asked.replies)
    found = json.loads(asked.json.read_text())["rows"] if asked.json and asked.json.exists() else []
    work = [
        one
        for one in work_of(rows, count, asked.seed, asked.skill)
        if not any(one.asked.items() <= row.items() for row in found)
    ]
    machine = {"platform": platform.platform(), "processor": platform.processor() or platform.machine()}
    began = len(found)
    for row in run(work, asked.processes, asked.seconds):
        found.append(row)
        print(row, file=sys.stderr, flush=True)
        text = json.dumps({"machine": machine, "versions": {"python": platform.python_version(), "realm": version()},
                           "rows": found, "total": sum(row["rows"] for row in found)}, indent=1)  # fmt: skip
        if asked.json:
            asked.json.write_text(text + "\n")
    faulty, left = sum(bool(row["faults"]) for row in found), len(work) - (len(found) - began)
    rows, graded = (sum(row[name] for row in found) for name in ("rows", "replies"))
    print(
        f"{rows} training rows, {graded} replies graded: {faulty} parts of {len(found)} with faults, {left} parts left"
    )
    return 1 if faulty else 3 if left else 0


if __name__ == "__main__":
    sys.exit(main())
