"""What the weaver knows of one service (`Life`), what can happen to it (events) and what can be done (actions).

All times are monotonic seconds. Nothing here touches the machine; `plan.step` is the only code that changes a `Life`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

NEVER = float("inf")


class State(StrEnum):
    """Where one service is in its life."""

    STOPPED = "stopped"  # not started, or ended because it should
    STARTING = "starting"  # process started, no sign of life from it yet
    RUNNING = "running"  # this start has answered
    BACKOFF = "backoff"  # ended, will be started again at `due`
    STOPPING = "stopping"  # told to end, not gone yet
    FALLEN = "fallen"  # keeps dying; waits for `realm weaver` or a restart


@dataclass(frozen=True)
class Rules:
    """How long to wait for one service; seconds, and a count of unanswered health questions."""

    start_limit_s: float = 60.0
    stop_limit_s: float = 25.0
    answer_s: float = 5.0
    max_misses: int | None = 3
    max_silence_s: float | None = None
    ask_starting_s: float = 0.3
    ask_running_s: float = 5.0
    backoff_first_s: float = 1.0
    backoff_cap_s: float = 60.0
    # A service that was ready and then ended comes back fast: what ended it is rarely its own start.
    ended_cap_s: float = 10.0
    well_after_s: float = 60.0
    window_s: float = 600.0
    failed_starts: int = 6
    short_lives: int = 30


@dataclass(frozen=True)
class Life:
    """The present state of one service and what its past says about the next step."""

    name: str
    rules: Rules = field(default_factory=Rules)
    # An external service is asked for its health but never started or ended.
    external: bool = False
    state: State = State.STOPPED
    wanted: bool = False
    pid: int | None = None
    created: float | None = None
    instance: str = ""
    since: float = 0.0
    due: float = NEVER
    next_ask: float = NEVER
    last_sign: float = 0.0
    misses: int = 0
    restarts: int = 0
    fails: int = 0
    failed_at: tuple[float, ...] = ()
    ended_at: tuple[float, ...] = ()
    told_down: bool = False
    seen_up: bool = False
    # Why the weaver itself is ending the process, until it is gone.
    ending: str = ""
    # The last answer that was not the one waited for; explains a failed start.
    doubt: str = ""
    reason: str = ""


# Events: what the edge reports.


@dataclass(frozen=True)
class Begin:
    """The service should run."""

    name: str


@dataclass(frozen=True)
class Spawned:
    """A process was started for the service under a fresh instance id."""

    name: str
    pid: int
    created: float
    instance: str


@dataclass(frozen=True)
class SpawnFailed:
    """No process could be started."""

    name: str
    reason: str


@dataclass(frozen=True)
class Answered:
    """A health answer or heartbeat; `at` is the monotonic time of the sign of life."""

    name: str
    instance: str
    at: float
    pid: int | None = None
    # Too busy to answer properly: a sign of life, but not readiness.
    busy: bool = False


@dataclass(frozen=True)
class Silent:
    """A health question without a usable answer."""

    name: str
    why: str


@dataclass(frozen=True)
class Exited:
    """The process is gone. `code` is negative for a signal, as in `subprocess`."""

    name: str
    code: int
    last_words: str = ""
    port_taken_by: str = ""


@dataclass(frozen=True)
class Tick:
    """Time passed."""


@dataclass(frozen=True)
class Mend:
    """A person asked to try again what has fallen."""


@dataclass(frozen=True)
class Stop:
    """Everything should end; `at_once` skips the polite signal."""

    at_once: bool = False


Event = Begin | Spawned | SpawnFailed | Answered | Silent | Exited | Tick | Mend | Stop


# Actions: what the edge is asked to do.


@dataclass(frozen=True)
class Spawn:
    """Start the process."""

    name: str


@dataclass(frozen=True)
class Terminate:
    """Send SIGTERM to the process group."""

    name: str


@dataclass(frozen=True)
class Kill:
    """Send SIGKILL to the process group."""

    name: str


@dataclass(frozen=True)
class Ask:
    """Ask for a sign of life; the answer comes back as `Answered` or `Silent`."""

    name: str


@dataclass(frozen=True)
class Tell:
    """Append an event to the log (`service.up` and so on)."""

    name: str
    kind: str
    reason: str = ""


Action = Spawn | Terminate | Kill | Ask | Tell
Step = tuple[Life, tuple[Action, ...]]
