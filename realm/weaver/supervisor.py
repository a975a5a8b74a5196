"""The weaver's loop: collect what happened, let `plan.step` decide, carry it out, write it down."""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from realm.core import durable
from realm.core.clock import SYSTEM, Clock
from realm.core.ids import new_ulid
from realm.core.logs import get_logger
from realm.core.paths import Paths
from realm.weaver.plan import all_stopped, step_all
from realm.weaver.probe import Prober
from realm.weaver.record import Record, restore
from realm.weaver.services import Service
from realm.weaver.spawn import Spawner
from realm.weaver.states import (
    Action,
    Ask,
    Begin,
    Event,
    Kill,
    Life,
    Mend,
    Spawn,
    State,
    Stop,
    Tell,
    Terminate,
    Tick,
)

log = get_logger("weaver")
PAUSE_S = 0.2
GIVE_UP = 20
NO_HERO = "there is no hero yet; make one on the Tavern's page /begin or by `realm hero create`"
STATES_SAID = {State.BACKOFF: "is down", State.FALLEN: "has fallen, `realm weaver` tries it again"}


class Signals:
    """Counts requests to end: the first means an orderly end, the second an end at once."""

    def __init__(self) -> None:
        self.count = 0
        self._wake = threading.Event()

    def install(self) -> Signals:
        """Take over SIGTERM, SIGINT and, unless the starter ignores it (nohup), SIGHUP."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)
        return self

    def _on_signal(self, _number: int, _frame: Any) -> None:
        self.ask()

    def ask(self) -> None:
        self.count += 1
        self._wake.set()

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than until the next request to end."""
        self._wake.wait(seconds)
        self._wake.clear()


def drop_mend_order(paths: Paths) -> bool:
    """Take the flag `control/mend` away; returns whether it was there."""
    flag = paths.control / "mend"
    if not flag.exists():
        return False
    durable.remove_file(flag)
    return True


class Supervisor:
    """Runs the services of one base directory; every dependency on the machine is an argument."""

    def __init__(
        self,
        paths: Paths,
        services: list[Service],
        *,
        spawner: Spawner,
        prober: Prober,
        record: Record,
        say: Callable[[str], None],
        clock: Clock = SYSTEM,
        has_hero: Callable[[], bool] | None = None,
    ) -> None:
        self._paths = paths
        self._has_hero = has_hero or paths.config.is_file
        self._services = {service.name: service for service in services}
        self._spawner, self._prober, self._record = spawner, prober, record
        self._say, self._clock = say, clock
        self._stops_seen = 0
        self._waiting: list[str] = []
        now, earlier = clock.monotonic(), record.earlier()
        self.lives: dict[str, Life] = {
            service.name: restore(
                Life(service.name, service.rules, external=service.external), earlier.get(service.name), now
            )
            for service in services
        }

    def begin(self) -> None:
        """Start every service, in the order of the table, without waiting in between."""
        self._record.forget_others(set(self._services))
        # What an earlier weaver left is no longer true.
        self._record.write(self.lives.values())
        for name in self.lives:
            if self._services[name].needs_hero and not self._has_hero():
                self._waiting.append(name)
            else:
                self.feed(Begin(name))
        if self._waiting:
            self._hold()

    def _hold(self) -> None:
        """Say of the services that need a hero what they wait for."""
        held = {name: replace(self.lives[name], state=State.STOPPED, reason=NO_HERO) for name in self._waiting}
        self.lives = self.lives | held
        self._record.write(self.lives.values())
        self._say(f"{', '.join(self._waiting)} wait: {NO_HERO}")

    def _begin_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for name in waiting:
            self.feed(Begin(name))

    def add(self, service: Service) -> None:
        """Take in and start one more service."""
        self._services[service.name] = service
        self._record.add(service.name, service.port)
        self.lives = {**self.lives, service.name: Life(service.name, service.rules, external=service.external)}
        self.feed(Begin(service.name))

    def tick(self, signals: Signals) -> None:
        """Do one round: exits, answers, orders, time."""
        if self._waiting and not signals.count and self._has_hero():
            self._begin_waiting()
        happened: list[Event] = [*self._spawner.exits(), *self._prober.readings()]
        if signals.count > self._stops_seen:
            self._stops_seen = signals.count
            happened.append(Stop(at_once=signals.count > 1))
        if drop_mend_order(self._paths):
            happened.append(Mend())
        for event in [*happened, Tick()]:
            self.feed(event)

    def feed(self, event: Event) -> None:
        """Decide on one event, carry out what follows from it, write down the result."""
        waiting, told = deque[Event]([event]), list[Tell]()
        while waiting:
            before = self.lives
            self.lives, actions = step_all(before, waiting.popleft(), self._clock.monotonic())
            self._narrate(before, actions)
            told += [action for action in actions if isinstance(action, Tell)]
            waiting += [result for action in actions if (result := self._carry_out(action)) is not None]
        self._record.write(self.lives.values(), told)

    def _carry_out(self, action: Action) -> Event | None:
        match action:
            case Spawn(name):
                return self._start(name)
            case Terminate(name):
                self._spawner.signal(name, signal.SIGTERM)
            case Kill(name):
                self._spawner.signal(name, signal.SIGKILL)
            case Ask(name):
                self._prober.ask(self._services[name])
        return None

    def _start(self, name: str) -> Event:
        # Recorded first: should the weaver die between the two, the next one recognises the process by this id.
        instance = new_ulid()
        self._record.announce(self.lives[name], instance)
        return self._spawner.start(self._services[name], instance)

    def _narrate(self, before: dict[str, Life], actions: list[Action]) -> None:
        for name, life in self.lives.items():
            was = before[name]
            if life.state is was.state:
                continue
            log.info("%s: %s -> %s %s", name, was.state, life.state, life.reason)
            # A crash loop is said once; each further try is in the log.
            if life.state in STATES_SAID and (life.state is State.FALLEN or life.reason != was.reason):
                self._say(f"{name} {STATES_SAID[life.state]}: {life.reason}")
        for action in actions:
            if isinstance(action, Tell) and action.kind in ("service.up", "service.mended"):
                self._say(self._ready_line(action.name, again=action.kind == "service.mended"))

    def _ready_line(self, name: str, *, again: bool) -> str:
        port = self._services[name].port
        where = f" on http://127.0.0.1:{port}/" if port is not None else ""
        return f"{name} is ready{' again' if again else ''}{where}"

    def run(self, signals: Signals, done: Callable[[dict[str, Life]], int | None] | None = None) -> int:
        """Run until asked to end or until `done` returns an exit code; returns the exit code once all have ended."""
        code, failures = 0, 0
        self.begin()
        while not (self._stops_seen and all_stopped(self.lives)):
            signals.pause(PAUSE_S)
            try:
                self.tick(signals)
                failures = 0
            except Exception:
                # One failed round must not take every service down; many in a row mean the weaver itself is broken.
                failures += 1
                log.exception("a round of the weaver failed, %d in a row", failures)
                if failures >= GIVE_UP:
                    raise
            if done is not None and not signals.count and (found := done(self.lives)) is not None:
                code = found
                signals.ask()
        return code
