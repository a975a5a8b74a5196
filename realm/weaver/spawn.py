"""The edge that starts and ends processes: process groups tied to the weaver, their output, their exits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import psutil

from realm.core import durable
from realm.core.clock import SYSTEM, stamp
from realm.core.hosts import port_base
from realm.core.paths import Paths
from realm.weaver.ports import holder_of
from realm.weaver.services import Service
from realm.weaver.states import Exited, Spawned, SpawnFailed

TETHER = Path(__file__).with_name("tether.py")
OUT_CAP = 2 * 1024 * 1024
TAIL = 8192
# Separates the starts in an output file, so that an old start's words do not explain a new one's end.
MARK = "--- started "


class Spawner(Protocol):
    """Starts and ends processes; tests give a fake."""

    def start(self, service: Service, instance: str) -> Spawned | SpawnFailed: ...

    def signal(self, name: str, number: signal.Signals) -> None: ...

    def exits(self) -> list[Exited]: ...


class Processes:
    """Real processes, each leading its own session and group, with its output in `logs/<service>.out`.

    Must be used from the main thread (see tether.py).
    """

    def __init__(self, paths: Paths, services: list[Service]) -> None:
        self._paths = paths
        self._services = services  # the weaver adds to it
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, service: Service, instance: str) -> Spawned | SpawnFailed:
        """Start a service under a fresh instance id, unless its port is taken or the program cannot be run."""
        if service.port is not None and (holder := holder_of(service.port)):
            return SpawnFailed(service.name, f"port {service.port} is taken by {holder}")
        try:
            child = self._popen(service, instance)
            created = psutil.Process(child.pid).create_time()
        except (OSError, psutil.NoSuchProcess) as error:
            return SpawnFailed(service.name, f"cannot start {' '.join(service.argv)}: {error}")
        self._children[service.name] = child
        return Spawned(service.name, child.pid, created, instance)

    def _popen(self, service: Service, instance: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), *service.argv]
        out = rotated_out(self._paths, service.name)
        with durable.open_append(out) as handle:
            handle.write(f"{MARK}{stamp(SYSTEM.now())} {instance}\n")
            handle.flush()
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=subprocess.STDOUT,
                env=environment(self._paths, service, instance),
                start_new_session=True,
            )

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the process group of a service; nothing when it is gone."""
        child = self._children.get(name)
        # An unreaped child keeps its pid, so the group cannot be somebody else's.
        if child is None or child.returncode is not None:
            return
        os.killpg(child.pid, number)

    def exits(self) -> list[Exited]:
        """Return the processes that ended since the last call; what is left of their groups is killed."""
        found = []
        for name, child in list(self._children.items()):
            if not _has_ended(child.pid):
                continue
            # Before reaping: until then the group id is certainly still ours.
            _kill_rest(child.pid)
            code = child.wait()
            del self._children[name]
            found.append(Exited(name, code, last_words(self._paths, name), self._port_holder(name)))
        return found

    def _port_holder(self, name: str) -> str:
        port = next((service.port for service in self._services if service.name == name), None)
        holder = holder_of(port) if port is not None else ""
        return f"{holder} (port {port})" if holder else ""


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill_rest(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def environment(paths: Paths, service: Service, instance: str) -> dict[str, str]:
    """Return the environment of a service: the weaver's own, the realm's choices, thread limits a person has not set."""
    return {
        **service.env,
        **os.environ,
        "REALM_HOME": str(paths.home),
        "REALM_PORT_BASE": str(port_base()),
        "REALM_INSTANCE": instance,
        "PYTHONUNBUFFERED": "1",
        **{key: value for key, value in service.env.items() if key.startswith("REALM_")},
    }


def rotated_out(paths: Paths, name: str) -> Path:
    """Return `logs/<name>.out`, moved to `.out.1` first when it has grown over the cap."""
    path = paths.logs / f"{name}.out"
    if path.is_file() and path.stat().st_size > OUT_CAP:
        older = path.with_name(f"{name}.out.1")
        if older.exists():
            durable.remove_file(older)
        durable.move(path, older)
    return path


def tail(paths: Paths, name: str, lines: int = 20) -> list[str]:
    """Return the last lines that the last start of a service printed, control characters made visible."""
    path = paths.logs / f"{name}.out"
    if not path.is_file():
        return []
    with path.open("rb") as handle:
        handle.seek(max(0, path.stat().st_size - TAIL))
        text = handle.read().decode(errors="replace")
    shown = ("".join(c if c.isprintable() else repr(c)[1:-1] for c in line) for line in text.splitlines())
    found = [line for line in shown if line.strip()]
    starts = [index for index, line in enumerate(found) if line.startswith(MARK)]
    return found[starts[-1] + 1 if starts else 0 :][-lines:]


def last_words(paths: Paths, name: str) -> str:
    """Return the line that explains an end best: the last one starting with `error:`, else the last."""
    lines = tail(paths, name, 8)
    told = [line for line in lines if line.startswith("error:")]
    return (told or lines or [""])[-1].strip()
