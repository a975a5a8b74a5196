"""The works of the tasks on a real base directory, and the commands."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from quest_files import as_bytes, rows

from realm.arena.quests import intake, validation_report
from realm.cli import run
from realm.core.daemon import single_instance
from realm.core.errors import BadInput, Conflict
from realm.core.paths import Paths
from realm.core.store import open_facts
from realm.gate import Realm
from realm.gate.sparring import fits_hero
from realm.gate.tasks import board_needs, clean_up, evals_need, works
from realm.guild.skills.bin.skill import SKILL
from realm.guild.tasks.registry import TASKS


@pytest.fixture
def facts(home: Paths) -> Iterator[sqlite3.Connection]:
    with closing(open_facts(home)) as connection:
        yield connection


def put(paths: Paths, facts: sqlite3.Connection, data: bytes, name: str) -> str:
    spool = paths.home / "queue" / ".given"
    spool.write_bytes(data)
    try:
        return intake.accept_spool(paths, facts, spool, name=name, priority="normal")
    finally:
        spool.unlink()


def test_every_task_that_can_run_has_a_work(home: Paths) -> None:
    assert set(works(Realm(home))) == set(TASKS)


def test_health_check_and_lineage_report_do_their_work(home: Paths, facts: sqlite3.Connection) -> None:
    found = works(Realm(home))
    assert found["health_check"].do().endswith("all clear")
    put(home, facts, as_bytes(rows(2)), "a.jsonl")
    assert found["lineage_report"].do() == "1 quests, 0 refused"
    assert json.loads((home.status / "lineage.json").read_text())["quests"] == 1
    (home.queue("normal") / "stray.jsonl").write_text("{}")
    with pytest.raises(BadInput, match=r"1 findings: board: stray\.jsonl"):
        found["health_check"].do()


def test_validate_queue_names_a_waiting_quest_that_would_be_refused(
    home: Paths, facts: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation_report, "static_prompts", dict)  # making SY's sets takes seconds
    work = works(Realm(home))["validate_queue"]
    assert work.needs() == "no quest waits"
    good, other = SKILL.generate(1, 2, 1)

    def chat(prompt: str, answer: str) -> dict[str, Any]:
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        return {"messages": messages, "metadata": {"skill": "bin", "level": 1}}

    put(home, facts, as_bytes([chat(good.user_prompt, good.assistant_response)]), "good.jsonl")
    assert work.needs() == ""
    assert work.do() == "1 waiting quests looked at, none would be refused"
    put(home, facts, as_bytes([chat(good.user_prompt, "no idea")]), "bad.jsonl")
    with pytest.raises(BadInput, match=r"1 of 2 waiting quests would be refused: bad\.jsonl: row 1: golden"):
        work.do()
    assert other.key != good.key


def test_cleanup_keeps_out_of_the_arenas_way(home: Paths) -> None:
    work = works(Realm(home))["checkpoint_cleanup"]
    assert work.needs() == ""
    assert work.do() == "0 checkpoints dropped, 0 kept"
    with single_instance(home, "arena"):
        assert work.needs() == "the arena runs and cleans up after every save"
        with pytest.raises(Conflict, match="arena already runs"):
            clean_up(home)


def test_what_is_missing_is_said(home: Paths, facts: sqlite3.Connection) -> None:
    found = works(Realm(home))
    assert found["model_warmup"].needs() == "no checkpoint was saved yet"
    assert found["sparring_binary"].needs() == "no checkpoint was saved yet"
    assert evals_need(home) == "no eval waits"
    with single_instance(home, "evaluator"):
        assert "evaluator runs" in evals_need(home)
    home.schedule.write_text("skills: {bin: {}}\n")
    assert found["sparring_sy"].needs() == "the schedule does not enable sy"
    with single_instance(home, "dataflow"):
        assert board_needs(Realm(home)) == "the dataflow runs and fills the board by itself"
    low = Realm(home).schedule().board.low
    assert board_needs(Realm(home)) == ""
    for number in range(low):
        put(home, facts, as_bytes(rows(1, number)), f"{number}.jsonl")
    assert board_needs(Realm(home)) == f"{low} quests wait, {low} are wanted"


def test_the_commands(
    home: Paths, facts: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REALM_HOME", str(home.home))
    monkeypatch.setattr("realm.guild.tasks.load.WINDOW_S", 0.01)
    assert run(["tasks", "list", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 11
    assert run(["tasks", "available", "--gpu", "3090"]) == 0
    said = capsys.readouterr().out
    assert "lineage_report" in said
    assert "vault_scan" in said
    assert run(["tasks", "run", "--task", "lineage_report"]) == 0
    assert "lineage_report: done: 0 quests" in capsys.readouterr().out
    assert run(["tasks", "run", "vault_scan"]) == 0
    assert "assets seen" in capsys.readouterr().out
    assert run(["tasks", "run", "nothing"]) == 2
    for number in range(Realm(home).schedule().board.low):
        put(home, facts, as_bytes(rows(1, number)), f"{number}.jsonl")
    assert run(["tasks", "master", "--once"]) == 0
    assert "health_check: done" in capsys.readouterr().out
    assert run(["tasks", "status"]) == 0
    said = capsys.readouterr().out
    assert "task master: does not run" in said
    assert "lineage_report" in said
    assert Path(home.status / "task_master.json").is_file()


def test_sparring_leaves_out_a_row_whose_answer_quotes_an_eval_problem(home: Paths) -> None:
    quoted = SKILL.generate(1, 1, 1, "eval", {"brief": 1.0})[0].user_prompt

    def row(answer: str) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": "Is this correct?"}, {"role": "assistant", "content": answer}]}

    assert fits_hero(home)([row("It is."), row(f"It is.\n{quoted}"), row("no " * 5000)]) == [True, False, False]
