"""Pause, resume, skip, stop and restart: flag files under `control/`, obeyed at the next step boundary."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from realm.core.durable import remove_file, touch
from realm.core.errors import unknown_name
from realm.core.paths import Paths

ACTIONS = {
    "pause": "hold at the next step boundary; the hero stays loaded",
    "resume": "go on at the same step",
    "skip": "end the current quest at the next step boundary; it can be retried from there",
    "stop": "save a checkpoint at the next step boundary and hold until resumed",
    "stop_after_quest": "finish the current quest, save and hold until resumed",
    "restart": "save at the next step boundary and end; the weaver starts the arena again, with the settings as they are now",
}
_FLAGS = {"pause": ".pause", "skip": ".skip", "stop": ".stop", "stop_after_quest": ".stop_after_quest",
          "restart": ".restart"}  # fmt: skip


@dataclass(frozen=True)
class Orders:
    """What the player asked for; flags stay until resumed, `skip` and `restart` until obeyed."""

    pause: bool = False
    skip: bool = False
    stop: bool = False
    stop_after_quest: bool = False
    restart: bool = False


def read_orders(paths: Paths) -> Orders:
    return Orders(**{name: (paths.control / flag).exists() for name, flag in _FLAGS.items()})


def _lower(paths: Paths, name: str) -> None:
    with suppress(FileNotFoundError):  # it was never set, or another process lowered it just now
        remove_file(paths.control / _FLAGS[name])


def give(paths: Paths, action: str) -> None:
    """Set or clear the flags of an action; raises Unknown for one that is not in ACTIONS."""
    if action not in ACTIONS:
        raise unknown_name("action", action, list(ACTIONS))
    if action == "resume":
        for name in ("pause", "stop", "stop_after_quest"):
            _lower(paths, name)
        return
    touch(paths.control / _FLAGS[action])


def obeyed(paths: Paths, action: str) -> None:
    """Clear a one-time order after it was carried out."""
    _lower(paths, action)


def stop_now(paths: Paths) -> None:
    """Turn `stop_after_quest` into `stop` once the quest is over."""
    touch(paths.control / _FLAGS["stop"])
    _lower(paths, "stop_after_quest")
