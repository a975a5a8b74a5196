"""The film of a level: the same questions, checkpoint after checkpoint."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from realm.arena.evals.film import read_film
from realm.core.paths import Paths
from realm.core.store import open_facts


@pytest.fixture
def db(empty_home: Paths) -> Iterator[sqlite3.Connection]:
    with closing(open_facts(empty_home)) as connection:
        for number, step in enumerate((300, 100, 200), start=1):
            connection.execute(
                "INSERT INTO evals(id, checkpoint, step, skill, level, kind, state, n, correct, queued_at, finished, finished_at,"
                " file) VALUES (?,?,?,'bin',1,'gate','done',20,?,'',?,'2026-01-01T00:00:00.000Z',?)",
                (f"e{step}", f"c{step}", step, number, number, f"evals/c{step}/x.json"),
            )
        yield connection


def write(paths: Paths, step: int, right: bool) -> None:
    def line(name: str, static: bool) -> dict[str, Any]:
        return {"id": name, "static": static, "prompt": f"what is {name}", "target": "t", "output": f"{name} at {step}",
                "expected": "1", "parsed": None, "strict": int(right), "reason": "r", "error": None,
                "finish_reason": "stop"}  # fmt: skip

    folder = paths.evals / f"c{step}"
    folder.mkdir(parents=True)
    lines = [line("q1", True), line("q2", True), line("fresh", False)]
    (folder / "x.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))


def test_frames_go_from_the_oldest_step_to_the_newest(empty_home: Paths, db: sqlite3.Connection) -> None:
    for step in (100, 200, 300):
        write(empty_home, step, right=step > 100)
    film = read_film(empty_home, db, "bin", 1, 40)

    assert [one["id"] for one in film["questions"]] == ["q1", "q2"]
    assert [frame["step"] for frame in film["frames"]] == [100, 200, 300]
    assert [frame["answers"]["q1"]["correct"] for frame in film["frames"]] == [False, True, True]
    assert film["frames"][1]["answers"]["q2"]["answer"] == "q2 at 200"


def test_the_newest_frames_are_kept_and_a_lost_report_stays_with_its_reason(empty_home: Paths, db: sqlite3.Connection) -> None:
    write(empty_home, 100, right=True)
    film = read_film(empty_home, db, "bin", 1, 2)

    assert [frame["step"] for frame in film["frames"]] == [100, 200]  # The eval of step 300 ended first, so it is the oldest.
    assert film["frames"][0]["reason"] == ""
    assert "are gone" in film["frames"][1]["reason"]
    assert film["frames"][1]["answers"] == {}


def test_a_level_without_evals_is_an_empty_film(empty_home: Paths, db: sqlite3.Connection) -> None:
    assert read_film(empty_home, db, "bin", 9, 40) == {"skill": "bin", "level": 9, "questions": [], "frames": []}
