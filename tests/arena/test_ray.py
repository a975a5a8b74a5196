"""Training with processes that Ray Train starts: the curve of one process, stopped and ended like any other battle."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex

import psutil
import pytest
from fight_kit import put
from quest_files import configure, trained_examples, wait_until
from test_battle import twin
from test_kill import lines_of
from test_parallel import listening, losses, start, state, train

from realm.arena import ray_train
from realm.core.daemon import StopFlag
from realm.core.errors import Conflict, Unavailable
from realm.core.paths import Paths
from realm.vault import ledger

STEPS = 400  # some seconds, so that a signal comes before the end
COMPARED = 20
START_S = 300.0  # Ray's own processes and two imports of torch, on a slow machine


def test_a_word_is_passed_on() -> None:
    async def talk() -> object:
        word = ray_train.Word()
        waits = asyncio.create_task(word.stopped())
        await asyncio.sleep(0)
        assert not waits.done()
        assert await word.ending() is None
        await word.stop()
        await waits
        for number in (3, 5):
            await word.end({"code": "conflict", "message": f"taken {number}", "hint": "wait", "exit_code": number})
        return await word.ending()

    told = asyncio.run(talk())
    assert isinstance(told, dict)
    found = ray_train.Failed(told)
    assert (found.message, found.hint, found.code, found.exit_code) == ("taken 3", "wait", "conflict", 3)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_train, "find_spec", lambda name: None)
    with pytest.raises(Unavailable, match=r"realm-of-training\[ray\]"):
        ray_train.train(lambda told: None, {}, 2, "cpu", Path(), StopFlag(), lambda: None)


def test_a_second_start_is_refused_before_ray(home: Paths) -> None:
    from realm.cli.arena_fight import fight
    from realm.core.daemon import single_instance

    os.environ["REALM_HOME"] = str(home.home)
    with single_instance(home, "arena"), pytest.raises(Conflict, match="already runs"):
        fight(until_idle=True, ray=2)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(find_spec("ray") is None, reason="the extra [ray] is not installed")
def test_two_processes_of_ray_train_as_one_and_stop_at_a_signal(home: Paths) -> None:
    configure(home, threads=1)
    put(home, "a.jsonl", 4 * STEPS)
    two = twin(home)
    train(home)
    trace = two.home.parent / "ray.trace"

    begun = start(two, str(trace), "ray")
    try:
        wait_until(lambda: lines_of(trace) >= 1 or begun.poll() is not None, START_S)
        assert begun.poll() is None, begun.communicate()[1][-3000:]
        workers = psutil.Process(begun.pid).children(recursive=True)
        assert listening(begun) == {"127.0.0.1"}
        os.killpg(begun.pid, signal.SIGTERM)
        assert begun.wait(START_S) == 0, begun.communicate()[1][-3000:]
    finally:
        begun.kill()  # the kernel ends Ray's processes with it
    done = trained_examples(trace)[0]
    assert ledger.extract_step(ledger.folders(two)[-1].name) == max(done) == lines_of(trace), "the last step is saved"
    assert state(two)["versions"]["processes"] == "2"
    assert psutil.wait_procs(workers, 30)[1] == [], "nothing of Ray is left"

    train(two, "--ray", "2", trace=str(trace))
    alone, together = losses(home), losses(two)
    assert len(alone) == len(together) == STEPS
    assert max(abs(a - b) for a, b in zip(alone[:COMPARED], together[:COMPARED], strict=True)) <= 1e-5
    assert max(abs(a - b) for a, b in zip(alone, together, strict=True)) <= 1e-2
    assert set(trained_examples(trace)[1].values()) == {1}


# Two machines as Ray sees them: nodes of one processor each, so that two processes cannot meet on one of them.
NODES = """
import sys
from ray.cluster_utils import Cluster
small = {"num_cpus": 1, "object_store_memory": 80 * 1024**2, "include_dashboard": False, "node_ip_address": "127.0.0.1"}
cluster = Cluster(initialize_head=True, head_node_args=small)
cluster.add_node(**{name: value for name, value in small.items() if name != "include_dashboard"})
cluster.wait_for_nodes()
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@contextmanager
def two_nodes(environment: dict[str, str]) -> Iterator[str]:
    """Start a cluster of two nodes of this machine; gives its address."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", NODES], env=environment, text=True, start_new_session=True, **pipes) as nodes:
        try:
            assert nodes.stdout is not None
            address = nodes.stdout.readline().strip()
            assert address
            yield address
        finally:
            assert nodes.stdin is not None
            nodes.stdin.close()
            nodes.wait(START_S)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(find_spec("ray") is None, reason="the extra [ray] is not installed")
def test_a_cluster_of_two_nodes_trains_as_one_process(home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(home, threads=1)
    put(home, "a.jsonl", 4 * COMPARED)
    two = twin(home)
    train(home)
    for name, value in {**ray_train.QUIET, **ray_train.ALONE, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token_hex(32)}.items():
        monkeypatch.setenv(name, value)
    with two_nodes(dict(os.environ)) as address:
        monkeypatch.setenv(ray_train.ADDRESS, address)
        train(two, "--ray", "2")
    alone, together = losses(home), losses(two)
    assert len(alone) == len(together) == COMPARED
    assert max(abs(a - b) for a, b in zip(alone, together, strict=True)) <= 1e-5
    assert state(two)["versions"]["processes"] == "2"
    assert list(two.run.glob("realm-ray-*")) == []
