"""Tasks of reasoning-gym as skills: what has to hold before one is enabled, and that a false task is kept out."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

pytest.importorskip("reasoning_gym")

from realm.cli import run
from realm.core.clock import SYSTEM
from realm.core.errors import BadInput, Refused, Unknown
from realm.core.paths import Paths
from realm.core.shipped import shipped_dir
from realm.guild.schedule_routes import _store
from realm.guild.skills.config import SkillConfig, read_skill_file
from realm.guild.skills.gym import conformance, record
from realm.guild.skills.gym.derive import notches, settings_of
from realm.guild.skills.gym.frame import key_of, partition, questions_in, read_prompt
from realm.guild.skills.gym.skill import GymSkill
from realm.guild.skills.gym.task import Verdict, answer_in
from realm.guild.skills.server import app_of, open_skill
from realm.guild.skills.split import split_of
from realm.guild.skills.types import Item

READY = sorted(shipped_dir("configs/skills/gym").glob("*.yaml"))
SUMS = shipped_dir("configs/skills/gym") / "rg_chain_sum.yaml"


def config(**gym: object) -> SkillConfig:
    table = {"task": "chain_sum", "answer": "the number alone", "levels": [{"min_digits": 3, "max_digits": 3}], **gym}
    look = {"id": "rg_test", "name": "Test", "icon": "t", "game_icon": "game-icons:target", "color": "#000000"}
    return SkillConfig.model_validate({**look, "api": {"port": 8199, "server": "gym"}, "gym": table})


@pytest.fixture(scope="module")
def sums() -> GymSkill:
    return GymSkill(read_skill_file(SUMS))


def test_at_least_fifteen_tasks_are_ready_each_with_its_own_port_and_none_is_installed_by_itself(empty_home: Paths) -> None:
    from realm.guild.skills.loader import list_skills

    tables = [read_skill_file(path) for path in READY]
    assert len(tables) >= 15
    assert len({table.api.port for table in tables}) == len(tables)
    assert all(table.api.server == "gym" for table in tables)
    assert list_skills(empty_home) == ["bin", "sy"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_every_ready_task_passes_the_conformance_test(path: Path) -> None:
    assert conformance.check(read_skill_file(path), seconds=500).problems == []


@pytest.mark.slow
def test_a_ready_task_passes_also_in_another_process() -> None:
    report = conformance.check(read_skill_file(SUMS), SUMS, seconds=500)
    assert report.problems == []
    assert set(report.numbers) == {str(level) for level in range(1, 11)}


def test_items_follow_from_the_seed_and_keep_their_partition(sums: GymSkill) -> None:
    first = sums.generate(4, 50, 9)
    assert first == sums.generate(4, 50, 9)
    assert first[:20] == sums.generate(4, 20, 9)
    assert first != sums.generate(4, 50, 10)
    for item in [*first, *sums.generate(4, 50, 9, "gate"), *sums.static_eval(4)]:
        wanted = "train" if item.split == "train" else "eval"
        _, question = read_prompt(item.user_prompt) or ("", "")
        assert split_of("rg_chain_sum", 4, item.key) == partition("rg_chain_sum", question) == wanted
        assert item.key == sums.canonical_key(item)
        assert json.loads(json.dumps(item.sample())) == item.sample()


def test_the_partition_of_a_question_is_one_at_all_levels() -> None:
    for number in range(200):
        question = f"What is {number} + {number}?"
        parts = {split_of("rg_x", level, key_of("rg_x", level, question)) for level in range(1, 12)}
        assert parts == {partition("rg_x", question)}
        assert partition("rg_x", f"  {question}\n") == partition("rg_x", question)


def test_grades_are_strict_and_never_raise(sums: GymSkill, monkeypatch: pytest.MonkeyPatch) -> None:
    item, other = sums.generate(5, 2, 1)
    assert sums.score(item, item.assistant_response).strict == 1
    assert sums.score(item, f"Let me see.\n{item.assistant_response}\n").strict == 1
    longer = f"{item.assistant_response}0"
    for wrong in ("", "banana", item.user_prompt, other.assistant_response, longer, "0123456789", None, 7, "x" * 10_000):
        assert sums.score(item, wrong).strict == 0, wrong
    far = "rg_chain_sum-L5-99999999999"
    for name, value in (("user_prompt", other.user_prompt), ("id", far), ("id", "nothing"), ("level", 6)):
        forged = Item.from_sample({**item.sample(), name: value})
        assert sums.score(forged, item.assistant_response).parts == {"prompt_ok": False}
    monkeypatch.setattr(sums.task, "score", lambda *_: Verdict(0.0, "ZeroDivisionError: oh"))
    assert sums.score(item, "1").parts == {"verifier_error": "ZeroDivisionError: oh"}


@pytest.mark.parametrize(("reply", "whole", "answer"), [
    ("  12 ", False, "12"), ("a\nb\n\n", False, "b"), ("a\nb\n", True, "a\nb"), (" \n ", False, ""), ("x" * 200_000, True, ""),
])  # fmt: skip
def test_where_the_answer_is(reply: str, whole: bool, answer: str) -> None:
    assert answer_in(reply, whole) == answer


@pytest.mark.parametrize(("gym", "reason"), [
    ({"task": "syllogism", "levels": [{}]}, "the constant 'Yes' is right on"),
    ({"task": "knights_knaves", "levels": [{"n_people": 2}]}, "the golden answer and a word scores 1"),
    ({"levels": [{"min_digits": 3, "max_digits": 3}] * 2}, "the same settings"),
    ({"levels": [{"min_digits": 1, "max_digits": 1, "min_terms": 2, "max_terms": 2}]}, "different questions among 1000"),
])  # fmt: skip
def test_what_a_task_is_quarantined_for(gym: dict[str, object], reason: str) -> None:
    problems = conformance.check(config(**gym)).problems
    assert any(reason in problem for problem in problems), problems


def test_a_test_that_takes_too_long_ends_and_says_where_it_was() -> None:
    class Slow:
        """A clock on which every look takes a tenth of a second."""

        def __init__(self) -> None:
            self.at = 0.0

        def now(self) -> datetime:
            return SYSTEM.now()

        def monotonic(self) -> float:
            self.at += 0.1
            return self.at

    two = config(levels=[{"min_digits": 3, "max_digits": 3}, {"min_digits": 4, "max_digits": 4}])
    clock = Slow()
    assert conformance.check(two, seconds=30, clock=clock).problems == [
        "the test takes more than 30 s: it was at level 1 of 2; fewer levels take less"
    ]
    assert clock.at < 31
    whole = Slow()
    assert conformance.check(two, seconds=100_000, clock=whole).problems == []
    assert "at level 2 of 2" in conformance.check(two, seconds=0.8 * whole.at, clock=Slow()).problems[-1]


@pytest.mark.parametrize(("gym", "error", "said"), [
    ({"task": "no_such_task"}, Unknown, "reasoning-gym task"), ({"levels": [{"no_such_setting": 1}]}, BadInput, "level 1"),
    ({"levels": [{"min_digits": 4, "max_digits": 1}]}, BadInput, "level 1"),
])  # fmt: skip
def test_a_wrong_table_is_named(gym: dict[str, object], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        GymSkill(config(**gym))
    assert conformance.check(config(**gym)).problems


def test_a_task_that_the_package_lacks_is_unknown() -> None:
    with pytest.raises(Unknown, match="chain_som"):
        settings_of("chain_som")


def test_levels_of_a_curriculum_move_one_setting_at_a_time() -> None:
    assert list(notches([2, 3])) == [[0, 0], [1, 0], [1, 1], [1, 2]]
    levels = settings_of("chain_sum")
    assert len(levels) > 10
    for one, two in pairwise(levels):
        assert len({name for name in one if one[name] != two[name]}) == 1


@pytest.mark.slow
def test_a_user_adds_lists_checks_and_enables_one(
    empty_home: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REALM_HOME", str(empty_home.home))
    table = {"skills": {"bin": {}, "rg_spell_backward": {}}}
    with pytest.raises(BadInput, match="rg_spell_backward"):
        _store(empty_home, table, None, SYSTEM)
    assert run(["skills", "gym", "add", "spell_backward"]) == 0
    assert "added" in capsys.readouterr().out
    assert run(["skills", "gym", "add", "spell_backward"]) == 3
    assert run(["skills", "gym", "list"]) == 0
    assert "spell_backward               added, passed its check" in capsys.readouterr().out
    assert _store(empty_home, table, None, SYSTEM)
    skill = open_skill("rg_spell_backward", empty_home)
    with TestClient(app_of(skill, 21999), base_url="http://127.0.0.1:21999") as client:
        sample = client.post("/generate", json={"level": 2, "count": 3, "seed": 1, "styles": {"brief": 1.0}}).json()["samples"][0]
        body = {"problem": sample, "answer": sample["assistant_response"]}
        assert client.post("/grade", json=body).json()["correct"] is True
        assert client.post("/grade", json={**body, "problem": {**sample, "user_prompt": "Puzzle"}}).status_code == 400
        assert len(client.get("/eval?level=1").json()["samples"]) == 5


def test_what_fails_is_neither_added_nor_enabled_nor_served(
    empty_home: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REALM_HOME", str(empty_home.home))
    monkeypatch.setattr("realm.guild.skills.gym.derive.MOST_LEVELS", 2)
    assert run(["skills", "gym", "add", "syllogism"]) == 4
    assert "rg_syllogism: quarantined" in capsys.readouterr().out
    assert not (empty_home.user_skills / "rg_syllogism.yaml").exists()
    empty_home.user_skills.mkdir(parents=True, exist_ok=True)
    shutil.copy(empty_home.status / "gym" / "trial" / "rg_syllogism.yaml", empty_home.user_skills)
    with pytest.raises(Refused, match="quarantined: level 1"):
        open_skill("rg_syllogism", empty_home)
    with pytest.raises(Refused, match="cannot be enabled: quarantined"):
        _store(empty_home, {"skills": {"bin": {}, "rg_syllogism": {}}}, None, SYSTEM)
    assert run(["skills", "gym", "check", "rg_syllogism"]) == 4
    assert run(["skills", "gym", "check", "bin"]) == 2


@pytest.mark.slow
def test_a_record_counts_for_its_own_table_only(empty_home: Paths) -> None:
    path = empty_home.user_skills / "rg_chain_sum.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SUMS.read_text())
    assert record.why_not(empty_home, read_skill_file(path)) == "it has not passed its conformance test yet"
    assert record.checked(empty_home, read_skill_file(path), path).passed
    assert record.why_not(empty_home, read_skill_file(path)) == ""
    path.write_text(SUMS.read_text().replace("min_terms: 12, max_terms: 12", "min_terms: 13, max_terms: 13"))
    assert "not passed" in record.why_not(empty_home, read_skill_file(path))


def test_questions_are_found_in_other_text(sums: GymSkill) -> None:
    first, second = sums.generate(1, 2, 3)
    text = f"Look at this:\n{first.user_prompt}\nand this\n{second.user_prompt} now"
    assert [key_of(skill, 1, question) for skill, question in questions_in(text)] == [first.key, second.key]
