"""One side of bench/train_throughput.py, a process of its own: trains a round whenever it is told to, and tells its times.

    python bench/throughput/side.py SIDE WORK.json THREADS [SETTING.json]

Reads lines: `round` trains all rows of the work once, anything else ends. Writes one JSON line a round, and one with the
peak memory at the end. Every side starts from the same random weights and trains the same rows with AdamW, in fp32.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ.update(TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1", ACCELERATE_USE_CPU="true")

RATE, BETAS, DECAY, CLIP = 1e-3, (0.9, 0.98), 0.01, 1.0
ROUNDS = 1000  # more than any run asks for

Answer = Callable[[dict[str, Any]], None]


def peak_mb() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Gate:
    """Holds a training between two rounds: waits for the order, then times what follows."""

    def __init__(self, answer: Answer, tokens: int) -> None:
        self._answer, self._tokens = answer, tokens
        self._begin: tuple[float, float] | None = None

    def wait(self) -> bool:
        """Report the round that ends here, wait for the next order; False means the end."""
        if self._begin is not None:
            wall, cpu = time.perf_counter() - self._begin[0], time.process_time() - self._begin[1]
            self._answer({"tokens": self._tokens, "seconds": wall, "cpu_seconds": cpu, "peak_mb": peak_mb()})
        if sys.stdin.readline().strip() != "round":
            return False
        self._begin = time.perf_counter(), time.process_time()
        return True


def new_model(config: dict[str, Any], attention: str = "sdpa") -> Any:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(1)
    made = Qwen3Config(**{key: value for key, value in config.items() if key != "model_type"})
    made._attn_implementation = attention
    return Qwen3ForCausalLM(made)


def engine(work: dict[str, Any], batch_size: int, threads: int) -> Callable[[], None]:
    """Return what trains all rows once with the engine's own step, as the battle calls it.

    It uses AdamW and no averaged weights, as the peers do.
    """
    from realm.arena.formation.batching import plan_batches
    from realm.arena.formation.rows import EncodedRow
    from realm.arena.kept_memory import keep_freed_memory
    from realm.arena.stepper import Stepper, fix_numerics
    from realm.armory.hero_presets import get_preset

    keep_freed_memory()
    fix_numerics(threads)
    change = {
        "batch_size": batch_size, "gradient_accumulation": 1, "learning_rate": RATE, "matrices": "adamw",
        "betas": BETAS, "weight_decay": DECAY, "clip": CLIP, "ema_decay": None,
    }  # fmt: skip
    training = get_preset("tiny").training.model_copy(update=change)
    stepper = Stepper(new_model(work["config"]), training, work["config"]["pad_token_id"])
    rows = [EncodedRow(ids, trained, number) for number, (ids, trained) in enumerate(work["rows"])]
    lengths = [len(row) for row in rows]
    seeds = iter(range(ROUNDS))

    def turn() -> None:
        for step in plan_batches(lengths, work["rows_per_step"], next(seeds)):
            stepper.step([rows[n] for n in step])

    return turn


def run_ours(work: dict[str, Any], setting: dict[str, Any], gate: Gate) -> None:
    turn = engine(work, setting["batch_size"], setting["threads"])
    while gate.wait():
        turn()


def main() -> None:
    side, path, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    setting = {"threads": threads, **(json.loads(Path(sys.argv[4]).read_text()) if len(sys.argv) > 4 else {})}
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print does not mix with the answers

    def answer(found: dict[str, Any]) -> None:
        out.write(json.dumps(found) + "\n")
        out.flush()

    import torch

    torch.set_num_threads(threads)
    work = json.loads(path.read_text())
    gate = Gate(answer, sum(len(ids) for ids, _ in work["rows"]))
    if side == "ours":
        run_ours(work, setting, gate)
    else:
        from peers import RUN

        RUN[side](work, setting, gate)
    answer({"peak_mb": peak_mb()})


if __name__ == "__main__":
    main()
