"""What made some weights: the whole line of parents, dropped ones included, and every quest on it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from realm.cli import run
from realm.core.errors import BadInput, Corrupt, Unknown
from realm.core.paths import Paths
from realm.core.store import open_facts, transaction
from realm.vault import ledger
from realm.vault.ancestry import find_checkpoint, line_of, made_of
from tests.vault.test_ledger import make


@pytest.fixture
def facts(empty_home: Paths) -> Iterator[Any]:
    with closing(open_facts(empty_home)) as connection:
        yield connection


def part(quest: str, start: int, end: int, steps: int = 10, rows: int = 100) -> dict[str, Any]:
    return {"quest": quest, "sha256": quest * 8, "name": f"{quest}.jsonl", "from_step": start, "to_step": end,
            "steps": steps, "complete": end == steps, "skill": "bin", "level": 1, "generator": "skill:bin",
            "rows": rows}  # fmt: skip


def line(paths: Paths, facts: Any) -> list[str]:
    """Three checkpoints on a line and one beside it; the second is dropped, the first lost its row as well."""
    names: list[str] = []
    told = ([part("Q1", 0, 4)], [part("Q1", 4, 10), part("Q2", 0, 3)], [part("Q2", 3, 6, rows=50)])
    for number, quests in enumerate(told, 1):
        make(paths, 10 * number, quests=quests, parent=names[-1] if names else None)
        names.append(f"checkpoint-{10 * number}-20260101-0000")
    make(paths, 15, quests=[part("Q9", 0, 10)], parent=names[0])
    ledger.adopt(paths, facts)
    for name in names[:2]:
        record = ledger.indexed(facts, name)
        ledger.keep_sidecar(paths, record)
        with transaction(facts):
            ledger.drop_from_index(facts, record, "retention")
        shutil.rmtree(paths.current_model / name)
    facts.execute("DELETE FROM checkpoints WHERE name = ?", (names[0],))
    return names


def test_the_line_goes_through_dropped_parents_and_leaves_out_side_branches(empty_home: Paths, facts: Any) -> None:
    names = line(empty_home, facts)
    found = line_of(empty_home, facts, names[2])
    assert [record.canonical_name for record in found] == names
    first, second = made_of(found)
    assert (first.quest, first.trained, first.rows, first.first, first.last, first.complete) == ("Q1", 100, 100, 10, 20, True)
    assert (second.quest, second.trained, second.complete, second.last) == ("Q2", 45, False, 30)


def test_a_lost_parent_is_told(empty_home: Paths, facts: Any) -> None:
    names = line(empty_home, facts)
    (empty_home.current_model / ledger.DROPPED / f"{names[0]}.json").unlink()
    with pytest.raises(Corrupt, match=rf"{names[0]}, the parent of {names[1]}, left no sidecar"):
        line_of(empty_home, facts, names[2])


def test_a_line_that_bites_its_tail_ends(empty_home: Paths, facts: Any) -> None:
    make(empty_home, 1, parent="checkpoint-2-20260101-0000")
    make(empty_home, 2, parent="checkpoint-1-20260101-0000")
    ledger.adopt(empty_home, facts)
    with pytest.raises(Corrupt, match="its own ancestor"):
        line_of(empty_home, facts, "checkpoint-2-20260101-0000")


def test_a_checkpoint_is_found_by_name_and_by_step_dropped_ones_too(empty_home: Paths, facts: Any) -> None:
    names = line(empty_home, facts)
    assert find_checkpoint(facts, "30") == find_checkpoint(facts, names[2]) == names[2]
    assert find_checkpoint(facts, "20") == names[1]
    with pytest.raises(Unknown, match="'31'"):
        find_checkpoint(facts, "31")
    with pytest.raises(BadInput, match="not a checkpoint name"):
        find_checkpoint(facts, "thirty")


def test_the_command_lists_quests_with_generator_versions(
    empty_home: Paths, facts: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line(empty_home, facts)
    beside = empty_home.queue("recently_completed") / "Q1.x.jsonl.meta.json"
    beside.write_text(json.dumps({"generator_id": "skill:bin", "generator_version": "7.1", "validator_versions": {"quick": "2"}}))
    monkeypatch.setenv("REALM_HOME", str(empty_home.home))
    assert run(["lineage", "show", "30", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(q["quest"], q["trained"], q["generator"], q["generator_version"]) for q in told["quests"]] == [
        ("Q1", 100, "skill:bin", "7.1"), ("Q2", 45, "skill:bin", None),
    ]  # fmt: skip
    assert run(["lineage", "show", "30"]) == 0
    assert "145 rows of 2 quests, over 3 checkpoints" in capsys.readouterr().out
    assert run(["lineage", "show", "31"]) == 2
