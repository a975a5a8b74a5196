"""The loop of a long-running process: one instance by a held lock, a heartbeat, SIGTERM finishes the unit of work."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from realm.core.clock import SYSTEM, Clock, stamp
from realm.core.durable import read_projection, write_json_fast
from realm.core.errors import Conflict
from realm.core.logs import get_logger
from realm.core.paths import Paths

log = get_logger("daemon")
LOCK_TRIES, LOCK_PAUSE_S = 5, 0.02


@contextmanager
def single_instance(paths: Paths, name: str) -> Iterator[None]:
    """Hold the lock of `name` for the life of the process; the kernel frees it when the process dies, however it dies.

    Raises Conflict naming the holder when another process has it.
    """
    paths.run.mkdir(parents=True, exist_ok=True)
    path = paths.run / f"{name}.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            _lock(handle)
        except BlockingIOError as error:
            holder = os.pread(handle, 64, 0).decode(errors="replace").strip() or "unknown"
            raise Conflict(
                f"{name} already runs on {paths.home} (process {holder})",
                hint=f"stop process {holder} first, or give another --home",
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    """Take the lock; a look by `lock_holder` holds it for a moment, so one refusal is not yet an answer."""
    for _ in range(LOCK_TRIES - 1):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_S)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def lock_holder(paths: Paths, name: str) -> int | None:
    """Return the process id that holds the lock of `name`, or None when nobody does."""
    path = paths.run / f"{name}.lock"
    if not path.exists():
        return None
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(handle, 64, 0).decode(errors="replace").strip()
        return int(text) if text.isdigit() else None
    finally:
        os.close(handle)
    return None


class StopFlag:
    """Set by SIGTERM and SIGINT; a second signal ends the process at once without saving."""

    def __init__(self) -> None:
        # A pipe and not a threading.Event: an Event's lock may be held by the very frame the signal interrupts.
        self._set = False
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        weakref.finalize(self, _close, self._reader, self._writer)

    def install(self) -> StopFlag:
        """Take over SIGTERM and SIGINT; only a flag is set in the handler."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        return self

    def _on_signal(self, _number: int, _frame: Any) -> None:
        if self._set:
            os._exit(130)
        self.set()

    def set(self) -> None:
        if not self._set:
            self._set = True
            os.write(self._writer, b"!")

    def is_set(self) -> bool:
        return self._set

    def wait(self, seconds: float) -> bool:
        """Wait up to `seconds`; returns True as soon as the flag is set."""
        if not self._set:
            select.select([self._reader], [], [], max(0.0, seconds))
        return self._set


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


class Heartbeat:
    """A small file that says who lives, in which instance and how far it is; written at most once a second."""

    def __init__(self, paths: Paths, name: str, clock: Clock = SYSTEM, every_s: float = 1.0) -> None:
        self._path = paths.run / f"{name}.heartbeat"
        self._clock = clock
        self._every = every_s
        self._last = -1e9

    def beat(self, progress: str = "", *, force: bool = False) -> None:
        now = self._clock.monotonic()
        if not force and now - self._last < self._every:
            return
        self._last = now
        write_json_fast(
            self._path,
            {
                "pid": os.getpid(),
                "instance": os.environ.get("REALM_INSTANCE", ""),
                "monotonic": now,
                "at": stamp(self._clock.now()),
                "progress": progress,
            },
        )


    @contextmanager
    def during(self, progress: str) -> Iterator[None]:
        """Beat from a thread while one call that has its own time limit is under way."""
        done = threading.Event()

        def beat_on() -> None:
            while not done.wait(self._every):
                self.beat(progress, force=True)

        thread = threading.Thread(target=beat_on, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def read_heartbeat(path: Path) -> dict[str, Any] | None:
    """Return the last heartbeat, or None when there is none that can be read."""
    return read_projection(path)


def run_loop(
    tick: Callable[[], float],
    stop: StopFlag,
    heartbeat: Heartbeat,
    *,
    name: str,
    longest_pause_s: float = 30.0,
) -> None:
    """Call `tick` until `stop`; it returns the seconds to wait. Unexpected errors are logged and retried."""
    failures = 0
    while not stop.is_set():
        heartbeat.beat()
        try:
            pause = tick()
            failures = 0
        except Exception:
            failures += 1
            pause = min(longest_pause_s, 0.5 * 2**failures)
            log.exception("%s: tick failed %d times in a row, next try in %.1f s", name, failures, pause)
        _wait(stop, heartbeat, pause)


def _wait(stop: StopFlag, heartbeat: Heartbeat, pause: float) -> None:
    while pause > 0 and not stop.wait(min(pause, 1.0)):
        heartbeat.beat()
        pause -= 1.0
