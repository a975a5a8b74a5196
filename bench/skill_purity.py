"""Whether any generated training problem is an eval problem, and whether graders take what is right and nothing else.

    .venv/bin/python bench/skill_purity.py [--quick] [--json FILE] [--rows 1000000] [--replies 1000] [--skill bin]

Purity: training problems of every level, drawn with fresh seeds; key and partition of each are worked out from its prompt
alone, the golden answer is graded, and (BIN) the reference solver has to say the same. `--rows` counts both skills
together, nine tenths of them BIN, whose problems take less time. Replies: on `--replies` problems of every level the
golden answer has to score 1, and constants, nothing, the prompt, all digits, all words, a neighbour's answer and 10 kB of
garbage 0. Exit code 1 when anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import process_time
from typing import Any

from realm.core.seeds import derive_seed
from realm.core.version import version
from realm.guild.skills.bin.level_of import content_of
from realm.guild.skills.server import BUILTIN, builtin_skill
from realm.guild.skills.split import split_of
from realm.guild.skills.sy import level_of as syllacrostic
from realm.guild.skills.types import Item, Skill

BATCH = 2000
BIN_SHARE = 0.9
GARBAGE = "①⓪ qZ7+ = " * 930
REPLIES: dict[str, Callable[[Item, Item], str]] = {
    "empty": lambda item, other: "",
    "one digit": lambda item, other: "①",
    "a constant": lambda item, other: "Compute: add(①, ①) = ①⓪",
    "the prompt": lambda item, other: item.user_prompt,
    "the last line of the prompt": lambda item, other: item.user_prompt.rsplit("\n", 1)[-1],
    "all digits": lambda item, other: "⓪①0123456789",
    "all words of the prompt": lambda item, other: " ".join(item.user_prompt.split()),
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
    neighbours = [*items[1:], *items[:1]]
    faults = [f"{i.id}: golden scores 0" for i in items if skill.score(i, i.assistant_response).strict != 1]
    for name, reply in REPLIES.items():
        for item, other in zip(items, neighbours, strict=True):
            if name == "a neighbour's answer" and _last(other.assistant_response) == _last(item.assistant_response):
                continue  # the same problem, told in another style
            if skill.score(item, reply(item, other)).strict:
                faults.append(f"{item.id}: {name} scores 1")
    return faults[:5]


def _last(text: str) -> str:
    return text.rsplit("\n", 1)[-1]


def look(skill: Skill, level: int, rows: int, count: int, seed: int) -> dict[str, Any]:
    """Return the result row of a level."""
    started = process_time()
    different, faults = purity(skill, level, rows, seed)
    faults += replies(skill, level, count, seed)
    return {"work": f"{skill.info.id} L{level}", "rows": rows, "different": different, "replies": count * (1 + len(REPLIES)),
            "faults": faults, "cpu_s": round(process_time() - started, 1)}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a thousandth of it")
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--replies", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--skill", help="one built-in skill (default: both)")
    asked = parser.parse_args()
    rows, count = (1000, 5) if asked.quick else (asked.rows, asked.replies)
    found = []
    for name in [asked.skill] if asked.skill else BUILTIN:
        skill, share = builtin_skill(name), {"bin": BIN_SHARE, "sy": 1 - BIN_SHARE}[name]
        for info in skill.info.levels:
            a_level = max(1, round(rows * share / len(skill.info.levels)))
            found.append(look(skill, info.level, a_level, count, asked.seed))
            print(found[-1], file=sys.stderr, flush=True)
    machine = {"platform": platform.platform(), "processor": platform.processor() or platform.machine()}
    text = json.dumps({"machine": machine, "versions": {"python": platform.python_version(), "realm": version()},
                       "rows": found, "total": sum(row["rows"] for row in found)}, indent=1)  # fmt: skip
    if asked.json:
        asked.json.write_text(text + "\n")
    print(text)
    return 1 if any(row["faults"] for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
