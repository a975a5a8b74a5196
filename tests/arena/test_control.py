"""Orders are flag files: set by anyone, lowered once, at any time by several at once."""

from __future__ import annotations

import threading

import pytest

from realm.arena import control
from realm.arena.control import Orders
from realm.core.errors import Unknown
from realm.core.paths import Paths


def test_orders_and_resume(empty_home: Paths) -> None:
    for action in ("pause", "stop", "stop_after_quest", "skip", "restart"):
        control.give(empty_home, action)
        control.give(empty_home, action)
    assert control.read_orders(empty_home) == Orders(True, True, True, True, True)
    control.give(empty_home, "resume")
    assert control.read_orders(empty_home) == Orders(skip=True, restart=True)
    control.obeyed(empty_home, "restart")
    control.obeyed(empty_home, "skip")
    control.obeyed(empty_home, "skip")
    assert control.read_orders(empty_home) == Orders()


def test_stop_after_quest_becomes_stop(empty_home: Paths) -> None:
    control.give(empty_home, "stop_after_quest")
    control.stop_now(empty_home)
    assert control.read_orders(empty_home) == Orders(stop=True)


def test_an_unknown_order(empty_home: Paths) -> None:
    with pytest.raises(Unknown, match="explode"):
        control.give(empty_home, "explode")
    assert control.read_orders(empty_home) == Orders()


def test_two_players_resume_at_once(empty_home: Paths) -> None:
    errors: list[BaseException] = []

    def press() -> None:
        try:
            for _ in range(60):
                control.give(empty_home, "pause")
                control.give(empty_home, "resume")
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=press) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
