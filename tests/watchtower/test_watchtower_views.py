from __future__ import annotations

import sqlite3
from datetime import timedelta
from typing import Any

import pytest
import realm_facts as write
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from realm.core.clock import FakeClock, stamp
from realm.core.errors import BadInput, Unknown
from realm.watchtower import Watchtower
from realm.watchtower.away import Turn, idle_seconds
from realm.watchtower.champion_board import Contender, rank, value_of
from realm.watchtower.forge import Forge, cpu_name, no_gpu, nvml_probe
from realm.watchtower.inputs import EvalRow
from realm.watchtower.next_move import next_move
from realm.watchtower.series import bucketed, read_series, span_of
from realm.watchtower.tiles import Bar, Tiles

START = FakeClock().now()


def at(seconds: float) -> str:
    return stamp(START + timedelta(seconds=seconds))


# --- away ---


def test_away_counts_what_happened_between_two_cursors(
    tower: Watchtower, db: sqlite3.Connection, clock: FakeClock
) -> None:
    def happen(kind: str, after_s: float = 10, **more: Any) -> int:
        clock.advance(after_s)
        return write.happen(db, kind, clock, **more)

    happen("battle.started", step=0)
    left = happen("checkpoint.saved", step=900)
    happen("hero.level_up", step=1000, data={"level": 1})
    happen("checkpoint.evaluated", step=1000)
    happen("skill.mastered", step=1000, subject="bin", data={"skill": "bin", "level": 1})
    happen("queue.completed", step=1200, subject="q1")
    happen("queue.claimed", 100, subject="q2")
    happen("battle.failed", step=1500, data={"reason": "loss is NaN"})
    clock.advance(1000)
    write.add_checkpoint(db, 1500, loss=1.0)

    found = tower.away(left)
    assert (found["from"], found["to"], found["events"]) == (left, 8, 6)
    assert (found["steps"], found["levels"], found["quests"], found["evals"]) == (600, 1, 1, 1)
    assert (found["masteries"], found["champions"], found["errors"]) == (1, 0, 1)
    assert found["seconds"] == 1150
    # 100 s between the quests and 1000 s after the error.
    assert found["idle_s"] == 1100
    facts = found["text_facts"]
    assert "600 steps trained" in facts
    assert "1 level gained" in facts
    assert "bin level 1 is mastered" in facts
    assert "the battle stopped with an error: loss is NaN" in facts
    assert "idle for 18 min" in facts


def test_a_realm_that_was_off_trained_nothing_meanwhile(tower: Watchtower, db: sqlite3.Connection, clock: FakeClock) -> None:
    def happen(kind: str, after_s: float, **more: Any) -> int:
        clock.advance(after_s)
        return write.happen(db, kind, clock, **more)

    left = happen("battle.started", 10, step=0, subject="q1")
    happen("checkpoint.saved", 60, step=300)  # with the order to end
    happen("service.up", 2000, subject="vault")
    happen("service.up", 5, subject="arena")
    happen("battle.resumed", 5, step=300, subject="q1")
    clock.advance(30)
    found = tower.away(left)
    assert (found["seconds"], found["idle_s"]) == (2100, 2010)
    # Away since long after the end: idle from the beginning of the absence.
    assert tower.away(left + 1)["idle_s"] == 2010
    assert tower.away(left + 2)["idle_s"] == 10


def test_away_without_anything_is_empty_and_true(tower: Watchtower, db: sqlite3.Connection, clock: FakeClock) -> None:
    found = tower.away(0)
    assert (found["steps"], found["events"], found["seconds"]) == (None, 0, 0)
    assert found["steps_reason"] == "no step has been recorded"
    cursor = write.happen(db, "battle.started", clock, step=5)
    clock.advance(30)
    found = tower.away(cursor)
    assert (found["steps"], found["seconds"], found["idle_s"], found["text_facts"]) == (0, 30, 0, [])


def test_away_starts_at_the_acknowledged_moment(tower: Watchtower, db: sqlite3.Connection, clock: FakeClock) -> None:
    from realm.watchtower.facts import write_seen

    cursor = write.happen(db, "battle.started", clock)
    clock.advance(60)
    write_seen(db, cursor, clock.now())
    clock.advance(5)
    assert tower.away(None)["seconds"] == 5


def test_a_cursor_ahead_of_the_log_is_an_error(tower: Watchtower) -> None:
    with pytest.raises(BadInput, match="ahead"):
        tower.away(1)


def test_a_crash_that_loses_steps_is_no_negative_gain(tower: Watchtower, db: sqlite3.Connection) -> None:
    cursor = write.happen(db, "battle.best_loss", step=1500)
    write.add_checkpoint(db, 1400, loss=1.0)
    assert tower.away(cursor)["steps"] == 0


@given(st.lists(st.tuples(st.floats(0, 1000), st.sampled_from(["battle.started", "battle.paused", "queue.completed"]),
                          st.sampled_from(["a", "b"]))), st.booleans())  # fmt: skip
def test_idle_time_is_never_more_than_the_absence(turns: list[tuple[float, str, str]], trained: bool) -> None:
    told = [Turn(at(seconds), kind, quest) for seconds, kind, quest in turns]
    before = [Turn(at(0), "battle.started", "a")] if trained else []
    idle = idle_seconds(told, before, START, START + timedelta(seconds=500))
    assert 0 <= idle <= 500.001


def test_a_quest_that_is_closed_behind_the_next_one_is_no_idle_time() -> None:
    """The next quest begins while the last checkpoint of the one before is still being written."""
    turns = [Turn(at(0), "battle.started", "a"), Turn(at(100), "battle.started", "b"), Turn(at(101), "queue.completed", "a"),
             Turn(at(300), "queue.completed", "b"), Turn(at(320), "queue.claimed", "c")]  # fmt: skip
    assert idle_seconds(turns, [], START, START + timedelta(seconds=400)) == 20
    assert idle_seconds(turns[2:], turns[:2], START, START + timedelta(seconds=400)) == 20


def test_a_pause_ends_the_fight_of_whichever_quest() -> None:
    turns = [Turn(at(0), "battle.started", "a"), Turn(at(10), "battle.paused"), Turn(at(40), "battle.resumed"),
             Turn(at(50), "queue.completed", "a")]  # fmt: skip
    assert idle_seconds(turns, [], START, START + timedelta(seconds=60)) == 40


# --- series ---


def plain(losses: list[tuple[int, float]]) -> list[Bar]:
    return [(step, loss, loss, loss) for step, loss in losses]


def test_no_spike_is_lost_in_a_bucket(tower: Watchtower, telemetry: sqlite3.Connection) -> None:
    losses = [(step, 1.0 + step / 10_000) for step in range(1, 1001)]
    losses[499] = (500, 90.0)
    losses[700] = (701, 0.001)
    write.add_steps(telemetry, losses)
    found = tower.metrics(None, None, 20)
    assert (found["from"], found["to"]) == (1, 1000)
    assert max(point["max"] for point in found["points"]) == 90.0
    assert min(point["min"] for point in found["points"]) == 0.001
    assert [point["x"] for point in found["points"]] == [*range(52, 1000, 53), 1000]
    assert found["points"][-1]["last"] == pytest.approx(1.1)


@given(
    st.lists(st.tuples(st.integers(0, 900), st.floats(0, 9)), max_size=60, unique_by=lambda pair: pair[0]),
    st.integers(0, 900), st.integers(0, 900), st.integers(1, 30),
)  # fmt: skip
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tiles_rows_and_the_definition_agree(
    telemetry: sqlite3.Connection, losses: list[tuple[int, float]], one: int, other: int, buckets: int
) -> None:
    telemetry.execute("DELETE FROM steps")
    write.add_steps(telemetry, losses)
    first, last = min(one, other), max(one, other)
    span = span_of(first, last, buckets)
    expected = bucketed(plain(sorted(pair for pair in losses if first <= pair[0] <= last)), span.width)
    found = read_series(telemetry, Tiles(), first, last, buckets)
    assert found["points"] == (expected if losses else [])
    assert len(expected) <= buckets


def test_tiles_follow_training_forward_and_back(tower: Watchtower, telemetry: sqlite3.Connection) -> None:
    def top() -> float:
        return max(point["max"] for point in tower.metrics(None, None, 3)["points"])

    write.add_steps(telemetry, [(step, 1.0) for step in range(450)])
    assert top() == 1.0
    write.add_steps(telemetry, [(step, 7.0 if step == 460 else 1.0) for step in range(450, 900)])
    assert top() == 7.0
    # A crash: training goes on from step 400 and writes the steps after it again.
    telemetry.execute("DELETE FROM steps WHERE step > 400")
    assert top() == 1.0
    write.add_steps(telemetry, [(step, 3.0 if step == 460 else 1.0) for step in range(401, 900)])
    assert top() == 3.0
    # The same, with nobody looking in between.
    telemetry.execute("DELETE FROM steps WHERE step > 400")
    again = [(step, 5.0 if step == 460 else 1.0) for step in range(401, 900)]
    write.add_steps(telemetry, again, at="2026-01-02T00:00:00.000Z")
    assert top() == 5.0


def test_zoom_markers_and_validation(tower: Watchtower, db: sqlite3.Connection, telemetry: sqlite3.Connection) -> None:
    write.add_steps(telemetry, [(step, 1.0) for step in range(1, 101)])
    telemetry.execute("INSERT INTO validation VALUES (10, 't', 0.9, 1), (60, 't', 0.8, 1)")
    write.happen(db, "hero.level_up", step=50, data={"level": 1})
    write.happen(db, "hero.champion", step=90, subject="checkpoint-90")
    write.happen(db, "checkpoint.saved", step=55)
    found = tower.metrics(40, 70, 600)
    assert [point["x"] for point in found["points"]] == list(range(40, 71))
    assert found["val"] == [{"x": 60, "y": 0.8}]
    assert found["markers"] == [{"x": 50, "kind": "hero.level_up", "text": "level 1"}]


def test_nothing_recorded_has_a_reason(tower: Watchtower) -> None:
    found = tower.metrics(None, None, 600)
    assert (found["points"], found["val"], found["markers"], found["from"]) == ([], [], [], None)
    assert found["from_reason"]


@pytest.mark.parametrize(("first", "last", "buckets"), [(5, 4, 10), (0, 5, 0), (0, 5, 2001)])
def test_a_span_that_cannot_be_is_an_error(first: int, last: int, buckets: int) -> None:
    with pytest.raises(BadInput):
        span_of(first, last, buckets)


@given(st.integers(0, 10**9), st.integers(0, 10**7), st.integers(1, 2000))
@example(121352970, 7439096, 568)  # only the width on the grid touches one bucket more
def test_a_span_never_has_more_buckets_than_asked(first: int, length: int, buckets: int) -> None:
    span = span_of(first, first + length, buckets)
    assert span.last // span.width - span.first // span.width + 1 <= buckets


# --- champion board ---


def a_contender(step: int, record: dict[str, Any] | None = None, *evals: tuple[str, int, int, int]) -> Contender:
    rows = [EvalRow(skill, level, correct, n, step, "t", 1) for skill, level, correct, n in evals]
    return Contender(step, f"c{step}", 1, False, "t", record or {}, rows)


def test_ranking_by_eval_prefers_the_higher_level_and_lists_the_unmeasured_last() -> None:
    board = rank(
        [a_contender(1, None, ("bin", 1, 20, 20)), a_contender(2, None, ("bin", 4, 10, 20), ("sy", 1, 10, 20)),
         a_contender(3)],
        "eval", champion="c2",
    )  # fmt: skip
    assert [(row["step"], row["rank"], row["value"]) for row in board] == [(2, 1, 4.0), (1, 2, 1.0), (3, None, None)]
    assert [row["champion"] for row in board] == [True, False, False]
    assert board[2]["rank_reason"] == "no gate eval of this checkpoint has finished"


def test_ranking_by_loss_takes_the_smallest_and_shares_ranks() -> None:
    contenders = [a_contender(1, {"val_loss": 0.5}), a_contender(2, {"val_loss": 0.4}), a_contender(3, {"val_loss": 0.4}),
                  a_contender(4, {"val_loss": float("nan")})]  # fmt: skip
    assert [(row["step"], row["rank"]) for row in rank(contenders, "val_loss")] == [(3, 1), (2, 1), (1, 3), (4, None)]
    with pytest.raises(Unknown, match="unknown metric"):
        rank(contenders, "beauty")


def test_the_highest_level_of_each_skill_counts() -> None:
    found = a_contender(1, None, ("bin", 1, 20, 20), ("bin", 2, 5, 20))
    assert value_of(found, "eval") == 1.25
    assert value_of(a_contender(1), "eval") is None


def test_the_board_reads_present_checkpoints(tower: Watchtower, db: sqlite3.Connection) -> None:
    name = write.add_checkpoint(db, 100, train_loss=0.5)
    write.add_checkpoint(db, 200, state="dropped")
    write.add_eval(db, 100, "bin", 1, 18, 20)
    write.insert(db, "champions", {"at": "t", "checkpoint": name, "step": 100, "metric": "eval", "value": 0.9, "reason": ""})
    board = tower.champions.ranking()
    assert [(row["step"], row["champion"], row["value"], row["train_loss"]) for row in board] == [(100, True, 0.9, 0.5)]


# --- forge ---


def test_the_forge_reads_and_says_why_it_cannot(clock: FakeClock) -> None:
    forge = Forge(lambda: no_gpu("none here"), clock)
    first = forge.read()
    assert first["cpu_percent"] is None
    assert "0.2 s" in first["cpu_percent_reason"]
    assert 0 < first["ram_used_bytes"] < first["ram_total_bytes"]
    assert (first["gpu_percent"], first["gpu_percent_reason"], first["device"]) == (None, "none here", "cpu")
    clock.advance(1)
    assert isinstance(forge.read()["cpu_percent"], float)


def test_the_forge_samples_at_most_once_a_second(clock: FakeClock) -> None:
    asked: list[int] = []

    def probe() -> dict[str, Any]:
        asked.append(1)
        return {"device": "cuda", "name": "GPU"}

    forge = Forge(probe, clock)
    clock.advance(1)
    assert [forge.read()["name"] for _ in range(5)] == ["GPU"] * 5
    assert len(asked) == 1
    clock.advance(1)
    forge.read()
    assert len(asked) == 2


def test_the_gpu_probe_never_raises() -> None:
    reading = nvml_probe()()
    assert reading.get("gpu_percent") is not None or reading["gpu_percent_reason"]
    assert cpu_name()


# --- next move ---


def blocks(**more: Any) -> dict[str, Any]:
    table: dict[str, Any] = {
        "hero": {"name": "DIO"}, "battle": {"state": "idle", "state_reason": "why"},
        "services": {"dataflow": {"state": "up", "reason": ""}},
        "queue": {"high": 0, "normal": 0, "low": 0, "processing": 0, "failed": 0},
    }  # fmt: skip
    return {**table, **more}


FULL = {"high": 1, "normal": 0, "low": 0, "processing": 0, "failed": 2}
MOVES: list[tuple[dict[str, Any], str | None]] = [
    ({}, None),
    ({"hero": {"name": None, "name_reason": "none"}}, "create_hero"),
    ({"services": {"oracle": {"state": "fallen", "reason": "exit 1"}}}, "services"),
    ({"battle": {"state": "stopped", "state_reason": "by hand"}}, "resume"),
    ({"battle": {"state": "paused", "state_reason": "by hand"}}, "resume"),
    ({"battle": {"state": "error", "state_reason": "NaN"}}, "resume"),
    ({"queue": FULL}, "failed"),
    ({"services": {}}, "add_quest"),
    ({"services": {"dataflow": {"state": "down", "reason": ""}}}, "add_quest"),
    ({"services": {}, "battle": {"state": "training", "state_reason": ""}}, None),
]


@pytest.mark.parametrize(("change", "action"), MOVES)
def test_the_next_move_is_the_first_rule_that_holds(change: dict[str, Any], action: str | None) -> None:
    found = next_move(blocks(**change))
    assert (found["action"] if found else None) == action
    assert found is None or (found["text"] and found["why"])
