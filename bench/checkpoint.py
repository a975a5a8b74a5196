"""What a checkpoint costs: how long the training thread stands still, and the write beside a plain write of the same bytes.

    .venv/bin/python bench/checkpoint.py [--quick] [--json FILE] [--mb 1024]

Stall: the tiny hero trains in its own home and `saves.save` is timed on the training thread. Write: tensors of --mb MB
through `write_checkpoint` (digests, manifest, fsync, rename) beside the same bytes written and fsynced, in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from bench.start_up import make_home  # noqa: E402
from realm.arena import entering, saves  # noqa: E402
from realm.arena.battle import fight  # noqa: E402
from realm.arena.checkpoint_io import Weights, write_checkpoint  # noqa: E402
from realm.core.clock import SYSTEM, stamp  # noqa: E402
from realm.core.daemon import StopFlag  # noqa: E402
from realm.core.durable import commit_dir, fsync_file, new_dir, remove_tree  # noqa: E402
from realm.core.paths import Paths  # noqa: E402

STALL_GOAL_MS, WRITE_GOAL = 5.0, 1.05


def stalls(home: Path, rounds: int) -> list[float]:
    """Seconds that the training thread spends in a save, the tiny hero's."""
    arena = entering.enter(Paths(home), lambda *_: None)
    found = []
    try:
        for _ in range(rounds):
            fight(arena, StopFlag(), until_idle=True, max_steps=1)
            arena.stepper.optimiser.set_steps(arena.step + 1)  # another step, so that the save has something to do
            begin = time.perf_counter()
            saves.save(arena)
            found.append(time.perf_counter() - begin)
            saves.note_save(arena, arena.saver.wait())
    finally:
        entering.leave(arena)
    return found


def tensors(megabytes: int) -> dict[str, torch.Tensor]:
    source = torch.Generator().manual_seed(1)
    return {f"layer.{n}": torch.randn(16, 2**14, generator=source) for n in range(megabytes)}  # 1 MB each


def our_write(parent: Path, base: Path, weights: dict[str, torch.Tensor], number: int) -> float:
    record: dict[str, Any] = {
        "step": number, "hero": "x", "train_loss": 1.0, "val_loss": None, "val_set": None, "learning_rate": 0.1, "epoch": 1.0,
        "skill_name": None, "skill_level": None, "training_file": None, "parent": None, "generation": 1, "template_hash": "x",
        "tokens": 1, "trained_tokens": 1, "seconds": 1.0, "quests": [], "timestamp": stamp(SYSTEM.now()),
    }  # fmt: skip
    begin = time.perf_counter()
    folder, _ = write_checkpoint(parent, f"checkpoint-{number}-20260101-0000", base, Weights(weights, None, {}), {}, record)
    taken = time.perf_counter() - begin
    remove_tree(folder)
    return taken


def plain_write(parent: Path, weights: dict[str, torch.Tensor], number: int) -> float:
    blocks = [memoryview(tensor.numpy()).cast("B") for tensor in weights.values()]
    begin = time.perf_counter()
    folder = new_dir(parent, f"plain-{number}")
    with (folder / "x").open("wb", buffering=0) as file:
        for block in blocks:
            file.write(block)
    fsync_file(folder / "x")
    commit_dir(folder, parent / f"plain-{number}")
    taken = time.perf_counter() - begin
    remove_tree(parent / f"plain-{number}")
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two rounds, 128 MB")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--mb", type=int, default=1024)
    asked = parser.parse_args()
    rounds, megabytes = (2, 128) if asked.quick else (5, asked.mb)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        make_home(place / "home")
        stalled = [1000 * one for one in stalls(place / "home", 4 * rounds)]
        weights, times = tensors(megabytes), {"ours": list[float](), "plain": list[float]()}
        base = place / "home" / "models" / "tiny"
        for number in range(rounds):
            times["ours"].append(our_write(place, base, weights, number + 1))
            times["plain"].append(plain_write(place, weights, number + 1))
    mine, plain = (statistics.median(times[name]) for name in ("ours", "plain"))
    rows = [
        {"work": "stall, tiny hero", "peer": "none", "ours": round(statistics.median(stalled), 2), "theirs": None, "ratio": None,
         "unit": "ms", "rounds": len(stalled), "goal": STALL_GOAL_MS, "largest": round(max(stalled), 2)},
        {"work": f"write {megabytes} MB", "peer": "plain write", "ours": round(mine, 2), "theirs": round(plain, 2),
         "ratio": round(mine / plain, 2), "unit": "s", "rounds": rounds, "goal": WRITE_GOAL},
    ]  # fmt: skip
    for row in rows:
        print(row)
    if asked.json:
        machine = {"machine": platform.machine(), "cores": os.cpu_count()}
        versions = {name: version(name) for name in ("torch", "safetensors")}
        asked.json.write_text(json.dumps({"machine": machine, "versions": versions, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
