"""One instance by a lock that dies with its process, a stop flag that is safe in a signal handler, a loop that goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from realm.core.clock import FakeClock
from realm.core.daemon import Heartbeat, StopFlag, lock_holder, read_heartbeat, run_loop, single_instance
from realm.core.errors import Conflict
from realm.core.paths import Paths

HOLD = """
import sys
from pathlib import Path
from realm.core.daemon import single_instance
from realm.core.paths import Paths
with single_instance(Paths(Path(sys.argv[1])), "arena"):
    print(1, flush=True)
    sys.stdin.read()
"""


def holder(paths: Paths) -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(paths.home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"1\n"
    return child


def test_a_second_instance_is_refused_naming_the_holder_and_a_kill_frees_the_lock(empty_home: Paths) -> None:
    child = holder(empty_home)
    try:
        assert lock_holder(empty_home, "arena") == child.pid
        with pytest.raises(Conflict, match=f"process {child.pid}"), single_instance(empty_home, "arena"):
            pytest.fail("two instances")
    finally:
        child.kill()
        child.communicate()
    assert lock_holder(empty_home, "arena") is None
    with single_instance(empty_home, "arena"):
        assert lock_holder(empty_home, "arena") == os.getpid()
    assert lock_holder(empty_home, "arena") is None


def test_other_names_and_other_homes_are_apart(empty_home: Paths, tmp_path: object) -> None:
    with single_instance(empty_home, "arena"), single_instance(empty_home, "weaver"):
        assert lock_holder(empty_home, "evaluator") is None


def test_a_look_does_not_keep_an_instance_from_starting(empty_home: Paths) -> None:
    """`realm status` looks while the weaver starts the arena."""
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            lock_holder(empty_home, "arena")

    lookers = [threading.Thread(target=look) for _ in range(2)]
    with single_instance(empty_home, "arena"):
        pass
    for looker in lookers:
        looker.start()
    try:
        for _ in range(30):
            with single_instance(empty_home, "arena"):
                pass
            time.sleep(0.001)
    finally:
        stop.set()
        for looker in lookers:
            looker.join()


def test_a_signal_at_any_line_of_a_wait_does_not_hang() -> None:
    """The handler runs between two instructions of whatever the main thread does, also inside `wait` itself."""
    code = """
import signal, sys, threading
from realm.core.daemon import StopFlag
for line in range(60):
    flag, count = StopFlag(), 0
    signal.signal(signal.SIGUSR1, lambda *_: flag.set())
    def trace(frame, event, arg):
        global count
        count += 1
        if count == line:
            signal.raise_signal(signal.SIGUSR1)
        return trace
    sys.settrace(trace)
    flag.wait(0.001)
    flag.is_set()
    sys.settrace(None)
print("done")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "done\n", done.stderr


def test_wait_ends_at_once_when_set() -> None:
    flag = StopFlag()
    assert flag.wait(0.0) is False
    begin = time.monotonic()
    threading.Timer(0.05, flag.set).start()
    assert flag.wait(20) is True
    assert time.monotonic() - begin < 5
    assert flag.wait(20) is True
    flag.set()
    assert flag.is_set()


def test_flags_give_their_descriptors_back() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(200):
        StopFlag().set()
    assert len(os.listdir("/proc/self/fd")) <= before + 4


SIGNALS = """
import time
from realm.core.daemon import StopFlag
flag = StopFlag().install()
print(1, flush=True)
while not flag.wait(10): pass
print("flag", flush=True)
time.sleep(20)
"""


def test_the_first_signal_asks_and_the_second_ends() -> None:
    child = subprocess.Popen([sys.executable, "-c", SIGNALS], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"1\n"
    child.send_signal(signal.SIGTERM)
    assert child.stdout.readline() == b"flag\n"
    child.send_signal(signal.SIGTERM)
    assert child.wait(10) == 130
    child.stdout.close()


def test_heartbeat_at_most_once_a_second(empty_home: Paths) -> None:
    clock = FakeClock()
    beat, path = Heartbeat(empty_home, "x", clock), empty_home.run / "x.heartbeat"
    beat.beat("1")
    clock.advance(0.5)
    beat.beat("2")
    found = read_heartbeat(path)
    assert found is not None
    assert (found["progress"], found["pid"]) == ("1", os.getpid())
    clock.advance(0.6)
    beat.beat("3")
    assert (read_heartbeat(path) or {})["progress"] == "3"
    path.write_bytes(b"")
    assert read_heartbeat(path) is None


def test_the_loop_goes_on_after_an_error_and_backs_off(empty_home: Paths) -> None:
    stop, calls, pauses = StopFlag(), [], []

    def tick() -> float:
        calls.append(1)
        if len(calls) < 4:
            raise ValueError("once more")
        stop.set()
        return 0.0

    stop.wait = lambda seconds: pauses.append(seconds) or stop.is_set()  # type: ignore[assignment,func-returns-value,method-assign]
    run_loop(tick, stop, Heartbeat(empty_home, "x", FakeClock()), name="x")
    assert len(calls) == 4
    assert sum(pauses) == pytest.approx(1 + 2 + 4, abs=0.01)
