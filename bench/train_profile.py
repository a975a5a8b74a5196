"""Where the time of a training step goes, and how much of the processor's matrix speed it reaches, on one core.

    .venv/bin/python bench/train_profile.py [--quick] [--json FILE] [--works mixed,short]

The works of train_throughput.py, the engine's own step as the battle calls it, on one thread. Steps without a profiler and
the largest matrix speed are measured in turns; then torch's profiler gives every kernel's own time, which is added up by
kind. Operations of products are counted by the shapes that were multiplied; attention's are not among them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
for place in (ROOT, ROOT / "bench" / "throughput"):
    sys.path.insert(0, str(place))
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

from bench.throughput.side import engine  # noqa: E402
from bench.throughput.work import make_work  # noqa: E402
from bench.train_throughput import OURS  # noqa: E402
from realm.core.clock import SYSTEM  # noqa: E402

SIDE = 1024  # of the square matrices whose product measures the processor's speed
PRODUCTS = ("mm", "addmm", "addmm_", "bmm", "baddbmm")
KINDS: dict[str, tuple[str, ...]] = {
    "products of matrices": PRODUCTS,
    "attention": ("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention_for_cpu_backward"),
    "norms, gains, rotations, activations": (
        "mul", "mul_", "add", "add_", "addcmul", "addcmul_", "silu", "silu_backward", "linalg_vector_norm", "sum", "square_",
        "pow_", "rsqrt_", "rsqrt", "pow", "mean", "neg", "conj", "_fused_rms_norm", "div", "sub",
    ),
    "copies": ("cat", "copy_", "clone", "index", "index_select", "index_copy_", "embedding", "embedding_dense_backward"),
    "loss": ("_log_softmax", "_log_softmax_backward_data", "nll_loss_forward", "nll_loss_backward"),
    "optimiser": ("_fused_adamw_", "_foreach_add_", "norm", "zero_", "fill_"),
}  # fmt: skip


def kind_of(name: str) -> str:
    """Return the kind of a profiled event; what torch does around kernels (views, allocation, autograd) is the rest."""
    bare = name.removeprefix("aten::")
    return next((kind for kind, names in KINDS.items() if bare in names), "views, allocation, interpreter, autograd")


def operations(shapes: list[list[int]], calls: int) -> float:
    """Return floating point operations of `calls` products: the last two matrices of the shapes are multiplied."""
    first, second = [shape for shape in shapes if len(shape) >= 2][-2:]
    found = 2.0 * calls * second[-1]
    for size in first:
        found *= size
    return found


def matrix_speed() -> float:
    """Return operations a second of the product of two square matrices, the best of five."""
    import torch

    one, other, into = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE), torch.empty(SIDE, SIDE)
    best = 0.0
    for _ in range(5):
        begin = time.perf_counter()
        torch.mm(one, other, out=into)
        best = max(best, 2.0 * SIDE**3 / (time.perf_counter() - begin))
    return best


def profile_of(turn: Callable[[], None], steps: int) -> dict[str, Any]:
    """Return milliseconds a step by kind, and the operations of products a step."""
    from torch.profiler import ProfilerActivity, profile

    begin = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as watch:
        turn()
    whole = time.perf_counter() - begin
    kinds: dict[str, float] = {}
    counted = 0.0
    for event in watch.key_averages(group_by_input_shape=True):
        kinds[kind_of(event.key)] = kinds.get(kind_of(event.key), 0.0) + event.self_cpu_time_total / 1e3 / steps
        if event.key.removeprefix("aten::") in PRODUCTS and event.self_cpu_time_total:
            counted += operations(event.input_shapes, event.count)
    ordered = dict(sorted(kinds.items(), key=lambda pair: -pair[1]))
    return {"profiled_ms": 1e3 * whole / steps, "kinds_ms": ordered, "operations": counted / steps}


def measure(name: str, steps: int, rounds: int) -> dict[str, Any]:
    work = make_work(name, steps, 7)
    turn = engine(work.as_json(), OURS[name], 1)
    turn()
    taken, speeds = [], []
    for _ in range(rounds):
        speeds.append(matrix_speed())
        begin = time.perf_counter()
        turn()
        taken.append((time.perf_counter() - begin) / steps)
    found = profile_of(turn, steps)
    seconds, peak = statistics.median(taken), statistics.median(speeds)
    share = {kind: ms / sum(found["kinds_ms"].values()) for kind, ms in found["kinds_ms"].items()}
    in_products = found["kinds_ms"]["products of matrices"] / 1e3
    return {
        "work": name, "steps": steps, "rounds": rounds, "ms_a_step": 1e3 * seconds,
        "tokens_per_s": sum(len(ids) for ids, _ in work.rows) / steps / seconds, "share": share, **found,
        "gflops": found["operations"] / seconds / 1e9, "gflops_in_products": found["operations"] / in_products / 1e9,
        "peak_gflops": peak / 1e9, "share_of_peak": found["operations"] / seconds / peak,
        "faster_without_the_rest": 1 / share["products of matrices"],
    }  # fmt: skip


def show(row: dict[str, Any]) -> None:
    r = {key: round(value) for key, value in row.items() if isinstance(value, float)}
    print(f"{row['work']}: {row['ms_a_step']:.1f} ms a step, {r['tokens_per_s']} tokens/s; {r['gflops']} GFLOP/s in products "
          f"over the whole step, {row['share_of_peak']:.0%} of {r['peak_gflops']}; {r['gflops_in_products']} in their own time; "
          f"{row['faster_without_the_rest']:.2f} times as fast if all else took no time")  # fmt: skip
    for kind, share in row["share"].items():
        print(f"  {share:6.1%}  {row['kinds_ms'][kind]:7.2f} ms  {kind}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of few steps")
    parser.add_argument("--json", type=Path, help="write the result to this file")
    parser.add_argument("--works", default="mixed,short")
    asked = parser.parse_args()
    rows = [measure(name, 4 if asked.quick else 16, 1 if asked.quick else 9) for name in asked.works.split(",")]
    for row in rows:
        show(row)
    if asked.json:
        machine = {"machine": platform.machine(), "cores": os.cpu_count(), "threads": 1}
        versions = {"python": platform.python_version(), "torch": version("torch"), "transformers": version("transformers")}
        result = {"machine": machine, "versions": versions, "at": SYSTEM.now().isoformat(timespec="seconds"), "rows": rows}
        asked.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
