"""What a battle tells: at most once a second, nothing twice after a restart, nothing lost when a write fails once."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from board_kit import Kit, make_kit

from realm.arena import progress as module
from realm.arena.progress import Progress
from realm.arena.quests.quest import Quest
from realm.core.errors import NoSpace
from realm.core.paths import Paths
from realm.core.store import open_telemetry


@dataclass
class Desk:
    kit: Kit
    progress: Progress
    telemetry: sqlite3.Connection
    quest: Quest

    def step(self, number: int, loss: float = 1.0, seconds: float = 0.25) -> None:
        self.kit.clock.advance(seconds)
        result = SimpleNamespace(
            step=number, loss=loss, lr=0.1, grad_norm=1.0, trained_tokens=5, total_tokens=10, seconds=seconds
        )
        self.progress.note_step(self.quest, result, [number, number + 1], number, 100)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.kit.paths.status / "training_status.json").read_text())
        return found

    def steps(self) -> list[int]:
        return [row["step"] for row in self.telemetry.execute("SELECT step FROM steps ORDER BY step")]


@pytest.fixture
def desk(empty_home: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("REALM_TRACE_EXAMPLES", str(tmp_path / "trace"))
    kit, telemetry = make_kit(empty_home), open_telemetry(empty_home)
    made = Desk(kit, Progress(empty_home, kit.facts, telemetry, kit.clock), telemetry, kit.add())
    made.progress.begin_quest(made.quest, 100, 0)
    yield made
    kit.facts.close()
    telemetry.close()


def test_published_at_most_once_a_second(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[Any] = []
    real = module.write_json_fast
    monkeypatch.setattr(module, "write_json_fast", lambda *args: (writes.append(args), real(*args)))
    for number in range(1, 41):
        desk.step(number)
    assert len(writes) == 10
    desk.progress.publish(force=True)
    assert desk.steps() == list(range(1, 41))
    found = desk.status()
    assert (found["state"], found["step"], found["steps_done_in_quest"]) == ("training", 40, 40)
    assert found["steps_per_s"] == pytest.approx(4.0)
    assert found["rows_per_s"] == pytest.approx(8.0)
    assert found["eta_s"] == pytest.approx(15.0)


def test_the_trace_has_a_line_a_step(desk: Desk, tmp_path: Path) -> None:
    desk.step(1)
    desk.step(2)
    lines = [json.loads(line) for line in (tmp_path / "trace").read_text().splitlines()]
    short = desk.quest.sha256[:12]
    assert lines == [{"step": 1, "examples": [f"{short}:1", f"{short}:2"]}, {"step": 2, "examples": [f"{short}:2", f"{short}:3"]}]


def test_steps_that_will_be_repeated_are_forgotten(desk: Desk) -> None:
    for number in range(1, 9):
        desk.step(number)
    desk.progress.publish(force=True)
    desk.progress.restore(2.5, 5)
    assert desk.steps() == [1, 2, 3, 4, 5]
    assert desk.progress.smoothed == 2.5


def test_a_failed_write_loses_no_point(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise NoSpace("full")

    desk.step(1)
    with monkeypatch.context() as patch:
        patch.setattr(module, "transaction", full)
        with pytest.raises(NoSpace):
            desk.step(2, seconds=1.5)
    desk.step(3, seconds=1.5)
    assert desk.steps() == [1, 2, 3]


def test_a_spike_is_told_and_not_every_time(desk: Desk) -> None:
    for number in range(1, 211):
        desk.step(number, loss=1.0 + 0.01 * (number % 3), seconds=0.1)
    for number in range(211, 221):
        desk.step(number, loss=9.0, seconds=0.1)
    assert desk.kit.events().count("battle.loss_spike") == 1


def test_rows_of_another_level_are_no_spike_and_a_jump_among_them_is(desk: Desk) -> None:
    """Two levels in turns, as a curriculum feeds them: each is compared with its own losses."""
    easy, hard = desk.quest, dataclasses.replace(desk.quest, id="Q2", level=(desk.quest.level or 1) + 1)
    number = 0
    for turn in range(6):
        desk.quest = easy if turn % 2 == 0 else hard
        desk.progress.begin_quest(desk.quest, 100, 0)
        for _ in range(80):
            number += 1
            desk.step(number, loss=(1.0 if desk.quest is easy else 3.0) + 0.01 * (number % 3), seconds=0.1)
    assert "battle.loss_spike" not in desk.kit.events()
    desk.step(number + 1, loss=9.0, seconds=20)
    assert desk.kit.events().count("battle.loss_spike") == 1


def test_a_jump_of_the_clock_gives_no_nonsense(desk: Desk) -> None:
    desk.step(1, seconds=0.0)
    desk.step(2, seconds=0.0)
    desk.progress.publish(force=True)
    assert desk.status()["steps_per_s"] is None
