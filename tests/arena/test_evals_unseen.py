"""`realm evals unseen`: words that no training row answers with, asked beside words that training has."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from eval_fakes import Home, LocalSkill, Oracle

from realm.arena.evals.compare import ask_for, resolve_checkpoint
from realm.arena.evals.evaluator import Evaluator
from realm.cli import run
from realm.core.errors import BadInput, Conflict
from realm.guild.answer_styles import AnswerStyles
from realm.guild.skill_client import Grade, Sample
from realm.guild.skills.sy.skill import SKILL
from realm.guild.skills.sy.words import is_held_out
from realm.guild.skills.trainer import Trainer
from realm.guild.skills.types import Item


class Words(LocalSkill):
    """The SY skill without its server."""

    skill, max_level = "sy", 50

    def static_items(self, level: int, style: str | None = None) -> list[Sample]:
        return [item.sample() for item in SKILL.static_eval(level, style)]

    def generate(
        self, level: int, count: int, seed: int, split: str, styles: Mapping[str, float] | None = None
    ) -> list[Sample]:
        return [item.sample() for item in SKILL.generate(level, count, seed, "eval", styles)]

    def grade(self, items: Sequence[Sample], answers: Sequence[str]) -> list[Grade]:
        found = [SKILL.score(Item.from_sample(item), text) for item, text in zip(items, answers, strict=True)]
        return [Grade(s.strict == 1, s.expected, s.parsed, s.reason, s.partial) for s in found]


class Reader(Oracle):
    """Knows every word but those that training never answers with."""

    def text(self, step: int, prompt: str) -> str:
        solution = SKILL.solve(Item("", "sy", "", 1, "eval", prompt, "", ""))
        words = [line.rpartition("= ")[2].lower() for line in solution.splitlines() if " = " in line]
        return "I do not know" if any(map(is_held_out, words)) else solution


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    made = Home(tmp_path / "home", Reader())
    row = resolve_checkpoint(made.facts, made.save(50))
    styles = AnswerStyles({"trace": 1.0})  # a style of another skill, as a hero that learns BIN has
    evaluator = Evaluator(made.paths, made.facts, made.ask, {"sy": Words()}, lambda _skill: made.rules, styles=styles)
    for kind in ("full", "unseen"):
        evaluator.work(ask_for(made.facts, row, "sy", 1, kind))
    monkeypatch.setenv("REALM_HOME", str(made.paths.home))
    monkeypatch.setattr(Trainer, "info", lambda one: {"styles": ["brief", *(["unseen"] if one.skill.id == "sy" else [])]})
    return made


def test_every_unseen_problem_has_held_out_words_and_no_seen_one_has(home: Home) -> None:
    assert [(row["kind"], row["n"], row["correct"]) for row in home.evals(skill="sy")] == [("full", 100, 100), ("unseen", 40, 0)]
    report = json.loads((home.paths.home / home.evals(kind="unseen")[0]["file"]).read_text())
    assert (report["kind"], report["styles"], report["split"]) == ("unseen", {"unseen": 1.0}, "eval")


def test_both_are_shown_with_their_intervals(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evals", "unseen", "--step", "50", "--level", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "seen   words  100 of 100 right, 95 % interval 96% to 100%", "unseen words  0 of 40 right, 95 % interval 0% to 9%",
    ]  # fmt: skip
    assert run(["evals", "unseen", "--step", "50", "--level", "1", "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    stored = {row["kind"]: row["id"] for row in home.evals(skill="sy")}
    assert (found["seen"]["eval"], found["unseen"]["eval"]) == (stored["full"], stored["unseen"])
    assert run(["evals", "list", "--kind", "unseen"]) == 0
    assert "1 evals shown" in capsys.readouterr().out


def test_a_skill_without_held_out_words_is_refused_before_anything_is_asked(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    before = home.count("evals")
    assert run(["evals", "unseen", "--step", "50", "--skill", "bin", "--level", "1"]) == BadInput.exit_code
    assert "holds no words out of training" in capsys.readouterr().err
    assert home.count("evals") == before
    home.facts.execute("UPDATE checkpoints SET state = 'dropped'")
    assert run(["evals", "unseen", "--step", "50", "--level", "2"]) == Conflict.exit_code
