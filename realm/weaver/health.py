"""One question to every service of this host, now (`realm weaver --health`, `scripts/check_health.sh`)."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from realm.core.clock import SYSTEM, Clock
from realm.core.paths import Paths
from realm.weaver.probe import Reading, ask_health, read_sign
from realm.weaver.services import Service
from realm.weaver.states import Answered
from realm.weaver.tapestry import Strand, read_tapestry


@dataclass(frozen=True)
class Finding:
    """Whether one service answers, and if not, why."""

    service: str
    well: bool
    text: str


def examine(paths: Paths, services: list[Service], clock: Clock = SYSTEM) -> list[Finding]:
    """Ask every service once, all at the same time, and judge the answers against what the weaver started."""
    strands = {strand.service: strand for strand in read_tapestry(paths, services)}
    with httpx.Client(trust_env=False) as client, ThreadPoolExecutor(max(1, len(services))) as pool:
        readings = pool.map(lambda service: _ask(client, paths, service), services)
        return list(_judge_all(services, strands, readings, clock.monotonic()))


def _ask(client: httpx.Client, paths: Paths, service: Service) -> Reading:
    if service.sign == "heartbeat":
        return read_sign(paths.run / f"{service.name}.heartbeat", service.name)
    return ask_health(client, service.name, f"http://127.0.0.1:{service.port}/health", service.rules.answer_s)


def _judge_all(
    services: list[Service], strands: dict[str, Strand], readings: Iterable[Reading], now: float
) -> Iterable[Finding]:
    for service, reading in zip(services, readings, strict=True):
        yield judge(service, strands[service.name], reading, now)


def judge(service: Service, strand: Strand, reading: Reading, now: float) -> Finding:
    """Judge one answer: it must come from the start that the weaver recorded, and be fresh."""
    if not isinstance(reading, Answered):
        told = f"{strand.state.lower()}: {strand.reason}" if strand.reason else strand.state.lower()
        return Finding(service.name, False, f"{reading.why} ({told})")
    if service.external:
        return Finding(service.name, True, "answers (not started by this realm)")
    if reading.instance != strand.instance or strand.pid is None:
        return Finding(service.name, False, f"not answered by the process the weaver started ({strand.state.lower()})")
    age = now - reading.at
    if service.rules.max_silence_s is not None and age > service.rules.max_silence_s:
        return Finding(service.name, False, f"the last heartbeat is {age:.0f} s old")
    return Finding(service.name, True, f"answers (process {strand.pid})")
