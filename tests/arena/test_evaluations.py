from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from realm.arena.evals.evaluations import (
    Waiting,
    apply_drops,
    enqueue,
    enqueue_gate_evals,
    enqueue_probes,
    for_checkpoints,
    plan_drops,
    record_no_contest,
    waiting,
)
from realm.core.errors import BadInput, Unknown
from realm.core.paths import Paths
from realm.core.store import open_facts, transaction


@pytest.fixture
def facts(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_facts(Paths(tmp_path).ensure())
    yield connection
    connection.close()


def test_an_eval_is_asked_once(facts: sqlite3.Connection) -> None:
    with transaction(facts):
        assert enqueue_gate_evals(facts, "checkpoint-50", 50, [("bin", 1), ("sy", 1)]) == 2
        assert enqueue_gate_evals(facts, "checkpoint-50", 50, [("bin", 1), ("bin", 2)]) == 1
        assert enqueue_probes(facts, "checkpoint-50", 50, "bin", [1, 2, 2]) == 2


def test_unknown_kind_and_level_are_errors(facts: sqlite3.Connection) -> None:
    with pytest.raises(Unknown, match="'exam'"):
        enqueue(facts, "checkpoint-50", 50, "bin", 1, "exam")
    with pytest.raises(BadInput, match="level 0"):
        enqueue(facts, "checkpoint-50", 50, "bin", 0, "gate")


def test_order_is_probes_then_newest_checkpoint_and_no_contest_last(facts: sqlite3.Connection) -> None:
    with transaction(facts):
        for step in (900, 1000, 10_000):
            enqueue(facts, f"checkpoint-{step}", step, "bin", 2, "gate")
        enqueue(facts, "checkpoint-900", 900, "bin", 1, "probe")
        enqueue(facts, "checkpoint-900", 900, "bin", 2, "full")
        first = next(w for w in waiting(facts) if w.step == 10_000)
        record_no_contest(facts, first.id, "nobody answered")
    assert [(w.kind, w.step) for w in waiting(facts)] == [
        ("probe", 900), ("gate", 1000), ("gate", 900), ("full", 900), ("gate", 10_000),
    ]  # fmt: skip


def gate(step: int, level: int = 2) -> Waiting:
    return Waiting(f"e{step}-{level}", f"c{step}", step, "bin", level, "gate", "queued", 0, "")


def drops(queue: list[Waiting], **more: object) -> dict[str, str]:
    facts: dict[str, object] = {"present": {w.checkpoint for w in queue}, "training": {"bin": 2}, "newest_done": {}}
    return dict(plan_drops(queue, **{**facts, **more}))  # type: ignore[arg-type]


def test_evals_of_dropped_checkpoints_are_dropped_with_the_reason() -> None:
    assert drops([gate(50), gate(100)], present={"c100"}) == {"e50-2": "its checkpoint was dropped by retention"}


def test_evals_of_mastered_levels_and_missing_skills_are_dropped() -> None:
    assert "mastered" in drops([gate(50, 1), gate(50, 2)])["e50-1"]
    assert "not installed" in drops([gate(50)], training={})["e50-2"]
    probe = replace(gate(50, 1), kind="probe")
    assert drops([probe]) == {}


def test_superseded_evals_are_dropped_only_when_too_many_wait() -> None:
    queue = [gate(50 * k) for k in range(1, 9)]
    assert drops(queue, max_waiting=6) == {}
    found = drops(queue, newest_done={("bin", 2): 1000}, max_waiting=6)
    assert set(found) == {"e50-2", "e100-2"}
    assert "superseded: step 1000" in found["e50-2"]
    assert drops(queue, newest_done={("bin", 2): 60}, max_waiting=2) == {"e50-2": found["e50-2"].replace("1000", "60")}
    assert drops(queue[:6], newest_done={("bin", 2): 1000}, max_waiting=6) == {}


def test_a_result_is_never_overwritten_by_a_drop(facts: sqlite3.Connection) -> None:
    with transaction(facts):
        enqueue(facts, "c50", 50, "bin", 1, "gate")
        facts.execute("UPDATE evals SET state = 'done', correct = 20, n = 20")
        apply_drops(facts, [(facts.execute("SELECT id FROM evals").fetchone()[0], "late")])
    assert facts.execute("SELECT state, reason FROM evals").fetchone()[:] == ("done", "")


def test_a_save_queues_evals_and_survives_a_broken_schedule(tmp_path: Path) -> None:
    paths = Paths(tmp_path).ensure()
    facts, enqueue_evals = open_facts(paths), for_checkpoints(paths)
    with transaction(facts):
        enqueue_evals(facts, "c50", 50)
    paths.schedule.write_text("strategy: [")
    with transaction(facts):
        enqueue_evals(facts, "c100", 100)
    assert [(w.skill, w.level, w.kind, w.step) for w in waiting(facts)] == [("bin", 1, "gate", 100), ("bin", 1, "gate", 50)]
