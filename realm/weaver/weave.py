"""Composes the weaver of a base directory: the lock, leftovers of an earlier one, the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from time import sleep

from realm.core.clock import SYSTEM
from realm.core.daemon import single_instance
from realm.core.errors import BadInput, Conflict, RealmError, Unavailable
from realm.core.hosts import Hosts
from realm.core.logs import get_logger
from realm.core.paths import Paths
from realm.weaver.idle import Quiet, Work, settle, work_left
from realm.weaver.orphans import end_orphans, find_orphans
from realm.weaver.probe import Probes
from realm.weaver.record import Record
from realm.weaver.services import SKILL, Service, plan_services
from realm.weaver.skill_servers import skill_servers
from realm.weaver.spawn import Processes
from realm.weaver.states import Life, State
from realm.weaver.supervisor import Signals, Supervisor, drop_mend_order

log = get_logger("weaver")
Say = Callable[[str], None]
LOOK_S = 1.0
LOOK_FOR_SKILLS_S = 5.0
FALLEN_EXIT = Unavailable.exit_code


def local_services(paths: Paths, *, intake_only: bool = False) -> list[Service]:
    """Return the services of this machine: those of config/hosts.json, and the servers of enabled skills.

    Raises BadInput when config/hosts.json gives it none.
    """
    services = plan_services(Hosts.load(paths).local(), intake_only=intake_only, skills=skill_servers(paths))
    if not services:
        raise BadInput("config/hosts.json gives this machine no services", hint="see ARCHITECTURE.md, Hosts")
    return services


@contextmanager
def only_weaver(paths: Paths, tries: int = 5) -> Iterator[None]:
    """Hold the weaver's lock; `--status` takes it for an instant to look, so a refusal is tried again shortly."""
    for left in range(tries - 1, -1, -1):
        lock = single_instance(paths, "weaver")
        try:
            lock.__enter__()
        except Conflict:
            if not left:
                raise
            sleep(0.1)
            continue
        try:
            yield
        finally:
            lock.__exit__(None, None, None)
        return


def weave(paths: Paths, *, say: Say, until_idle: bool = False, services: list[Service] | None = None) -> int:
    """Run the services of this machine in the foreground until SIGTERM; returns the exit code.

    With `until_idle` it ends by itself when nothing is left to do. Raises Conflict when a weaver already runs here,
    Unavailable when a process of an earlier one cannot be ended.
    """
    if until_idle and not paths.config.is_file() and (left := work_left(paths)) != Work():
        raise BadInput(f"there is no hero to work off what is left: {left}", hint="make one: realm hero create")
    planned = services if services is not None else local_services(paths, intake_only=until_idle)
    with only_weaver(paths):
        signals = Signals().install()
        ports = {service.name: service.port for service in planned}
        with closing(Record(paths, ports)) as record, closing(Probes(paths, planned)) as probes:
            _end_leftovers(paths, record, say)
            if signals.count:
                return 0
            drop_mend_order(paths)
            supervisor = Supervisor(
                paths, planned, spawner=Processes(paths, planned), prober=probes, record=record, say=say
            )
            grow = _look_for_skills(paths, supervisor, planned)
            idle = _idle_check(paths, say) if until_idle else None
            code = supervisor.run(signals, lambda lives: grow() or (idle(lives) if idle else None))
    say("all services have ended")
    return code


def _look_for_skills(paths: Paths, supervisor: Supervisor, planned: list[Service]) -> Callable[[], None]:
    """Return what takes in, every few seconds, the servers of skills that were enabled since the weaver started."""
    next_look = SYSTEM.monotonic() + LOOK_FOR_SKILLS_S

    def grow() -> None:
        nonlocal next_look
        if SYSTEM.monotonic() < next_look:
            return
        next_look = SYSTEM.monotonic() + LOOK_FOR_SKILLS_S
        try:
            wanted = local_services(paths)
        except RealmError as error:
            log.warning("no skill server is added: %s", error)
            return
        for service in wanted:
            if service.name.startswith(SKILL) and service.name not in supervisor.lives:
                planned.append(service)
                supervisor.add(service)

    return grow


def _end_leftovers(paths: Paths, record: Record, say: Say) -> None:
    instances = [row["instance"] for row in record.earlier().values()]
    left = end_orphans(find_orphans(paths, instances), say)
    if left:
        pids = ", ".join(str(process.pid) for process in left)
        raise Unavailable(f"process {pids} of an earlier weaver cannot be ended", hint="end it, then start again")


def _idle_check(paths: Paths, say: Say) -> Callable[[dict[str, Life]], int | None]:
    quiet, next_look, told = Quiet(), 0.0, ""

    def done(lives: dict[str, Life]) -> int | None:
        nonlocal quiet, next_look, told
        now = SYSTEM.monotonic()
        if now < next_look or any(life.state is State.STARTING for life in lives.values()):
            return None
        next_look = now + LOOK_S
        work = work_left(paths)
        quiet, over = settle(quiet, work, now)
        if over:
            say("nothing is left to do" if not work.files else f"nothing else is left to do; not taken: {work}")
            return 0
        fallen = [name for name, life in lives.items() if life.state is State.FALLEN]
        if fallen and (work.quests or work.evals):
            say(f"{work} left, but {', '.join(fallen)} has fallen")
            return FALLEN_EXIT
        if str(work) != told:
            told = str(work)
            log.info("left to do: %s", told)
        return None

    return done
