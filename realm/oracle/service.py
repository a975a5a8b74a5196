"""The oracle of one process: wakes torch in the background, keeps the pool, gives one answer at a time its turn."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from realm.core.clock import SYSTEM, Clock
from realm.core.errors import BadInput, RealmError, Unavailable
from realm.core.logs import get_logger
from realm.core.paths import Paths
from realm.oracle.batching import GREEDY, Answer, Sampling
from realm.oracle.checkpoints import Verified
from realm.oracle.pool import MindLike, Pool

log = get_logger("oracle")

Waker = Callable[[], Callable[[Verified], MindLike]]
Turn = dict[str, str]


@dataclass(frozen=True)
class Settings:
    """Limits of one oracle: memory in bytes, seconds one request may generate and may wait, requests that may wait."""

    budget: int = 2048 * 1024 * 1024
    generate_s: float = 120.0
    wait_s: float = 120.0
    waiting: int = 16
    preload: str = "latest"

    @classmethod
    def from_environment(cls) -> Settings:
        """Read REALM_ORACLE_BUDGET_MB, REALM_ORACLE_SECONDS and REALM_ORACLE_PRELOAD; raises BadInput when malformed."""
        preload = os.environ.get("REALM_ORACLE_PRELOAD", "latest")
        if preload not in ("latest", "none"):
            raise BadInput(f"REALM_ORACLE_PRELOAD {preload!r} is neither latest nor none")
        budget = _whole("REALM_ORACLE_BUDGET_MB", cls.budget // (1024 * 1024)) * 1024 * 1024
        return cls(budget=budget, generate_s=float(_whole("REALM_ORACLE_SECONDS", int(cls.generate_s))), preload=preload)


def _whole(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdigit() or int(text) < 1:
        raise BadInput(f"{name} {text!r} is not a whole number above 0")
    return int(text)


def wake_torch() -> Callable[[Verified], MindLike]:
    """Import torch, set its threads and return the function that makes minds; takes one to two seconds."""
    from realm.oracle.mind import open_mind, use_threads

    log.info("torch is ready with %d threads", use_threads())
    return open_mind


class Turns:
    """One answer at a time, with a bounded number of requests waiting behind it."""

    def __init__(self, waiting: int, wait_s: float) -> None:
        self._slots = threading.BoundedSemaphore(waiting + 1)
        self._turn = threading.Lock()
        self._wait = wait_s

    @contextmanager
    def take(self) -> Iterator[None]:
        """Wait for the turn; raises Unavailable when too many wait or it takes too long."""
        if not self._slots.acquire(blocking=False):
            raise Unavailable("too many requests wait for the oracle", hint="send prompts together in one POST /generate")
        try:
            if not self._turn.acquire(timeout=self._wait):
                raise Unavailable(f"the oracle was busy for {self._wait:.0f} s", hint="try again later")
            try:
                yield
            finally:
                self._turn.release()
        finally:
            self._slots.release()


@dataclass(frozen=True)
class Reply:
    """Answers, what gave them (as confirmed by the loaded mind) and how long generation took, in seconds."""

    answers: list[Answer]
    facts: dict[str, Any]
    seconds: float
    seed: int

    @property
    def tokens(self) -> int:
        return sum(answer.tokens for answer in self.answers)


class Oracle:
    """Everything behind the routes; `wake` and `clock` are arguments so that tests need no torch and no time."""

    def __init__(
        self, paths: Paths, settings: Settings | None = None, *, wake: Waker = wake_torch, clock: Clock = SYSTEM
    ) -> None:
        self.settings = settings or Settings.from_environment()
        self._paths, self._wake, self._clock = paths, wake, clock
        self._awake = threading.Event()
        self._closing = threading.Event()
        self._leaving: Callable[[], bool] = lambda: False
        self._failure: str | None = None
        self._open: Callable[[Verified], MindLike] | None = None
        self.pool = Pool(paths, self._open_when_awake, budget=self.settings.budget, clock=clock)
        self._turns = Turns(self.settings.waiting, self.settings.wait_s)

    def start(self) -> None:
        """Begin to wake in the background; returns at once."""
        threading.Thread(target=self._run_wake, name="oracle-wake", daemon=True).start()

    def leave_when(self, leaving: Callable[[], bool]) -> None:
        """End answers at their next token once `leaving` holds, so that a stopping server need not wait for them."""
        self._leaving = leaving

    def close(self) -> None:
        """End running answers at their next token."""
        self._closing.set()

    @property
    def state(self) -> str:
        """Return `waking`, `ready`, or `failed` when torch cannot be imported."""
        if self._failure is not None:
            return "failed"
        return "ready" if self._awake.is_set() else "waking"

    def health(self) -> dict[str, Any]:
        """Return the facts for the health answer."""
        facts: dict[str, Any] = {"mind": self.state}
        return facts if self._failure is None else {**facts, "mind_reason": self._failure}

    def _run_wake(self) -> None:
        try:
            self._open = self._wake()
        except (ImportError, OSError, RealmError) as error:
            self._failure = str(error)
            log.error("the oracle cannot wake: %s", error)
        self._awake.set()
        if self._failure is None and self.settings.preload == "latest":
            self._preload()

    def _preload(self) -> None:
        try:
            steps = self.pool.available()
            if steps:
                self.pool.load(steps[-1])
                # The first multiplication of a process is slow; the first eval should not pay for it.
                self.generate(steps[-1], [[{"role": "user", "content": "0"}]], max_new_tokens=2)
        except RealmError as error:
            log.error("nothing was preloaded: %s", error)

    def _open_when_awake(self, read: Verified) -> MindLike:
        self._awake.wait(self.settings.wait_s)
        if self._open is None:
            reason = self._failure or "torch is still being imported"
            raise Unavailable(f"the oracle cannot load models: {reason}", hint="install realm-of-training[training]")
        return self._open(read)

    def info(self) -> dict[str, Any]:
        """Return the real pool: what is loaded, what could be, and the budget in bytes."""
        return {
            "loaded": self.pool.describe(),
            "available": self.pool.available(),
            "budget_bytes": self.pool.budget,
            "mind": self.state,
        }

    def generate(
        self,
        step: int,
        rows: Sequence[Sequence[Turn]],
        *,
        max_new_tokens: int,
        sampling: Sampling = GREEDY,
        on_text: Callable[[str], None] | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Reply:
        """Answer conversations with exactly this step; raises Unknown when it is not loaded, Unavailable past the time."""
        with self.pool.use(step) as mind, self._turns.take():
            started = self._clock.monotonic()
            check = self._watch(started + self.settings.generate_s, cancelled)
            answers = mind.answer(rows, max_new_tokens=max_new_tokens, sampling=sampling, check=check, on_text=on_text)
            facts = {
                "step": mind.step,
                "model": mind.model,
                "model_path": mind.model_path,
                "weights_sha256": mind.weights_sha256,
                "template_hash": mind.template_hash,
                "profile": mind.profile,
            }
            return Reply(answers, facts, self._clock.monotonic() - started, sampling.seed)

    def _watch(self, deadline: float, cancelled: Callable[[], bool]) -> Callable[[], None]:
        def check() -> None:
            if self._closing.is_set() or self._leaving():
                raise Unavailable("the oracle is shutting down")
            if cancelled():
                raise Unavailable("the client went away")
            if self._clock.monotonic() > deadline:
                raise Unavailable(
                    f"the answer took more than {self.settings.generate_s:.0f} s and was given up",
                    hint="send fewer prompts or lower max_new_tokens",
                )

        return check


def fresh_seed() -> int:
    """Return the seed of a request that names none: REALM_SEED, else a random one; it is told in the answer."""
    given = os.environ.get("REALM_SEED")
    if given is None:
        return secrets.randbits(31)
    if not given.lstrip("-").isdigit():
        raise BadInput(f"REALM_SEED {given!r} is not a whole number")
    return int(given)
