"""A battle inside the test's own process, with orders given between two steps."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from board_kit import YARDSTICK
from quest_files import Row, as_bytes, rows, trained_examples

from realm.arena.battle import Arena, enter, fight, leave
from realm.arena.quests import board, intake
from realm.arena.quests.quest import Quest, from_row, get_quest
from realm.core.daemon import StopFlag
from realm.core.paths import Paths
from realm.core.store import open_facts, read_facts


def put(paths: Paths, name: str, count: int, *, start: int = 0, priority: str = "normal") -> Quest:
    """Put a quest of `count` rows (4 a step) on the board."""
    return put_rows(paths, name, rows(count, start), priority=priority)


def put_rows(paths: Paths, name: str, given: list[Row], *, priority: str = "normal") -> Quest:
    """Put a quest of these rows on the board."""
    facts = open_facts(paths)
    spool = paths.home / "queue" / ".given"
    spool.write_bytes(as_bytes(given))
    try:
        quest = intake.accept_spool(paths, facts, spool, name=name, priority=priority, yardstick=YARDSTICK)
        return get_quest(facts, quest)
    finally:
        spool.unlink()
        facts.close()


def quest_named(paths: Paths, name: str) -> Quest:
    facts = read_facts(paths)
    try:
        return from_row(facts.execute("SELECT * FROM quests WHERE name = ?", (name,)).fetchone())
    finally:
        facts.close()


def kinds(paths: Paths) -> list[str]:
    facts = read_facts(paths)
    try:
        return [row["kind"] for row in facts.execute("SELECT kind FROM events ORDER BY seq")]
    finally:
        facts.close()


def no_evals(*_: Any) -> None:
    """The battles of these tests ask for no evals."""


class Battle:
    """One start of the arena; `at(step, act)` calls `act` right after that step, before the next boundary."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.stop = StopFlag()
        self.trace = paths.home.parent / f"{paths.home.name}.trace"
        os.environ["REALM_TRACE_EXAMPLES"] = str(self.trace)
        self.arena: Arena = enter(paths, no_evals)
        self._acts: dict[int, list[Callable[[], Any]]] = {}
        real = self.arena.stepper.step

        def step(rows: Any) -> Any:
            result = real(rows)
            for act in self._acts.pop(result.step, []):
                act()
            return result

        self.arena.stepper.step = step  # type: ignore[method-assign]

    def at(self, step: int, act: Callable[[], Any]) -> None:
        self._acts.setdefault(step, []).append(act)

    def fight(self, **more: Any) -> None:
        fight(self.arena, self.stop, **{"until_idle": True, **more})
        assert self._acts == {}, "an order was never given"


@contextmanager
def battle(paths: Paths) -> Any:
    made = Battle(paths)
    try:
        yield made
    finally:
        leave(made.arena)


def once_each(paths: Paths, *quests: Quest) -> None:
    """Every example of these quests was trained exactly once over all starts."""
    trace: Path = paths.home.parent / f"{paths.home.name}.trace"
    _, examples = trained_examples(trace)
    expected = {f"{quest.sha256[:12]}:{row}" for quest in quests for row in range(quest.rows)}
    assert set(examples) == expected
    assert set(examples.values()) == {1}


def waiting(paths: Paths) -> list[str]:
    facts = open_facts(paths)
    try:
        return [quest.name for quest in board.processing(facts)]
    finally:
        facts.close()
