"""What a long play lets go: generated quest files, reports of dropped checkpoints, old steps; never what is needed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.arena.quests.board import read_rows
from realm.arena.quests.quest import get_quest
from realm.arena.tidy import Limits, surplus, tidy
from realm.core.errors import Unknown
from realm.core.paths import Paths
from realm.core.store import open_facts, open_telemetry

KEEP = Limits(quests=2, reports=1, steps=100)


@pytest.fixture
def stores(empty_home: Paths) -> Iterator[tuple[Paths, sqlite3.Connection, sqlite3.Connection]]:
    facts, telemetry = open_facts(empty_home), open_telemetry(empty_home)
    yield empty_home, facts, telemetry
    facts.close()
    telemetry.close()


def _quest(paths: Paths, facts: sqlite3.Connection, number: int, kind: str, checkpoint: str = "old") -> str:
    quest_id = f"q{number:02}"
    (paths.queue("recently_completed") / f"{quest_id}.jsonl").write_text("{}\n")
    facts.execute(
        "INSERT INTO quests(id, name, file, sha256, size, state, priority, kind, arrived_at, changed_at, checkpoint)"
        " VALUES (?,?,?,'',3,'completed','normal',?,'','',?)",
        (quest_id, quest_id, f"{quest_id}.jsonl", kind, checkpoint),
    )
    return quest_id


def _checkpoint(facts: sqlite3.Connection, name: str, step: int, state: str) -> None:
    facts.execute(
        "INSERT INTO checkpoints(name, step, state, generation, weights_sha256, manifest_sha256, size, created_at, record)"
        " VALUES (?,?,?,1,'','',1,'','{}')",
        (name, step, state),
    )


def test_old_generated_quests_go_and_dropped_ones_stay(stores: tuple[Paths, sqlite3.Connection, sqlite3.Connection]) -> None:
    paths, facts, telemetry = stores
    _checkpoint(facts, "newest", 9, "present")
    dropped = _quest(paths, facts, 0, "dropped")
    needed = _quest(paths, facts, 1, "generated", checkpoint="newest")
    old = [_quest(paths, facts, number, "generated") for number in range(2, 7)]

    done = tidy(paths, facts, telemetry, KEEP)

    left = {path.stem for path in paths.queue("recently_completed").glob("*.jsonl")}
    assert left == {dropped, needed, *old[-2:]}
    assert done.quests == 3
    assert tidy(paths, facts, telemetry, KEEP).quests == 0, "a second round finds nothing"
    with pytest.raises(Unknown, match="was let go"):
        list(read_rows(paths, get_quest(facts, old[0])))


def test_reports_of_masteries_and_present_checkpoints_stay(
    stores: tuple[Paths, sqlite3.Connection, sqlite3.Connection],
) -> None:
    paths, facts, telemetry = stores
    _checkpoint(facts, "gone", 1, "dropped")
    _checkpoint(facts, "here", 2, "present")
    for number, checkpoint in enumerate(["gone"] * 4 + ["here"]):
        file = paths.evals / checkpoint / f"e{number}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text("{}")
        file.with_suffix(".jsonl").write_text("{}")
        facts.execute(
            "INSERT INTO evals(id, checkpoint, step, skill, level, kind, state, n, correct, queued_at, file, finished)"
            " VALUES (?,?,1,'bin',?,'gate','done',20,20,'',?,?)",
            (f"e{number}", checkpoint, number + 1, str(file.relative_to(paths.home)), number),
        )
    facts.execute(
        "INSERT INTO masteries VALUES ('bin', 1, 'gone', 1, '', ?)", (json.dumps({"evals": [{"id": "e0"}]}),)
    )

    tidy(paths, facts, telemetry, KEEP)

    left = {path.name for path in paths.evals.rglob("*.json")}
    assert left == {"e0.json", "e3.json", "e4.json"}
    assert facts.execute("SELECT count(*) FROM evals WHERE n = 20").fetchone()[0] == 5, "the counts stay"


def test_old_steps_are_thinned(stores: tuple[Paths, sqlite3.Connection, sqlite3.Connection]) -> None:
    paths, facts, telemetry = stores
    telemetry.executemany("INSERT INTO steps VALUES (?,'',1,1,1,1,1,1,'')", [(step,) for step in range(1, 301)])

    tidy(paths, facts, telemetry, KEEP)

    steps = [row[0] for row in telemetry.execute("SELECT step FROM steps ORDER BY step")]
    assert steps == [step for step in range(1, 301) if step > 200 or step % 10 == 0]


@given(st.lists(st.text(min_size=1), unique=True), st.integers(0, 20), st.sets(st.text(min_size=1)))
def test_needed_and_newest_are_never_surplus(ids: list[str], keep: int, needed: set[str]) -> None:
    gone = surplus(ids, keep, needed)

    assert not set(gone) & (set(ids[:keep]) | needed)
    assert len(ids) - len(gone) <= keep + len(needed)
