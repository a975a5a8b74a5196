"""The edge that asks services for a sign of life: `/health` in worker threads, heartbeat files directly."""

from __future__ import annotations

import json
import queue
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import httpx

from realm.core.daemon import read_heartbeat
from realm.core.paths import Paths
from realm.weaver.services import Service
from realm.weaver.states import Answered, Silent

MAX_BODY = 64 * 1024
MORE_SERVICES = 8  # skill servers that may join while the weaver runs; beyond it questions wait for each other
Reading = Answered | Silent


class Prober(Protocol):
    """Asks for signs of life; tests give a fake."""

    def ask(self, service: Service) -> None: ...

    def readings(self) -> list[Reading]: ...

    def close(self) -> None: ...


class Probes:
    """Real questions; at most one is open for a service, answers are collected by `readings`."""

    def __init__(self, paths: Paths, services: list[Service]) -> None:
        self._paths = paths
        self._answers: queue.SimpleQueue[Reading] = queue.SimpleQueue()
        self._open: set[str] = set()
        self._pool = ThreadPoolExecutor(max_workers=len(services) + MORE_SERVICES, thread_name_prefix="health")
        # Proxies of the environment have no business between processes of one machine.
        # A kept connection could be closed by the server just when it is used again, and look like a miss.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.Client(follow_redirects=False, trust_env=False, limits=limits)

    def ask(self, service: Service) -> None:
        """Begin to ask a service; does nothing while an earlier question is open."""
        if service.sign == "heartbeat":
            self._answers.put(read_sign(self._paths.run / f"{service.name}.heartbeat", service.name))
        elif service.name not in self._open:
            self._open.add(service.name)
            self._pool.submit(self._ask_health, service)

    def _ask_health(self, service: Service) -> None:
        reading: Reading = Silent(service.name, "the question failed")
        try:
            url = f"http://127.0.0.1:{service.port}/health"
            reading = ask_health(self._client, service.name, url, service.rules.answer_s)
        finally:
            self._answers.put(reading)

    def readings(self) -> list[Reading]:
        """Return the answers that came since the last call."""
        found: list[Reading] = []
        while not self._answers.empty():
            reading = self._answers.get()
            self._open.discard(reading.name)
            found.append(reading)
        return found

    def close(self) -> None:
        """Drop open questions; their threads end with their time-outs."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()


def ask_health(client: httpx.Client, name: str, url: str, limit_s: float) -> Reading:
    """Ask `/health` once: at most about `limit_s` seconds and 64 KiB, whatever the other side does."""
    began = time.monotonic()
    body = b""
    try:
        with client.stream("GET", url, headers={"accept-encoding": "identity"}, timeout=limit_s) as answer:
            for part in answer.iter_raw():
                body += part
                if len(body) > MAX_BODY or time.monotonic() - began > limit_s:
                    return Silent(name, "the health answer is too long or too slow")
            return judge_answer(name, answer.status_code, body, time.monotonic())
    except httpx.TimeoutException:
        return Silent(name, f"no health answer within {limit_s:g} s")
    except httpx.HTTPError as error:
        return Silent(name, f"no health answer: {error}")


def judge_answer(name: str, status: int, body: bytes, at: float) -> Reading:
    """Turn an HTTP answer into a reading; a 503 is the sign of life of a server at its connection limit."""
    if status == 503:
        return Answered(name, "", at, busy=True)
    if status != 200:
        return Silent(name, f"/health answered {status}")
    facts = _object(body)
    instance, pid = facts.get("instance"), facts.get("pid")
    return Answered(name, str(instance or ""), at, pid if isinstance(pid, int) else None)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def read_sign(path: Path, name: str) -> Reading:
    """Read a heartbeat file; its monotonic time is comparable because the instance id is of this boot."""
    try:
        found = read_heartbeat(path)
        if found is None:
            return Silent(name, "no heartbeat yet")
        return Answered(name, str(found["instance"]), float(found["monotonic"]), int(found["pid"]))
    except (ValueError, KeyError, TypeError, OSError) as error:
        return Silent(name, f"the heartbeat file cannot be read: {error}")
