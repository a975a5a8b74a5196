from __future__ import annotations

from pathlib import Path

import pytest
from eval_fakes import Home, Oracle

from realm.arena.evals.alarms import contamination, fisher_greater, stuck
from realm.core import events


def told(home: Home) -> list[tuple[str, str]]:
    found = [event for event in events.since(home.facts, 0, 5000) if event["kind"] == "patrol.failed"]
    return [(event["data"]["check"], event["subject"]) for event in found]


@pytest.mark.parametrize(
    ("counts", "p"), [((3, 4, 1, 4), 17 / 70), ((5, 5, 0, 5), 1 / 252), ((0, 5, 5, 5), 1.0), ((0, 5, 0, 5), 1.0),
     ((9, 10, 2, 10), 0.0027)]
)  # fmt: skip
def test_fishers_p(counts: tuple[int, int, int, int], p: float) -> None:
    assert fisher_greater(*counts) == pytest.approx(p, abs=1e-4)


def test_both_the_distance_and_the_test_are_needed() -> None:
    assert contamination("bin", 15, 15, 20, 45) is not None
    assert contamination("bin", 5, 5, 9, 15) is None  # 40 points, but by chance: p 0.09
    assert contamination("bin", 900, 1000, 2250, 3000) is None  # 15 points, not by chance
    assert contamination("bin", 5, 15, 45, 45) is None
    assert contamination("bin", 0, 0, 5, 15) is None


def test_six_evals_near_zero_are_stuck() -> None:
    assert stuck("bin", 4, [(0, 20)] * 6) is not None
    assert stuck("bin", 4, [(0, 20)] * 5) is None
    assert stuck("bin", 4, [(0, 20)] * 5 + [(1, 20)]) is None
    assert stuck("bin", 4, [(0, 20)] * 6 + [(20, 20)]) is not None


def test_static_problems_that_were_trained_are_told_once(tmp_path: Path) -> None:
    static: set[str] = set()
    home = Home(tmp_path, Oracle(lambda _step, prompt: 1.0 if prompt in static else 0.55))
    for level in range(1, 31):
        static.update(str(item["user_prompt"]) for item in home.skill.static_items(level))
    # Levels 1 to 4 at once, as if they had been in training one after the other.
    name = home.save(50)
    from realm.arena.evals.evaluations import enqueue

    for level in range(2, 6):
        enqueue(home.facts, name, 50, "bin", level, "gate")
    home.work()
    assert told(home) == [("contamination", "bin")]
    home.save(100)
    home.work()
    assert told(home) == [("contamination", "bin")]


def test_an_honest_hero_raises_no_alarm(tmp_path: Path) -> None:
    home = Home(tmp_path, Oracle(0.6))
    for step in range(50, 550, 50):
        home.save(step)
        home.work()
    assert told(home) == []


def test_a_stuck_level_is_told_once_and_again_after_it_moved(tmp_path: Path) -> None:
    home = Home(tmp_path, Oracle(lambda step, _prompt: 0.5 if step == 450 else 0.0))
    for step in range(50, 850, 50):
        home.save(step)
        home.work()
    assert told(home) == [("stuck", "bin-L1"), ("stuck", "bin-L1")]
