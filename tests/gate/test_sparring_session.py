"""A session on a whole base directory: rows on the board, status, event, sidecar; and with the real tiny hero."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from sparring_kit import DIGEST, BinSkill, StubHero

from realm.arena.evals.asking import OracleAsk
from realm.arena.quests import board
from realm.arena.quests.quest import get_quest, quest_path, sidecar_of
from realm.armory.hero_presets import get_preset
from realm.core import events
from realm.core.daemon import single_instance
from realm.core.errors import BadInput, Conflict, Corrupt, Unavailable, Unknown
from realm.core.paths import Paths
from realm.core.store import open_facts, transaction
from realm.gate import sparring
from realm.gate.sparring import Wish, check_files, hold_session, read_status, sparring_files
from realm.guild.answer_styles import AnswerStyles
from realm.guild.mastery import record_mastery
from realm.guild.skill_client import SkillClient, training_row
from realm.guild.skills.bin import SKILL
from realm.guild.skills.server import skill_app
from realm.guild.sparring import Sampling
from tests.free_ports import free_port

STEPS = 300  # of the real hero, before it spars


@contextmanager
def facts_of(paths: Paths) -> Iterator[sqlite3.Connection]:
    with closing(open_facts(paths)) as facts:
        yield facts


def checkpoint(paths: Paths, step: int, digest: str = DIGEST) -> str:
    name = f"checkpoint-{step}-20260101-0000"
    with facts_of(paths) as facts:
        facts.execute(
            "INSERT INTO checkpoints(name, step, state, generation, weights_sha256, manifest_sha256, size, created_at, record)"
            " VALUES (?,?,'present',1,?,'',0,'','{}')",
            (name, step, digest),
        )
    return name


def spar(paths: Paths, accuracy: float = 0.6, **wish: Any) -> Any:
    given = {"skill": "bin", "count": 60, "level": 3, "seed": 1, **wish}
    return hold_session(paths, Wish(**given), ask=StubHero(accuracy), source=BinSkill())


def test_rows_come_in_the_styles_of_quests_and_the_exam_in_the_one_of_evals(
    home: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint(home, 500)
    source, styles = BinSkill(), AnswerStyles({"brief": 1.0}, {2: {"brief": 0.4, "verify": 0.6}})
    monkeypatch.setattr(sparring, "answer_styles", lambda _preset: styles)
    hold_session(home, Wish("bin", 60, level=3, seed=1), ask=StubHero(0.6), source=source)
    assert all(asked == styles.at(3) for _, split, asked in source.styles if split == "train")
    assert [asked for _, split, asked in source.styles if split == "eval"] == [{"verify": 1.0}]


def test_the_rows_become_a_quest_of_high_priority(home: Paths) -> None:
    name = checkpoint(home, 500)
    held = spar(home)
    with facts_of(home) as facts:
        quest = get_quest(facts, held.quest)
        told = [event for event in events.since(facts, 0) if event["kind"] == "sparring.finished"]
        alarms = [event for event in events.since(facts, 0) if event["kind"] == "patrol.failed"]
        path = quest_path(home, quest)
    assert (quest.state, quest.priority, quest.kind, quest.skill, quest.level) == ("queued", "high", "sparring", "bin", 3)
    assert quest.rows == len(held.bout.rows) == len(path.read_text().splitlines())
    assert quest.name.startswith(f"sparring_bin_L3_{quest.rows}_")
    assert [(event["subject"], event["step"], event["data"]["rows"]) for event in told] == [(quest.id, 500, quest.rows)]
    meta = json.loads(sidecar_of(path).read_text())
    assert (meta["generator_id"], meta["generator_version"], meta["example_count"]) == ("sparring", "2", quest.rows)
    made = meta["params"]
    assert (made["checkpoint"], made["checkpoint_step"], made["weights_sha256"]) == (name, 500, DIGEST)
    assert made["check"]["false_labels"] == 0
    exam = made["exam"]
    assert (exam["n"], exam["verdicts"]["tpr"], exam["verdicts"]["tnr"]) == (60, 1.0, 0.0)
    assert exam["transitions"]["right_right"] == exam["right"]
    assert told[0]["data"]["exam"] == exam == read_status(home)["exam"]
    assert alarms == []  # it never trained verdicts
    status = read_status(home)
    assert (status["state"], status["quest"], status["rows"]) == ("finished", quest.id, quest.rows)


def test_the_alarms_of_an_exam_are_told_once_sparring_was_trained(home: Paths) -> None:
    checkpoint(home, 500)
    first = spar(home)
    with facts_of(home) as facts:
        facts.execute("UPDATE quests SET state = 'completed' WHERE id = ?", (first.quest,))
    held = spar(home, seed=2)
    with facts_of(home) as facts:
        alarms = [event for event in events.since(facts, 0) if event["kind"] == "patrol.failed"]
    assert held.exam is not None
    assert [event["data"]["reason"] for event in alarms] == [f"bin level 3: {held.exam.alarms()[0]}"]


def test_files_on_the_board_are_checked_wherever_they_lie(home: Paths) -> None:
    checkpoint(home, 500)
    held = spar(home)
    sources = {"bin": BinSkill()}
    [good] = check_files(home, sparring_files(home), sources)
    assert good.report.passed
    with facts_of(home) as facts:
        board.claim(home, facts, step=600)
    [path] = sparring_files(home)
    assert path.parent.name == "processing"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    kept = [row for row in rows if row["metadata"]["sparring"]["type"] in (1, 2, 3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in kept))
    [bad] = check_files(home, [path], sources)
    assert bad.report.problems[0].startswith("author hero: 100.0% of")
    path.write_text("{}\n")
    [broken] = check_files(home, [path], sources)
    assert "row 1 is no sparring row" in broken.report.problems[0]
    assert held.name in path.name


def test_the_seeds_trio_is_checked_as_such(home: Paths) -> None:
    checkpoint(home, 500)
    home.schedule.write_text("skills: {bin: {}}\nsparring: {balance: seed_only}\n")
    held = spar(home)
    assert len(held.bout.rows) == 3 * held.bout.wrong
    assert check_files(home, sparring_files(home), {"bin": BinSkill()})[0].report.passed


def test_which_checkpoint_spars(home: Paths) -> None:
    checkpoint(home, 400, "e" * 64)
    newest = checkpoint(home, 500)
    assert spar(home).fighter.checkpoint == newest
    assert spar(home, step=500).fighter.step == 500
    assert spar(home, checkpoint=newest).fighter.step == 500
    with pytest.raises(Corrupt, match="weights dddd"):
        spar(home, step=400)  # the stub answers with other weights than that checkpoint has
    assert read_status(home)["state"] == "failed"
    for wrong, error in (({"step": 7}, Unknown), ({"checkpoint": "x"}, Unknown), ({"step": 500, "checkpoint": newest}, BadInput)):
        with pytest.raises(error):
            spar(home, **wrong)


def test_a_checkpoint_that_is_far_behind_does_not_spar(home: Paths) -> None:
    checkpoint(home, 500)
    checkpoint(home, 2501)
    with pytest.raises(Conflict, match="2001 steps further"):
        spar(home, step=500)
    assert sparring_files(home) == []


def test_rows_are_stale_when_a_level_was_mastered_since(home: Paths) -> None:
    name = checkpoint(home, 500)
    held = spar(home)
    with facts_of(home) as facts:
        with transaction(facts):
            record_mastery(facts, "bin", 1, name, 500, {"n": 60, "correct": 60})
        assert board.claim(home, facts, step=510) is None
        found = get_quest(facts, held.quest)
    assert (found.state, found.reason.split(":")[0]) == ("failed", "stale")


def test_no_rows_and_the_reason_when_the_hero_is_never_right(home: Paths) -> None:
    checkpoint(home, 500)
    with pytest.raises(Conflict, match="0 were right"):
        spar(home, 0.0)
    assert sparring_files(home) == []
    assert "0 were right" in read_status(home)["reason"]


def test_one_session_at_a_time(home: Paths) -> None:
    checkpoint(home, 500)
    with single_instance(home, "sparring"), pytest.raises(Conflict, match="already runs"):
        spar(home)


def test_without_services_the_command_says_what_to_start(
    home: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from realm.cli import run

    monkeypatch.setenv("REALM_HOME", str(home.home))
    monkeypatch.setenv("REALM_PORT_BASE", "42000")
    checkpoint(home, 500)
    assert run(["sparring", "run", "--skill", "binary", "--count", "5"]) == Unavailable.exit_code
    assert "start it: realm skills serve bin" in capsys.readouterr().err
    assert run(["sparring", "check", "--all"]) == 0
    assert "0 sparring files checked" in capsys.readouterr().out
    assert run(["sparring", "status"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "failed"
    assert run(["sparring", "run", "--skill", "nothing"]) == Unknown.exit_code


@contextmanager
def served(make: Callable[[int], Any]) -> Iterator[str]:
    """Serve an app, made for its port, on a free port of this machine and return its address."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(make(port), host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def train_a_little(paths: Paths, steps: int) -> None:
    """Give the tiny hero its first battle: BIN level 1, so that it is right now and then."""
    found = SKILL.generate(1, get_preset("tiny").training.rows_per_step * steps, 1, "train", {"brief": 1.0})
    rows = [training_row(item.sample()) for item in found]
    with facts_of(paths) as facts:
        origin = board.made_here("skill:bin", "1", kind="generated", skill="bin", level=1)
        board.submit_rows(paths, facts, rows, name="train_bin_level1.jsonl", priority="normal", origin=origin)
    words = [sys.executable, "-m", "realm.cli", "arena", "train", "--once", "--home", str(paths.home)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_real_tiny_hero_spars_through_real_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trained hero, the oracle and the skill's server as they run in a realm; the rows are balanced and its own."""
    from realm.gate import founding
    from realm.oracle.server import build_app
    from realm.oracle.service import Oracle, Settings

    home = Paths(tmp_path / "home").ensure()
    monkeypatch.setattr(founding, "TEXT_LEVELS", {"bin": range(1, 3)})
    founding.create_hero(home, "tiny", "dio", name="DIO", seed=0)
    train_a_little(home, STEPS)
    oracle = Oracle(home, Settings(preload="none"))
    mind_app, skill_bin = lambda port: build_app(home, oracle, port=port), lambda port: skill_app("bin", port)
    with served(mind_app) as mind, served(skill_bin) as skill:
        asking = OracleAsk(mind)

        def ask(step: int, prompts: Sequence[str], sampling: Sampling) -> Any:
            return asking.sample(step, prompts, sampling.max_new_tokens, sampling.temperature, sampling.seed)

        source = SkillClient("bin", skill, 30)
        held = hold_session(home, Wish("bin", 60, 1, seed=1), ask=ask, source=source)
        [checked] = check_files(home, sparring_files(home), {"bin": source})
    print(held.bout.numbers, held.bout.report.numbers)
    assert checked.report.problems == []
    assert held.fighter.step >= STEPS
    assert held.bout.used >= 5
    digest = json.loads((home.current_model / held.fighter.checkpoint / "manifest.json").read_text())["weights_sha256"]
    assert held.fighter.weights_sha256 == digest
    own = {row["metadata"]["sparring"]["author"] for row in held.bout.rows}
    assert own == {"hero", "golden", "corrupted"}
