"""Training divided among processes: the same losses as one, followed to the same weights, resumed by one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from fight_kit import put
from hypothesis import given
from hypothesis import strategies as st
from quest_files import configure, wait_until
from safetensors.torch import load_file
from test_battle import twin
from test_kill import lines_of

from realm.arena.parallel import shares
from realm.core.paths import Paths
from realm.core.store import read_telemetry
from realm.vault import ledger

ROOT = Path(__file__).parents[2]


@given(st.lists(st.integers(1, 500), min_size=1, max_size=64), st.integers(1, 5))
def test_rows_are_dealt_once_and_evenly(lengths: list[int], count: int):
    hands = shares(lengths, count)
    assert sorted(row for hand in hands for row in hand) == list(range(len(lengths)))
    loads = [sum(lengths[row] for row in hand) for hand in hands]
    assert max(loads) - min(loads) <= max(lengths)
    assert hands == shares(lengths, count)


def train(paths: Paths, *more: str, trace: str | None = None) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE", "REALM_TRACE_EXAMPLES")}
    order = [sys.executable, "-m", "realm.cli", "--home", str(paths.home), "arena", "train", "--once", *more]
    environment |= {"PYTHONPATH": str(ROOT)} | ({"REALM_TRACE_EXAMPLES": trace} if trace else {})
    done = subprocess.run(order, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]


def start(paths: Paths, trace: str, engine: str) -> subprocess.Popen[str]:
    """Start as the weaver starts a service: in a group of its own, which gets the signals."""
    configure(paths, engine=engine, parallel={"processes": 2})
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "REALM_TRACE_EXAMPLES": trace}
    order = [sys.executable, "-m", "realm.cli", "--home", str(paths.home), "arena", "train", "--once"]
    return subprocess.Popen(order, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)


def listening(process: subprocess.Popen[str]) -> set[str]:
    """Addresses at which a process and everything it started take connections."""
    found = set()
    for one in (root := psutil.Process(process.pid), *root.children(recursive=True)):
        places = one.net_connections("tcp")
        found |= {place.laddr.ip.removeprefix("::ffff:") for place in places if place.status == psutil.CONN_LISTEN}
    return found


def losses(paths: Paths) -> list[float]:
    telemetry = read_telemetry(paths)
    try:
        return [row["loss"] for row in telemetry.execute("SELECT loss FROM steps ORDER BY step")]
    finally:
        telemetry.close()


def state(paths: Paths) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ledger.folders(paths)[-1] / "state.json").read_text())
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_train_as_one_and_one_goes_on_from_their_checkpoint(home: Paths) -> None:
    configure(home, threads=1)
    put(home, "a.jsonl", 80)
    two = twin(home)
    configure(two, engine="torchrun", parallel={"processes": 2})
    train(home)
    train(two, "--max-steps", "20")
    alone, together = losses(home), losses(two)
    assert len(alone) == len(together) == 20
    assert max(abs(a - b) for a, b in zip(alone, together, strict=True)) <= 1e-5
    assert state(two)["versions"]["processes"] == "2"
    configure(two, engine="local")
    for paths in (home, two):
        put(paths, "b.jsonl", 16, start=80)
        train(paths)
    assert max(abs(a - b) for a, b in zip(losses(home), losses(two), strict=True)) <= 1e-5
    one, other = (load_file(ledger.folders(paths)[-1] / "model.safetensors") for paths in (home, two))
    assert all(torch.allclose(one[name], other[name], atol=1e-4) for name in one)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_processes_meet_where_nobody_else_can_and_leave_nothing(home: Paths, tmp_path: Path) -> None:
    configure(home, threads=1)
    put(home, "a.jsonl", 2000)
    trace = tmp_path / "trace"
    begun = start(home, str(trace), "torchrun")
    try:
        wait_until(lambda: lines_of(trace) >= 1 or begun.poll() is not None, 300)
        assert begun.poll() is None, begun.communicate()[1][-3000:]
        assert listening(begun) <= {"127.0.0.1"}
        os.killpg(begun.pid, signal.SIGTERM)
        assert begun.wait(300) == 0, begun.communicate()[1][-3000:]
    finally:
        begun.kill()
    assert ledger.extract_step(ledger.folders(home)[-1].name) == lines_of(trace), "the last step is saved"
