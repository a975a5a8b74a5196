"""Processes that an earlier weaver started and that outlived it, recognised by the instance id in their environment.

An instance id is a ULID that was made for one start of one service and recorded before the process existed, so a
process that carries a recorded one on this base directory can only be that service or its child. Process ids alone are
never trusted: they are used again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection

import psutil

from realm.core.paths import Paths

# Services tied to a dead weaver have had their SIGTERM from the kernel; a second one would make them end unsaved.
LEAVE_S = 20.0
KILLED_S = 5.0


def find_orphans(paths: Paths, instances: Collection[str]) -> list[psutil.Process]:
    """Return the processes of this base directory that carry one of the recorded instance ids; never this one."""
    wanted = {instance for instance in instances if instance}
    if not wanted:
        return []
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [
        process
        for process in psutil.process_iter()
        if process.pid not in own and carries(process, paths, wanted)
    ]


def carries(process: psutil.Process, paths: Paths, instances: Collection[str]) -> bool:
    """Say whether a live process was started under one of the instance ids for this base directory."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        environment = process.environ()
    except (psutil.Error, OSError):
        return False
    return environment.get("REALM_INSTANCE") in instances and environment.get("REALM_HOME") == str(paths.home)


def end_orphans(
    orphans: list[psutil.Process], say: Callable[[str], None], leave_s: float = LEAVE_S
) -> list[psutil.Process]:
    """Wait for processes to leave, kill those that do not, and return what is still there (normally nothing)."""
    if orphans:
        pids = ", ".join(str(process.pid) for process in orphans)
        say(f"waiting for services of an earlier weaver to end: process {pids}")
    left = _wait_gone(orphans, leave_s)
    for process in left:
        say(f"process {process.pid} of an earlier weaver did not end in {leave_s:g} s and is killed")
        try:
            # psutil compares the creation time first, so a reused process id is not hit.
            process.kill()
        except psutil.NoSuchProcess:
            continue
    return _wait_gone(left, KILLED_S)


def _wait_gone(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    until = time.monotonic() + seconds
    left = [process for process in processes if _is_there(process)]
    while left and time.monotonic() < until:
        time.sleep(0.1)
        left = [process for process in left if _is_there(process)]
    return left


def _is_there(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
