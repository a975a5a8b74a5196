"""A hero of Qwen3-0.6B's size on this machine: made with random weights, trained, saved, resumed, served; peaks and seconds.

    .venv/bin/python bench/large_hero.py [--quick] [--json FILE] [--adapter lora] [--tokenizer FILE] [--steps 2]

The configuration is Qwen/Qwen3-0.6B's own, the weights are random (only sizes and speed are measured). Each phase is a
process of its own, as it is in a realm; its peak is the largest resident memory. Without --tokenizer (the model's own
tokenizer.json) a small one is trained; ids then use a part of the vocabulary. --quick leaves out the second start.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# huggingface.co/Qwen/Qwen3-0.6B, config.json
QWEN = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 151_936, "hidden_size": 1024,
    "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
    "hidden_act": "silu", "max_position_embeddings": 40_960, "rms_norm_eps": 1e-6, "attention_bias": False,
    "attention_dropout": 0.0, "tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    "bos_token_id": None, "eos_token_id": 151_645, "pad_token_id": 151_643, "dtype": "bfloat16",
}  # fmt: skip
PEAK_GOAL_MB = 14_000
ROWS_A_STEP = 4


def make(folder: Path, tokenizer_file: Path | None) -> None:
    """Write the base model's folder: random bf16 weights, the configuration, a tokenizer."""
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from realm.armory.tiny_hero import write_hero_texts
    from realm.armory.tokenizer import train_tokenizer

    torch.manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    model = Qwen3ForCausalLM(Qwen3Config(**{key: value for key, value in QWEN.items() if key not in ("model_type", "dtype")}))
    folder.mkdir(parents=True)
    save_file(dict(model.named_parameters()), folder / "model.safetensors", {"format": "pt"})
    texts = [row["content"] for messages in conversations(64) for row in messages]
    tokenizer = Tokenizer.from_file(str(tokenizer_file)) if tokenizer_file else train_tokenizer(texts, 600)
    write_hero_texts(folder, tokenizer, QWEN)


def conversations(count: int) -> list[list[dict[str, str]]]:
    from realm.guild.skills.bin import SKILL

    items = SKILL.generate(3, count, 1, "train", {"show-work": 1.0})
    return [[{"role": "user", "content": item.user_prompt}, {"role": "assistant", "content": item.assistant_response}]
            for item in items]  # fmt: skip


def found(home: Path, base: Path, adapter: str, steps: int) -> None:
    """Found the hero, put a quest on the board's inbox and configure short steps and a save at each second one."""
    from realm.armory.config import read_raw, write_config
    from realm.armory.heroes import active_preset
    from realm.core.paths import Paths
    from realm.gate.founding import create_hero

    paths = Paths(home).ensure()
    create_hero(paths, str(base), "dio", name=None, seed=1)
    change = {"batch_size": ROWS_A_STEP, "gradient_accumulation": 1, "save_steps": steps, "adapter": {"kind": adapter}}
    write_config(paths, read_raw(paths) | {"training": change}, active_preset(paths))
    rows = [json.dumps({"messages": messages}, ensure_ascii=False) for messages in conversations(ROWS_A_STEP * (steps + 1))]
    (paths.inbox / "quest.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")


def serve(home: Path) -> dict[str, Any]:
    """Answer one question with the newest checkpoint, as the oracle does."""
    from realm.core.paths import Paths
    from realm.oracle.checkpoints import find_source, read_verified
    from realm.oracle.mind import open_mind
    from realm.vault import ledger

    folder = ledger.folders(Paths(home))[-1]
    begin = time.perf_counter()
    mind = open_mind(read_verified(find_source(Paths(home), ledger.extract_step(folder.name))))
    loaded = time.perf_counter() - begin
    begin = time.perf_counter()
    mind.answer([[{"role": "user", "content": "Compute: add(①, ①)"}]], max_new_tokens=8)
    return {"load_s": loaded, "answer_s": time.perf_counter() - begin, "checkpoint": folder.name}


def child(order: list[str]) -> tuple[float, float, str]:
    """Run a phase as its own process; returns its seconds, its peak in MB and what it printed."""
    begin = time.perf_counter()
    process = subprocess.Popen(order, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(order)} ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - begin, usage.ru_maxrss / 1024, text


def phases(place: Path, asked: argparse.Namespace) -> list[dict[str, Any]]:
    base, home = place / "base", place / "home"
    me = [sys.executable, str(Path(__file__).resolve())]
    realm = [sys.executable, "-m", "realm.cli", "--home", str(home), "arena", "train", "--max-steps"]
    tokenizer = ["--tokenizer", str(asked.tokenizer)] if asked.tokenizer else []
    orders = {
        "make": [*me, "--phase", "make", "--place", str(base), *tokenizer],
        "found": [*me, "--phase", "found", "--place", str(place), "--adapter", asked.adapter, "--steps", str(asked.steps)],
        f"train {asked.steps} steps and save": [*realm, str(asked.steps), "--once"],
    }
    if not asked.quick:
        orders["resume, one step, save"] = [*realm, "1", "--once"]
    orders["serve one answer"] = [*me, "--phase", "serve", "--place", str(home)]
    rows = []
    for name, order in orders.items():
        seconds, peak, text = child(order)
        rows.append({"work": name, "peer": "none", "ours": round(peak), "theirs": None, "ratio": None, "unit": "MB peak",
                     "rounds": 1, "seconds": round(seconds, 1), "goal": PEAK_GOAL_MB, "told": text.strip()[-300:]})  # fmt: skip
        print(f"{name:28} {peak:8.0f} MB peak  {seconds:7.1f} s  {text.strip()[-200:]}", flush=True)
    folder = max((home / "models" / "current_model").iterdir())
    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    print(f"a checkpoint has {size:.0f} MB")
    rows.append({**rows[-1], "work": "checkpoint", "ours": round(size), "unit": "MB", "seconds": None, "goal": None})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--adapter", default="none")
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--phase", help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.phase == "make":
        return make(asked.place, asked.tokenizer)
    if asked.phase == "found":
        return found(asked.place / "home", asked.place / "base", asked.adapter, asked.steps)
    if asked.phase == "serve":
        return print(json.dumps(serve(asked.place)))
    with tempfile.TemporaryDirectory() as place:
        rows = phases(Path(place), asked)
    if asked.json:
        machine = {"machine": platform.machine(), "cores": os.cpu_count(),
                   "limit": resource.getrlimit(resource.RLIMIT_AS)[0]}  # fmt: skip
        versions = {name: version(name) for name in ("torch", "transformers", "safetensors")}
        asked.json.write_text(json.dumps({"machine": machine, "versions": versions, "rows": rows}, indent=1) + "\n")
    return None


if __name__ == "__main__":
    main()
