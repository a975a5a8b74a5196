"""From the start of the process to the first optimiser step done: the realm's battle beside TRL's SFTTrainer.

    .venv/bin/python bench/start_up.py [--quick] [--json FILE] [--no-peers]

Ours is `realm arena train` on a home with the tiny hero and a quest on the board: imports, databases, reconciliation, hero,
labels and masks checked, one step. The peer builds a model of 0.82 M parameters from its configuration and packs 26 rows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.throughput.work import make_work  # noqa: E402
from bench.train_throughput import TRL_SETTINGS, Side, peer_python  # noqa: E402
from realm.core.paths import Paths  # noqa: E402

GOAL_S = 5.0
# The child ends itself the moment its first step is done.
CHILD = """
import os, realm.arena.stepper as stepper
step = stepper.Stepper.step
def first(self, rows):
    step(self, rows)
    os._exit(0)
stepper.Stepper.step = first
from realm.cli import run
raise SystemExit(run(["arena", "train", "--once", "--max-steps", "1"]))
"""


def make_home(home: Path) -> None:
    """A home with the tiny hero and one quest on the board."""
    from realm.arena.quests import intake
    from realm.arena.quests.yardstick import yardstick_of
    from realm.core.store import open_facts
    from realm.gate.founding import create_hero
    from realm.guild.skills.bin import SKILL

    paths = Paths(home).ensure()
    create_hero(paths, "tiny", "tiny", name=None, seed=1)
    rows = [
        {"messages": [{"role": "user", "content": item.user_prompt}, {"role": "assistant", "content": item.assistant_response}]}
        for item in SKILL.generate(1, 400, 1, "train", {"brief": 1.0})
    ]
    spool = home / "queue" / ".bench"
    spool.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n", encoding="utf-8")
    facts = open_facts(paths)
    intake.accept_spool(paths, facts, spool, name="bench.jsonl", priority="normal", yardstick=yardstick_of(paths))
    facts.close()


def ours(home: Path) -> tuple[float, float]:
    """Return wall and CPU seconds of one start."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    environment = {**os.environ, "REALM_HOME": str(home), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", CHILD], check=True, cwd=ROOT, env=environment, capture_output=True)
    wall = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def theirs(python: Path, place: Path, threads: int) -> tuple[float, float]:
    path = place / "work.json"
    path.write_text(json.dumps(make_work("mixed", 1, 7).as_json()))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    side = Side("trl_bfd", python, path, threads, TRL_SETTINGS[0])
    side.round()
    wall = time.perf_counter() - begin
    side.end()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two rounds")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--no-peers", action="store_true")
    asked = parser.parse_args()
    rounds, peers = (2 if asked.quick else 5), not asked.no_peers
    python = peer_python() if peers else None
    taken: dict[str, list[tuple[float, float]]] = {"ours": [], "trl_bfd": []}
    with tempfile.TemporaryDirectory() as place:
        make_home(Path(place) / "home")
        ours(Path(place) / "home")  # files come into the page cache
        for _ in range(rounds):
            taken["ours"].append(ours(Path(place) / "home"))
            if python:
                taken["trl_bfd"].append(theirs(python, Path(place), os.cpu_count() or 1))
    mine, cpu = (statistics.median(one[n] for one in taken["ours"]) for n in (0, 1))
    row: dict[str, Any] = {"work": "start_up", "peer": "none", "ours": round(mine, 2), "theirs": None, "ratio": None, "unit": "s",
                           "rounds": rounds, "goal": GOAL_S, "ours_cpu": round(cpu, 2)}  # fmt: skip
    if python:
        other, other_cpu = (statistics.median(one[n] for one in taken["trl_bfd"]) for n in (0, 1))
        row |= {"peer": "trl_bfd", "theirs": round(other, 2), "ratio": round(other / mine, 2), "theirs_cpu": round(other_cpu, 2)}
    print(f"start to first step: ours {row['ours']} s (CPU {row['ours_cpu']} s), goal {GOAL_S} s; "
          f"{row['peer']} {row['theirs']} s (CPU {row.get('theirs_cpu')} s), ratio {row['ratio']}")  # fmt: skip
    if asked.json:
        machine = {"machine": platform.machine(), "cores": os.cpu_count()}
        versions = {name: version(name) for name in ("torch", "transformers")}
        asked.json.write_text(json.dumps({"machine": machine, "versions": versions, "rows": [row]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
