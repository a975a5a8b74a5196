"""The table of services a host can run, and the plan of those this host does run (from `config/hosts.json`)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from realm.core.errors import BadInput
from realm.core.hosts import PORTS, Host, moved_port
from realm.weaver.states import Rules

Sign = Literal["health", "heartbeat"]

HEALTH = Rules()
HEARTBEAT = Rules(max_misses=None, max_silence_s=60.0, ask_running_s=2.0)
# Importing torch and reading weights takes longest.
LOADS_HERO = Rules(start_limit_s=90.0, max_misses=None, max_silence_s=60.0, ask_running_s=2.0)
# A large model on few cores can keep every worker thread of the port busy for a while.
ANSWERS_SLOWLY = Rules(start_limit_s=90.0, max_misses=6)


@dataclass(frozen=True)
class Kind:
    """One row of the table: the command after `realm`, how life is seen, the order of starting, whether it needs a hero."""

    command: tuple[str, ...]
    order: int
    sign: Sign
    rules: Rules
    torch: bool = False
    hero: bool = False


TABLE: dict[str, Kind] = {
    "arena": Kind(("arena", "run"), 1, "heartbeat", LOADS_HERO, torch=True, hero=True),
    "inference": Kind(("oracle", "serve"), 2, "health", ANSWERS_SLOWLY, torch=True),
    "tavern": Kind(("tavern", "serve"), 3, "health", HEALTH),
    "vault": Kind(("vault", "serve"), 4, "health", HEALTH),
    "dataflow": Kind(("weaver", "dataflow"), 5, "heartbeat", HEARTBEAT, hero=True),
    "evaluator": Kind(("arena", "evals"), 6, "heartbeat", HEARTBEAT, hero=True),
    "branch": Kind(("vault", "branch"), 4, "health", HEALTH),
    "watchtower": Kind(("watchtower", "serve"), 8, "health", HEALTH),
    "taskmaster": Kind(("tasks", "serve"), 9, "health", HEALTH),
}
# Not processes: APIs on the port of another service.
SERVED_BY = {"ledger": "vault", "training": "vault"}
# Left out where the realm is to come to rest: it would make new quests.
MAKES_WORK = frozenset({"taskmaster"})
SKILL = "skill_"
SKILL_ORDER = 7
# Skills whose server ships with the realm; of any other, its YAML says how it is started, or it is only watched.
BUILT_IN_SKILLS = frozenset({"bin", "sy"})


@dataclass(frozen=True)
class Service:
    """One service of this host: how to start it (no argv: external), where it answers, how its life is seen."""

    name: str
    argv: tuple[str, ...]
    port: int | None
    sign: Sign
    rules: Rules
    order: int
    env: dict[str, str] = field(default_factory=dict)
    needs_hero: bool = False

    @property
    def external(self) -> bool:
        return not self.argv


@dataclass(frozen=True)
class SkillServer:
    """A skill's server that its YAML has this machine start: all words of the command, and its default port."""

    skill: str
    port: int
    argv: tuple[str, ...]


def plan_services(
    host: Host, base: int | None = None, *, intake_only: bool = False, skills: Iterable[SkillServer] = ()
) -> list[Service]:
    """Return the services to run on a host in starting order; raises BadInput naming one that is not in the table.

    `base` is the port base (None: `REALM_PORT_BASE`); with `intake_only` the data flow takes in files but makes none.
    `skills` are servers to start beside those that the host's table names.
    """
    planned = {f"{SKILL}{one.skill}": _skill_service(one, base) for one in skills}
    for name, entry in host.services.items():
        process = SERVED_BY.get(name, name)
        if intake_only and process in MAKES_WORK:
            continue
        if process in planned and (process != name or name.startswith(SKILL)):
            continue
        port = entry.port if process == name else host.services.get(process, entry).port
        planned[process] = _service(process, port, base, intake_only=intake_only)
    return sorted(planned.values(), key=lambda service: (service.order, service.name))


def _skill_service(server: SkillServer, base: int | None) -> Service:
    kind = Kind((), SKILL_ORDER, "health", HEALTH)
    port = moved_port(server.port, base)
    argv = tuple(word.replace("{port}", str(port)) for word in server.argv)
    return Service(f"{SKILL}{server.skill}", argv, port, "health", HEALTH, SKILL_ORDER, _thread_limits(kind))


def _service(name: str, default_port: int | None, base: int | None, *, intake_only: bool) -> Service:
    kind = _kind(name)
    port = moved_port(_default_port(name, kind, default_port), base) if kind.sign == "health" else None
    argv = (sys.executable, "-m", "realm.cli", *kind.command) if kind.command else ()
    env = _thread_limits(kind)
    if name == "dataflow" and intake_only:
        env["REALM_DATAFLOW"] = "intake-only"
    return Service(name, argv, port, kind.sign, kind.rules, kind.order, env, kind.hero)


def _default_port(name: str, kind: Kind, asked: int | None) -> int:
    own = PORTS.get(name)
    if kind.command and own is not None and asked not in (None, own):
        # The service itself would listen on its own port and never be found ready.
        raise BadInput(
            f"config/hosts.json gives {name} port {asked} on this machine, but it listens on {own}",
            hint=f"write {own} there; --port-base moves all ports of a machine",
        )
    if asked is None and own is None:
        raise BadInput(f"service {name!r} of config/hosts.json needs a port", hint="add its port")
    return asked or own or 0


def _kind(name: str) -> Kind:
    if name in TABLE:
        return TABLE[name]
    if name.startswith(SKILL) and len(name) > len(SKILL):
        skill = name.removeprefix(SKILL)
        command = ("skills", "serve", skill) if skill in BUILT_IN_SKILLS else ()
        return Kind(command, SKILL_ORDER, "health", HEALTH)
    known = ", ".join(sorted({*TABLE, *SERVED_BY, f"{SKILL}<id>"}))
    raise BadInput(f"config/hosts.json names a service {name!r} that this realm does not know", hint=f"known: {known}")


def _thread_limits(kind: Kind) -> dict[str, str]:
    # Waiting OpenMP threads that spin take the cores from every other process; the arena sets its own thread count.
    if kind.torch:
        limits = {"OMP_WAIT_POLICY": "PASSIVE"}
        if kind.command[:1] == ("oracle",):
            limits["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 2) // 2))
        return limits
    return {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
