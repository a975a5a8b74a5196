"""Generation for evals: the oracle's decoder beside transformers' generate, on the tiny hero with random weights.

Random weights never end an answer, so every row writes all its new tokens: the slowest case. One thread.
Run: .venv/bin/python bench/generate.py [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from safetensors.torch import load

from realm.armory.hero_loading import LoadedHero, load_hero
from realm.armory.hero_presets import get_preset
from realm.armory.tiny_hero import make_tiny_hero
from realm.core.clock import SYSTEM
from realm.oracle.generate import PlainDecoder, generate

ROWS, NEW = 100, 24
WORDS = ("add", "sub", "mul", "xor", "shift")


def problem(source: random.Random, terms: int) -> str:
    def number() -> str:
        return "".join(source.choice("⓪①") for _ in range(source.randint(2, 5)))

    return "Compute: " + ", ".join(f"{source.choice(WORDS)}({number()}, {number()})" for _ in range(terms))


def texts_of(work: str) -> list[str]:
    source = random.Random(5)
    return [problem(source, 1 if work == "short" else source.randint(1, 16)) for _ in range(ROWS)]


def naive(hero: LoadedHero, rows: list[list[int]]) -> list[list[int]]:
    """transformers' generate, one prompt after the other."""
    model: Any = hero.model
    return [
        model.generate(torch.tensor([ids]), max_new_tokens=NEW, do_sample=False)[0, len(ids) :].tolist() for ids in rows
    ]


def batched(hero: LoadedHero, rows: list[list[int]]) -> list[list[int]]:
    """transformers' generate on all prompts at once, padded on the left."""
    model: Any = hero.model
    width, pad = max(map(len, rows)), hero.template.pad_id
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    found = model.generate(ids, attention_mask=mask, max_new_tokens=NEW, do_sample=False)
    return [row[width:].tolist() for row in found]


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(folder: Path, work: str, quick: bool) -> list[dict[str, Any]]:
    hero = load_hero(folder)
    decoder = PlainDecoder(dict(hero.config), load((folder / "model.safetensors").read_bytes()), "cpu", torch.float32)
    messages: list[Any] = [[{"role": "user", "content": text}] for text in texts_of(work)]
    rows = [one.ids for one in hero.template.render_many(messages, add_generation_prompt=True)]
    few = rows[:20] if quick else rows
    peers: dict[str, tuple[Callable[[], Any], int]] = {
        "oracle": (lambda: generate(decoder, rows, max_new_tokens=NEW, stop_ids=frozenset([hero.template.end_id])), len(rows)),
        "hf_naive": (lambda: naive(hero, few), len(few)),
        "hf_batch": (lambda: batched(hero, rows), len(rows)),
    }
    rates: dict[str, list[float]] = {name: [] for name in peers}
    for run, _ in peers.values():
        run()
    rounds = 2 if quick else 5
    for _ in range(rounds):
        for name, (run, count) in peers.items():
            rates[name].append(count / seconds(run))
    medians = {name: statistics.median(found) for name, found in rates.items()}
    ours = medians["oracle"]
    return [
        {
            "work": work,
            "peer": peer,
            "ours": round(ours, 1),
            "theirs": round(medians[peer], 1),
            "ratio": round(ours / medians[peer], 2),
            "unit": "problems/s",
            "rounds": rounds,
            "seconds_per_100": round(100 / ours, 4),
            "prompt_tokens_mean": round(statistics.mean(map(len, rows)), 1),
        }
        for peer in ("hf_naive", "hf_batch")
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two rounds, 20 problems for the slow peer")
    parser.add_argument("--json", type=Path, help="write the result to this file")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "hero"
        make_tiny_hero(get_preset("tiny"), texts_of("short"), 1, folder)
        rows = [row for work in ("short", "mixed") for row in measure(folder, work, asked.quick)]
    versions = {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__}
    machine = {"machine": platform.machine(), "processor": platform.processor() or "unknown", "threads": 1}
    result = {
        "machine": machine,
        "versions": {**versions, "tokenizers": tokenizers.__version__},
        "at": SYSTEM.now().isoformat(timespec="seconds"),
        "rows": rows,
    }
    for row in rows:
        sides = f"ours {row['ours']:8} theirs {row['theirs']:7} ratio {row['ratio']:6}"
        print(f"{row['work']:6} {row['peer']:9} {sides} {row['unit']}")
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
