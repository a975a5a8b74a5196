"""What a checkpoint still knows of levels it mastered: fresh problems of the eval partition, asked as evals ask.

    .venv/bin/python bench/retention.py BASE_DIRECTORY [--mastered 3 | --step N] [--levels 1 2] [--count 200] [--json FILE]

`--mastered` takes the checkpoint at which that level of BIN was mastered (the first one after it that is still there),
`--step` one of a step; without both the newest.
It is read as the oracle reads it, every file compared with the manifest; answers are greedy, in the answer style examined at
each level, graded by the skill. No problem was trained; `--seed` draws others. They are drawn fifteen at a time, as evals
draw them: drawn at once, a low level soon runs out of short problems and gives its deepest ones. Intervals are Wilson's at
95 %. Exit code 1 when the share of right answers of a level is below `--floor`.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from contextlib import closing
from pathlib import Path
from time import process_time
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from realm.armory.hero_presets import HeroPreset  # noqa: E402
from realm.armory.profiles import get_profile, undress  # noqa: E402
from realm.core.errors import RealmError, Unknown  # noqa: E402
from realm.core.paths import Paths  # noqa: E402
from realm.core.seeds import derive_seed  # noqa: E402
from realm.core.store import read_facts  # noqa: E402
from realm.core.version import version  # noqa: E402
from realm.gate.founding import answer_styles  # noqa: E402
from realm.guild.intervals import wilson  # noqa: E402
from realm.guild.skills.bin.skill import SKILL  # noqa: E402
from realm.guild.skills.types import Item  # noqa: E402
from realm.oracle.checkpoints import Verified, find_source, list_sources, read_verified  # noqa: E402
from realm.oracle.mind import Mind, open_mind  # noqa: E402

BATCH = 100
DRAWN = 15  # fresh problems of an eval


def mastered_at(paths: Paths, level: int) -> int:
    """Return the step of the first checkpoint still there since a level of BIN was mastered; raises Unknown."""
    with closing(read_facts(paths)) as facts:
        found = facts.execute("SELECT step FROM masteries WHERE skill = 'bin' AND level = ?", (level,)).fetchone()
    if found is None:
        raise Unknown(f"level {level} of bin is not mastered in this base directory")
    left = [step for step in list_sources(paths) if step >= found["step"]]
    if not left:
        raise Unknown(f"no checkpoint since step {found['step']} is there, where level {level} was mastered")
    return min(left)


def asked_again(mind: Mind, read: Verified, level: int, count: int, seed: int) -> dict[str, Any]:
    """Ask `count` problems of a level and return the result row."""
    started, preset = process_time(), HeroPreset.model_validate(read.hero["preset_table"])
    style, profile = answer_styles(preset).examined(level), get_profile(read.profile)
    items: list[Item] = []
    while len(items) < count:
        address = derive_seed("retention", level, seed, len(items)) % 2**63
        items += SKILL.generate(level, min(DRAWN, count - len(items)), address, "eval", {style: 1.0})
    longest = max(len(item.assistant_response.encode()) for item in items) + 16
    right = 0
    for begin in range(0, count, BATCH):
        part = items[begin : begin + BATCH]
        told = mind.answer([[{"role": "user", "content": item.user_prompt}] for item in part], max_new_tokens=longest)
        right += sum(SKILL.score(item, undress(profile, one.text)).strict for item, one in zip(part, told, strict=True))
    return {
        "work": f"bin L{level}", "style": style, "right": right, "n": count, "different": len({item.key for item in items}),
        "share": right / count, "ci95": [round(end, 4) for end in wilson(right, count)],
        "cpu_s": round(process_time() - started, 1),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path, help="base directory of a realm")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--mastered", type=int, help="the checkpoint at which this level was mastered")
    which.add_argument("--step", type=int)
    parser.add_argument("--levels", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--count", type=int, default=200, help="problems of each level")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--floor", type=float, default=0.75)
    parser.add_argument("--json", type=Path, help="write the result here")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    paths = Paths(asked.home)
    step = mastered_at(paths, asked.mastered) if asked.mastered else asked.step
    read = read_verified(find_source(paths, step if step is not None else max(list_sources(paths))))
    mind = open_mind(read)
    rows = []
    for level in asked.levels:
        rows.append(asked_again(mind, read, level, asked.count, asked.seed))
        low, high = rows[-1]["ci95"]
        print(f"{read.model} L{level} {rows[-1]['style']}: {rows[-1]['right']} of {asked.count} right, {low:.0%} to {high:.0%}")
    machine = {"platform": platform.platform(), "processor": platform.processor() or platform.machine()}
    versions = {"python": platform.python_version(), "realm": version(), "torch": torch.__version__}
    if asked.json:
        told = {"machine": machine, "versions": versions, "checkpoint": read.model, "step": read.source.step, "rows": rows}
        asked.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 1 if any(row["share"] < asked.floor for row in rows) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RealmError as error:
        sys.exit(str(error))
