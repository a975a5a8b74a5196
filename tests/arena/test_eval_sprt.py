from __future__ import annotations

from pathlib import Path

from eval_fakes import Home, LocalSkill, Oracle

from realm.guild.gate import GateRules
from realm.guild.mastery import mastered_level
from realm.guild.skill_client import Sample

RULES = GateRules(rule="sprt")


def test_a_good_hero_passes_on_one_eval_and_a_poor_one_fails_soon(tmp_path: Path) -> None:
    good = Home(tmp_path / "good", Oracle(1.0), RULES)
    good.save(50)
    good.work(2000)
    assert mastered_level(good.facts, "bin") == 30  # it knows them all, and each was asked
    assert good.evals(level=1, kind="gate")[0]["n"] == 20
    poor = Home(tmp_path / "poor", Oracle(0.3), RULES)
    poor.save(50)
    poor.work()
    row = poor.evals()[0]
    assert (row["n"], mastered_level(poor.facts, "bin")) == (20, 0)


def test_a_hero_in_between_is_asked_on_up_to_the_cap(tmp_path: Path) -> None:
    oracle = Oracle(0.78)
    home = Home(tmp_path, oracle, RULES)
    for step in range(50, 450, 50):
        home.save(step)
        home.work()
    asked = [row["n"] for row in home.evals(level=1, kind="gate", state="done")]
    assert max(asked) >= 40
    assert max(asked) <= 150
    assert all(n % 10 == 0 for n in asked)
    for row in home.evals(kind="gate", state="done"):
        report = (home.paths.home / row["file"]).with_suffix(".jsonl").read_text().splitlines()
        assert len(report) == row["n"]
    prompts = [prompt for step, batch in oracle.calls if step == 50 for prompt in batch]
    assert len(set(prompts)) == len(prompts)  # no problem twice in one test


def test_a_small_level_ends_undecided(tmp_path: Path) -> None:
    class Small(LocalSkill):
        def generate(self, level: int, count: int, *more: object, **named: object) -> list[Sample]:
            found = super().generate(level, 15, 1, "eval")
            return (found * count)[:count]

    home = Home(tmp_path, Oracle(0.8), RULES)
    home.skill.generate = Small().generate  # type: ignore[method-assign]
    home.save(50)
    home.work()
    row = home.evals()[0]
    assert row["state"] == "done"
    assert row["n"] == 20
