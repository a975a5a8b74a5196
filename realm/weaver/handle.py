"""What other commands do to a weaver: start one in the background, wait for it, ask it to mend, ask it to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from realm.core import durable
from realm.core.errors import Unavailable
from realm.core.paths import Paths
from realm.weaver.orphans import end_orphans, find_orphans
from realm.weaver.services import Service
from realm.weaver.spawn import rotated_out, tail
from realm.weaver.states import State
from realm.weaver.supervisor import NO_HERO
from realm.weaver.tapestry import Strand, read_rows, read_tapestry, weaver_pid

Say = Callable[[str], None]
END_S = 35.0
READY_S = 90.0
OTHERS_S = 20.0
LOOK_S = 0.25


def start_detached(paths: Paths) -> subprocess.Popen[bytes]:
    """Start `realm weaver --daemon` in its own session with its output in `logs/weaver.out`."""
    environment = {key: value for key, value in os.environ.items() if key != "REALM_INSTANCE"}
    environment |= {"REALM_HOME": str(paths.home), "PYTHONUNBUFFERED": "1"}
    with durable.open_append(rotated_out(paths, "weaver")) as handle:
        return subprocess.Popen(
            [sys.executable, "-m", "realm.cli", "weaver", "--daemon"],
            stdin=subprocess.DEVNULL, stdout=handle, stderr=subprocess.STDOUT, env=environment, start_new_session=True,
        )


def wait_for_lock(paths: Paths, child: subprocess.Popen[bytes], limit_s: float = 30.0) -> int:
    """Wait until a weaver holds the lock of this base directory and return its process id.

    Raises Unavailable with its last words when it ends instead.
    """
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        if (holder := weaver_pid(paths)) is not None:
            return holder
        if child.poll() is not None:
            break
        time.sleep(0.05)
    words = "; ".join(tail(paths, "weaver", 5))
    raise Unavailable(f"the weaver did not start: {words or 'it said nothing'}", hint="see logs/weaver.out")


def wait_ready(paths: Paths, services: list[Service], say: Say, limit_s: float = READY_S) -> bool:
    """Wait until the Tavern answers, then a little for the others; say each change. Returns whether all is well."""
    began, said, tavern_at = time.monotonic(), dict[str, str](), None
    names = [service.name for service in services]
    main = "tavern" if "tavern" in names else ""
    strands: list[Strand] = []
    while time.monotonic() < began + limit_s:
        if weaver_pid(paths) is None:
            say("the weaver ended")
            break
        strands = read_tapestry(paths, services)
        _say_changes(strands, said, say, time.monotonic() - began)
        open_ones = [strand for strand in strands if not _is_up(strand, services)]
        if main and tavern_at is None and main not in {strand.service for strand in open_ones}:
            tavern_at = time.monotonic()
        settled = all(strand.state == State.FALLEN for strand in open_ones)
        waited_enough = tavern_at is not None and time.monotonic() > tavern_at + OTHERS_S
        if not open_ones or settled or waited_enough:
            break
        time.sleep(LOOK_S)
    return _verdict(paths, strands, services, say)


def _is_up(strand: Strand, services: list[Service]) -> bool:
    service = next(service for service in services if service.name == strand.service)
    waits = service.needs_hero and strand.state == State.STOPPED and strand.reason == NO_HERO
    return service.external or waits or strand.state == State.RUNNING


def _say_changes(strands: list[Strand], said: dict[str, str], say: Say, seconds: float) -> None:
    for strand in strands:
        if said.get(strand.service, State.STOPPED) != strand.state:
            said[strand.service] = strand.state
            what = "ready" if strand.state == State.RUNNING else strand.state.lower()
            say(f"{seconds:5.1f} s  {strand.service}: {what}" + (f" ({strand.reason})" if strand.reason else ""))


def _verdict(paths: Paths, strands: list[Strand], services: list[Service], say: Say) -> bool:
    well = bool(strands)
    tavern_there = any(strand.service == "tavern" for strand in strands)
    for strand in strands:
        if _is_up(strand, services):
            continue
        # With the Tavern up, a service that still loads is shown there; one that fails is a failed start.
        patient = tavern_there and strand.service != "tavern" and strand.state == State.STARTING
        well = well and patient
        say(f"{strand.service} is {strand.state}{': ' + strand.reason if strand.reason else ''}")
        for line in [] if patient else tail(paths, strand.service, 15):
            say(f"    {line}")
    if not strands:
        for line in tail(paths, "weaver", 15):
            say(f"    {line}")
    return well


def ask_to_mend(paths: Paths, limit_s: float = 10.0) -> None:
    """Raise the flag `control/mend` and wait until the weaver took it; raises Unavailable when it does not."""
    flag = paths.control / "mend"
    durable.touch(flag)
    until = time.monotonic() + limit_s
    while flag.exists():
        if time.monotonic() > until:
            raise Unavailable(f"the weaver did not take the order within {limit_s:g} s", hint="see logs/weaver.jsonl")
        time.sleep(0.05)


def bring_down(paths: Paths, say: Say, limit_s: float = END_S) -> bool:
    """End the weaver of this base directory and everything it started, nothing else; returns whether anything ran.

    The weaver is the process that holds the lock. It is signalled through a pidfd taken before the lock is looked at
    again, so a process id that was used again in between cannot be hit.
    """
    instances = [row.instance for row in read_rows(paths)]
    ran = False
    holder = weaver_pid(paths)
    if holder is not None:
        ran = _end_holder(paths, holder, say, limit_s)
        instances += [row.instance for row in read_rows(paths)]
    orphans = find_orphans(paths, instances)
    left = end_orphans(orphans, say)
    if left:
        pids = ", ".join(str(process.pid) for process in left)
        raise Unavailable(f"process {pids} cannot be ended", hint="it may wait for a disk; try again")
    return ran or bool(orphans)


def _end_holder(paths: Paths, holder: int, say: Say, limit_s: float) -> bool:
    try:
        handle = os.pidfd_open(holder)
    except ProcessLookupError:
        return False
    try:
        if weaver_pid(paths) != holder:
            return False
        say(f"asking the weaver (process {holder}) to end")
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        until = time.monotonic() + limit_s
        while weaver_pid(paths) == holder:
            if time.monotonic() > until:
                say(f"the weaver did not end within {limit_s:g} s and is killed")
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                until = time.monotonic() + limit_s
            time.sleep(0.1)
    finally:
        os.close(handle)
    return True
