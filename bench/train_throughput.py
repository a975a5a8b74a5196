"""Training throughput beside other trainers: same model, same rows, same run, rounds taken in turns.

    .venv/bin/python bench/train_throughput.py [--quick] [--json FILE] [--threads N] [--rounds N]
        [--works mixed,short,vocab152k] [--peers hf_padded,hf_group_by_length,trl_bfd,raw_loop]

Every side is a process of its own that stays up between its rounds; a round trains all rows of a work once. Tokens are
real ones, padding not counted. Ours and the peers start from the same random weights of 0.82 M parameters (20 M with the
vocabulary of 151,936) and use AdamW in fp32. TRL's setting is the fastest of those tried at the start of each work.
`ours_mb` and `theirs_mb` are the largest resident memory of the process. A peer that ends early is told and left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import venv
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.throughput.work import Work, make_work  # noqa: E402
from realm.core.clock import SYSTEM  # noqa: E402

PEERS = ("hf_padded", "hf_group_by_length", "trl_bfd", "raw_loop")
STEPS = {"mixed": 16, "short": 24, "vocab152k": 2}
ROUNDS = {"mixed": 5, "short": 5, "vocab152k": 3}
TRIED_STEPS = {"vocab152k": 1}  # of a round in which TRL's settings are tried, where a step takes ten seconds
GOALS = {
    ("mixed", "hf_padded"): 5.0, ("mixed", "hf_group_by_length"): 1.3, ("mixed", "trl_bfd"): 2.5,
    ("short", "trl_bfd"): 3.5, ("vocab152k", "hf_group_by_length"): 4.0, ("vocab152k", "trl_bfd"): 10.0,
}  # fmt: skip
MEMORY_GOALS = {("vocab152k", "hf_group_by_length"): 0.2}
OURS = {"mixed": 26, "short": 72, "vocab152k": 24}  # rows of a micro-batch
AS_THE_ARENA = {"OMP_WAIT_POLICY": "PASSIVE"}  # as the weaver starts it
TRL_SETTINGS = [
    {"max_length": length, "batch_size": batch, "accumulation": steps, "attention": "sdpa"}
    for length, batch, steps in ((512, 1, 4), (512, 4, 1), (1024, 1, 2), (2048, 1, 1))
]


class Side:
    """A running side: `round` trains once and returns {"tokens", "seconds", "cpu_seconds", "peak_mb"}."""

    def __init__(
        self, name: str, python: Path, work: Path, threads: int, setting: dict[str, Any], extra: dict[str, str] | None = None
    ) -> None:
        self.name, self.setting = name, setting
        path = work.with_name(f"{name}.setting.json")
        path.write_text(json.dumps(setting))
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), **(extra or {})}
        self._log = work.with_name(f"{name}.log").open("w+")
        self._process = subprocess.Popen(
            [str(python), str(ROOT / "bench" / "throughput" / "side.py"), name, str(work), str(threads), str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, env=environment,
        )  # fmt: skip

    def round(self) -> dict[str, float]:
        return self._ask("round")

    def _ask(self, order: str) -> dict[str, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(order + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._log.seek(0)
            raise SystemExit(f"{self.name} ended early:\n{self._log.read()[-3000:]}")
        found: dict[str, float] = json.loads(line)
        return found

    def end(self) -> float:
        """End the process; returns its peak memory in MB."""
        peak = self._ask("end")["peak_mb"]
        self.close()
        return peak

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait()
        self._log.close()


def peer_python() -> Path:
    """Return an interpreter that has the peers: this one, else that of .venv-bench, made now with this one's torch."""
    if subprocess.run([sys.executable, "-c", "import trl, accelerate, datasets"], capture_output=True).returncode == 0:
        return Path(sys.executable)
    place = ROOT / ".venv-bench"
    python = place / "bin" / "python"
    if not (place / "ready").is_file():
        print("installing the peers into .venv-bench (bench/requirements.txt)")
        venv.create(place, with_pip=True)
        packages = next(place.glob("lib/python*/site-packages"))
        shared = [path for path in sys.path if path.endswith("site-packages")]
        (packages / "shared.pth").write_text("\n".join(shared) + "\n")
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", ROOT / "bench" / "requirements.txt"], check=True)
        (place / "ready").touch()
    return python


def best_trl(python: Path, work: Work, folder: Path, threads: int) -> dict[str, Any]:
    """Try TRL's settings for two rounds each and return the fastest."""
    found = []
    rows = work.rows[: work.rows_per_step * TRIED_STEPS.get(work.name, STEPS[work.name])]
    path = folder / "tried.json"
    path.write_text(json.dumps({**work.as_json(), "rows": rows}))
    for setting in TRL_SETTINGS:
        side = Side("trl_bfd", python, path, threads, setting)
        try:
            side.round()
            found.append((side.round()["seconds"], setting))
        finally:
            side.close()
    return min(found, key=lambda pair: pair[0])[1]


def setting_of(name: str, work: Work, python: Path, path: Path, threads: int) -> dict[str, Any]:
    if name == "ours":
        return {"batch_size": OURS[work.name]}
    if name == "trl_bfd":
        return best_trl(python, work, path.parent, threads)
    return {"sampling": "group_by_length" if name == "hf_group_by_length" else "random"}


def measure(work: Work, peers: list[str], python: Path, threads: int, rounds: int) -> list[dict[str, Any]]:
    """Run all sides in turns, each round in another order, after one round to warm up."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "work.json"
        path.write_text(json.dumps(work.as_json()))
        names = ["ours", *peers]
        sides = {
            name: Side(name, Path(sys.executable) if name == "ours" else python, path, threads,
                       setting_of(name, work, python, path, threads), AS_THE_ARENA if name == "ours" else None)
            for name in names
        }  # fmt: skip
        try:
            taken: dict[str, list[dict[str, float]]] = {name: [] for name in names}
            for name in list(names):
                try:
                    sides[name].round()
                except SystemExit as ended:
                    if name == "ours":
                        raise
                    print(f"{work.name:9} {name:18} left out: {ended}", flush=True)
                    names.remove(name)
            for number in range(rounds):
                turn = number % len(names)
                for name in names[turn:] + names[:turn]:
                    taken[name].append(sides[name].round())
            peaks = {name: sides[name].end() for name in names}
        finally:
            for side in sides.values():
                side.close()
    return [row_of(work, peer, taken, peaks, sides[peer].setting, rounds) for peer in names[1:]]


def rate(taken: list[dict[str, float]], clock: str) -> float:
    return statistics.median(one["tokens"] / one[clock] for one in taken)


def row_of(
    work: Work, peer: str, taken: dict[str, list[dict[str, float]]], peaks: dict[str, float], setting: dict[str, Any],
    rounds: int,
) -> dict[str, Any]:  # fmt: skip
    ours, theirs = rate(taken["ours"], "seconds"), rate(taken[peer], "seconds")
    lengths = [len(ids) for ids, _ in work.rows]
    return {
        "work": work.name, "peer": peer, "ours": round(ours, 1), "theirs": round(theirs, 1),
        "ratio": round(ours / theirs, 2), "unit": "tokens/s", "rounds": rounds, "goal": GOALS.get((work.name, peer)),
        "ratio_of_cpu_time": round(rate(taken["ours"], "cpu_seconds") / rate(taken[peer], "cpu_seconds"), 2),
        "ours_mb": round(peaks["ours"]), "theirs_mb": round(peaks[peer]),
        "memory_ratio": round(peaks["ours"] / peaks[peer], 3), "memory_goal": MEMORY_GOALS.get((work.name, peer)),
        "setting": setting, "tokens_a_row": round(statistics.mean(lengths), 1), "longest_row": max(lengths),
        "rows_a_step": work.rows_per_step,
    }  # fmt: skip


def versions(python: Path) -> dict[str, str]:
    """Return the versions of ours and of the peers' packages."""
    asked = "import json; from importlib.metadata import version as v; print(json.dumps({n: v(n) for n in ('transformers', 'accelerate', 'trl', 'datasets')}))"  # noqa: E501
    told = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True).stdout
    return {"python": platform.python_version(), "torch": version("torch"), **json.loads(told)}


def show(row: dict[str, Any]) -> None:
    goal = f"goal {row['goal']:g}" if row["goal"] else ""
    if row["memory_goal"]:
        goal += f", memory {row['memory_goal']:g}"
    print(f"{row['work']:9} {row['peer']:18} ours {row['ours']:9.0f} theirs {row['theirs']:9.0f} tokens/s  "
          f"ratio {row['ratio']:6.2f} (CPU {row['ratio_of_cpu_time']:5.2f})  "
          f"{row['ours_mb']:5} of {row['theirs_mb']:5} MB ({row['memory_ratio']:.2f})  {goal}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two rounds of a quarter of the rows")
    parser.add_argument("--json", type=Path, help="write the result to this file")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads of every side")
    parser.add_argument("--rounds", type=int, help="default: 5, of vocab152k 3")
    parser.add_argument("--works", default=",".join(STEPS))
    parser.add_argument("--peers", default=",".join(PEERS))
    asked = parser.parse_args()
    python = peer_python()
    rows = []
    for name in asked.works.split(","):
        work = make_work(name, max(1, STEPS[name] // 4) if asked.quick else STEPS[name], 7)
        rounds = asked.rounds or (2 if asked.quick else ROUNDS[name])
        for row in measure(work, asked.peers.split(","), python, asked.threads, rounds):
            show(row)
            rows.append(row)
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "threads": asked.threads}
    if asked.json:
        now = SYSTEM.now().isoformat(timespec="seconds")
        result = {"machine": machine, "versions": versions(python), "at": now, "rows": rows}
        asked.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
