"""Who makes quests and who refuses them: counted from rows and sidecars."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from fastapi.testclient import TestClient

from realm.cli import run
from realm.core import events
from realm.core.errors import Corrupt
from realm.core.paths import Paths
from realm.core.store import open_facts, transaction
from realm.core.web import make_app
from realm.guild.lineage import BY_HAND, NOT_RECORDED, LineageTracker, general, report
from realm.guild.lineage_routes import lineage_router

FOLDERS = {"queued": "normal", "completed": "recently_completed", "rejected": "failed"}


@pytest.fixture
def facts(empty_home: Paths) -> Iterator[sqlite3.Connection]:
    with closing(open_facts(empty_home)) as connection:
        yield connection


def add(
    paths: Paths, facts: sqlite3.Connection, quest: str, state: str, sidecar: dict[str, Any] | None, **columns: Any
) -> None:
    row = {"id": quest, "name": f"{quest}.jsonl", "file": f"{quest}.q.jsonl", "sha256": "", "size": 1, "state": state,
           "priority": "normal", "rows": 10, "arrived_at": "2026-01-01", "changed_at": "2026-01-01", **columns}  # fmt: skip
    names = ", ".join(row)
    facts.execute(f"INSERT INTO quests({names}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))
    if sidecar is not None:
        folder = paths.trash if state == "deleted" else paths.queue(FOLDERS[state])
        (folder / f"{quest}.q.jsonl.meta.json").write_text(json.dumps(sidecar))


def made_by(generator: str | None, version: str = "1", refused: bool = False, judge: str | None = "quick") -> dict[str, Any]:
    told: dict[str, Any] = {"generator_id": generator, "generator_version": version}
    told["validator_versions"] = {"spec": "1", "quick": "3"} if judge else {}
    if refused and judge:
        told["validation_rejected"] = {"validator": judge, "version": "3"}
    return told


def fill(paths: Paths, facts: sqlite3.Connection) -> None:
    for number in range(8):
        add(paths, facts, f"A{number}", "completed", made_by("skill:bin"))
    add(paths, facts, "A8", "rejected", made_by("skill:bin", "2", refused=True), reason="row 4: too long", rows=0)
    add(paths, facts, "B0", "rejected", made_by("scraper", refused=True), reason="row 9: too long", rows=0)
    add(paths, facts, "B1", "rejected", made_by("scraper", refused=True, judge="spec"), reason="not a chat file", rows=0)
    add(paths, facts, "B2", "queued", made_by("scraper"))
    add(paths, facts, "C0", "deleted", made_by(None, refused=True), reason="row 2: too long", state_before="rejected", rows=0)
    add(paths, facts, "C1", "queued", None)
    add(paths, facts, "C2", "rejected", made_by(None, refused=True, judge=None), reason="a symbolic link", rows=0)


def test_generators_and_validators_are_counted(empty_home: Paths, facts: sqlite3.Connection) -> None:
    fill(empty_home, facts)
    found = LineageTracker(empty_home).report(facts)
    makers = {row["generator"]: row for row in found["generators"]}
    assert (makers["skill:bin"]["accepted"], makers["skill:bin"]["refused"], makers["skill:bin"]["rows"]) == (8, 1, 80)
    assert makers["skill:bin"]["versions"] == ["1", "2"]
    assert (makers["scraper"]["refused_share"], makers[BY_HAND]["refused"], makers[BY_HAND]["accepted"]) == (0.6667, 2, 1)
    judges = {row["validator"]: row for row in found["validators"]}
    assert (judges["quick"]["refused"], judges["spec"]["refused"], judges[NOT_RECORDED]["refused"]) == (3, 1, 1)
    assert judges["spec"]["accepted"] == judges["quick"]["accepted"] + 2 == 12
    assert judges["quick"]["reasons"] == [{"reason": "too long", "count": 3}]
    assert (found["refused"], found["quests"]) == (5, 15)


def test_the_two_questions_are_answered_with_their_counts(empty_home: Paths, facts: sqlite3.Connection) -> None:
    fill(empty_home, facts)
    for number in range(2):
        add(empty_home, facts, f"D{number}", "rejected", made_by("scraper", refused=True), reason="row 1: empty", rows=0)
    found = LineageTracker(empty_home).report(facts)
    assert found["most_rejected_generator"] == "scraper"
    assert found["most_rejected_generator_reason"] == "4 of 5 quests it made were refused"
    assert found["most_aggressive_validator"] == "quick"
    assert found["most_aggressive_validator_reason"] == "5 of 15 quests it judged were refused"


def test_a_refused_upload_counts_for_its_validator(empty_home: Paths, facts: sqlite3.Connection) -> None:
    told = {"name": "x.jsonl", "reason": "row 1: empty", "validator": "quick", "validator_version": "2", "source": "upload"}
    with transaction(facts):
        events.append(facts, "queue.rejected", data=told)
        events.append(facts, "queue.rejected", subject="A0", data=told)
    found = LineageTracker(empty_home).report(facts)
    assert (found["quests"], found["most_aggressive_validator"], found["most_rejected_generator"]) == (1, "quick", BY_HAND)


def test_without_a_refusal_there_is_a_reason_instead(empty_home: Paths, facts: sqlite3.Connection) -> None:
    assert report([])["most_rejected_generator_reason"] == "no quest has arrived yet"
    add(empty_home, facts, "A0", "queued", made_by("skill:bin"))
    found = LineageTracker(empty_home).report(facts)
    assert found["most_aggressive_validator"] is None
    assert found["most_aggressive_validator_reason"] == "no quest was refused yet"


def test_sidecars_are_read_once_and_a_broken_one_is_named(empty_home: Paths, facts: sqlite3.Connection) -> None:
    add(empty_home, facts, "A0", "queued", made_by("skill:bin"))
    tracker = LineageTracker(empty_home)
    tracker.report(facts)
    (path,) = empty_home.queue("normal").glob("*.meta.json")
    path.write_text("{")
    assert tracker.report(facts)["generators"][0]["generator"] == "skill:bin"
    with pytest.raises(Corrupt, match=r"A0.q.jsonl.meta.json is not JSON"):
        LineageTracker(empty_home).report(facts)


def test_reasons_are_counted_without_their_row() -> None:
    assert general("row 12: too long: really") == "too long: really"
    assert general("row of: words") == "row of: words"


def test_the_route_and_the_command_say_the_same(
    empty_home: Paths, facts: sqlite3.Connection, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(empty_home, facts)
    app = make_app("watchtower", [lineage_router(empty_home)], port=21081)
    served = TestClient(app, base_url="http://127.0.0.1:21081").get("/api/lineage").json()
    monkeypatch.setenv("REALM_HOME", str(empty_home.home))
    assert run(["lineage", "report", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == served
    assert run(["lineage", "report"]) == 0
    assert "rejected most: by hand (2 of 3 quests it made were refused)" in capsys.readouterr().out
