"""The champion school with lessons that are given by the test; tests/arena/test_champion_lessons.py has TRL give them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from fight_kit import kinds, no_evals, put
from quest_files import configure, digests
from safetensors.torch import load_file
from sparring_kit import BinSkill
from test_battle import twin

from realm.arena import champion_school as school
from realm.arena.battle import enter, fight, leave
from realm.arena.champion_school import Stopped, Taught, hold
from realm.arena.replay import replay
from realm.arena.school_lessons import Course, Lessons, Marks, flat_groups, refuse_not_finite, refuse_unfit, rewards_of
from realm.arena.stepper import NonFinite
from realm.arena.timeline import find_places, step_rows
from realm.core import events
from realm.core.daemon import StopFlag, single_instance
from realm.core.errors import BadInput, Conflict, Corrupt, Unavailable, Unknown
from realm.core.paths import Paths
from realm.core.store import read_facts
from realm.gate.forking import fork
from realm.guild.skill_client import Grade, Sample
from realm.guild.skills.inside import SkillInside
from realm.guild.skills.split import split_of
from realm.vault import ledger

COURSE = Course("bin", 1, steps=3, groups=2, samples=2, asked=20)


class Known(BinSkill):
    """BIN, of which a share of every hundred answers counts as right, whatever they say."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def grade(self, items: Sequence[Sample], answers: Sequence[str]) -> list[Grade]:
        right = round(self.share * len(items))
        return [Grade(number < right, parts={"format_ok": True}) for number in range(len(items))]  # the first are right


def lessons_of(gradient: float) -> Any:
    def teach(stepper: Any, pupil: Any, _tokenizer: Any, items: Any, course: Course, reward: Any, beat: Any) -> Taught:
        done, optimiser = Taught(), school.SchoolAdamW(stepper.optimiser, stepper.model, course.rate)
        for step in range(course.steps):
            beat(step)
            part = [item for item in items[step * course.groups : (step + 1) * course.groups] for _ in range(course.samples)]
            done.note(reward(part, pupil.answers(part, course.temperature)), course.samples)
            done.tokens, done.trained = done.tokens + 100, done.trained + 40
            for weight in optimiser.weights:
                weight.grad = weight.detach().clone().fill_(gradient)
            optimiser.step()
        return done

    return teach


def visit(paths: Paths, share: float = 0.5, gradient: float = 0.01, stop: StopFlag | None = None, evals: Any = no_evals) -> Any:
    arena = enter(paths, evals)
    try:
        return hold(arena, COURSE, Known(share), {"brief": 1.0}, stop or StopFlag(), teach=lessons_of(gradient))
    finally:
        leave(arena)


@pytest.fixture
def trained(home: Paths) -> Paths:
    """A home whose hero has one checkpoint, of step 4."""
    put(home, "a.jsonl", 16)
    arena = enter(home, no_evals)
    try:
        fight(arena, StopFlag(), until_idle=True)
    finally:
        leave(arena)
    return home


def names(paths: Paths) -> list[str]:
    return [folder.name for folder in ledger.folders(paths)]


def served_between(paths: Paths, old: str, new: str) -> bool:
    """Say whether every weight that is served lies between the one served before and the one trained."""
    before, served, raw = (load_file(paths.current_model / folder / f"{name}.safetensors")
                           for folder, name in ((old, "model"), (new, "model"), (new, "raw")))  # fmt: skip
    ways = [((served[name] - before[name]) * (raw[name] - served[name])).min() for name in served]
    return min(float(way) for way in ways) >= -1e-9


def school_events(paths: Paths) -> list[dict[str, Any]]:
    with read_facts(paths) as facts:
        return [dict(one) for one in events.since(facts, 0) if one["kind"].startswith("school.")]


def test_a_right_answer_is_worth_one_and_its_format_a_tenth() -> None:
    grades = [Grade(True, parsed="①", parts={"format_ok": True}), Grade(False, parsed=None, parts={"format_ok": True}),
              Grade(False, parsed="①"), Grade(False), Grade(False, parsed="①", parts={"format_ok": False})]  # fmt: skip
    assert rewards_of(grades) == [1.1, 0.1, 0.1, 0.0, 0.0]
    with pytest.raises(Corrupt, match="no such item"):
        rewards_of([Grade(False, error="no such item")])
    with pytest.raises(Corrupt, match="not a finite number"):
        refuse_not_finite([1.0, float("nan")])


def test_groups_without_spread_are_counted() -> None:
    assert flat_groups([1.1, 1.1, 0.1, 1.1, 0.0, 0.0], 2) == 2
    assert flat_groups([1.1, 1.1, 0.1, 0.1, 0.1, 0.1], 3) == 1


def test_a_hero_that_knows_too_little_or_too_much_is_refused_with_numbers() -> None:
    for right in (40, 180):
        refuse_unfit(Marks(200, right, 0.5), COURSE)
    with pytest.raises(Conflict, match=r"39 of 200 .* bin level 1 \(20%.*needs 20%") as found:
        refuse_unfit(Marks(200, 39, 0.5), COURSE)
    assert "train the level first" in found.value.hint
    with pytest.raises(Conflict, match=r"181 of 200 .*teach nothing"):
        refuse_unfit(Marks(200, 181, 0.5), COURSE)


def test_exams_are_drawn_and_asked_as_evals_are() -> None:
    asked: list[tuple[str, int, object]] = []

    class Noted(SkillInside):
        def generate(
            self, level: int, count: int, seed: int, split: str, styles: Mapping[str, float] | None = None
        ) -> list[Sample]:
            asked.append((split, count, styles))
            return super().generate(level, count, seed, split, styles)

    train, exam = {"brief": 0.5, "trace": 0.5}, {"trace": 1.0}
    lessons = Lessons(Noted("bin"), Course("bin", 2), train, examined=exam)
    assert all("[trace]" in str(item["user_prompt"]) for item in lessons.held_out(40))
    assert len(lessons.training("stream", 210)) == 210
    assert asked == [("eval", 15, exam), ("eval", 15, exam), ("eval", 10, exam), ("train", 200, train), ("train", 10, train)]


def test_lessons_are_train_problems_and_exams_are_not() -> None:
    drawn = [Lessons(SkillInside("bin"), Course("bin", 2, seed=seed)) for seed in (0, 0, 1)]
    first, again, other = [[item["id"] for item in one.training("stream", 450)] for one in drawn]
    assert first == again != other
    asked = drawn[0]
    assert {split_of("bin", 2, item["key"]) for item in asked.training("stream", 450)} == {"train"}
    assert {split_of("bin", 2, item["key"]) for item in asked.held_out(50)} == {"eval"}
    assert [item["id"] for item in asked.training("entrance", 450)] != first
    with pytest.raises(BadInput, match="levels 1 to 30"):
        Lessons(SkillInside("bin"), Course("bin", 31))


def test_an_eval_problem_among_the_lessons_ends_the_school() -> None:
    class Leaky(BinSkill):
        def generate(
            self, level: int, count: int, seed: int, split: str, styles: Mapping[str, float] | None = None
        ) -> list[Sample]:
            return [*super().generate(level, count - 1, seed, "train", styles), *super().generate(level, 1, seed, "eval", styles)]

    with pytest.raises(Corrupt, match="other partition"):
        Lessons(Leaky(), COURSE).training("stream", 10)


def test_the_skill_inside_says_what_its_server_says() -> None:
    inside = SkillInside("bin")
    items = inside.generate(3, 5, 7, "train", {"brief": 1.0})
    assert [grade.correct for grade in inside.grade(items, [item["assistant_response"] for item in items])] == [True] * 5
    assert inside.grade(items[:1], ["no answer"])[0].parts["format_ok"] is False
    assert len(inside.static_items(3)) == 5
    with pytest.raises(Unknown):
        SkillInside("chess")


def test_settings_that_it_does_not_train_with_are_refused(home: Paths) -> None:
    from realm.armory.heroes import active_config

    school.refuse_config(active_config(home).config)
    plain = home.config.read_bytes()
    for told, said in (({"training": {"adapter": {"kind": "lora"}}}, "adapter lora"),
                       ({"engine": "torchrun", "parallel": {"processes": 2}}, "one process"),
                       ({"profile": "regime3"}, "profile regime3")):  # fmt: skip
        home.config.write_bytes(plain)
        configure(home, **told)
        with pytest.raises(BadInput, match=said):
            school.refuse_config(active_config(home).config)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(school, "find_spec", lambda name: None)
    with pytest.raises(Unavailable, match="needs the package trl") as found:
        school.require()
    assert "[schools]" in found.value.hint


def test_the_command_refuses_before_it_loads_anything(home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from realm.cli.arena_school import champion

    os.environ["REALM_HOME"] = str(home.home)

    def said(*args: str) -> BaseException | None:
        return CliRunner().invoke(champion, list(args)).exception

    monkeypatch.setattr("realm.core.daemon.StopFlag.install", lambda self: self)
    assert isinstance(said("chess"), Unknown)
    assert "levels 1 to 30" in str(said("bin", "--level", "31"))
    with single_instance(home, "arena"):
        assert "already runs" in str(said("binary"))


def test_one_checkpoint_follows_the_one_it_began_from(trained: Paths) -> None:
    asked: list[tuple[str, int]] = []
    report = visit(trained, evals=lambda _facts, name, step: asked.append((name, step)))
    assert [ledger.extract_step(name) for name in names(trained)] == [4, 7]
    assert asked == [(report.checkpoint, 7)]
    before, record = (ledger.read_record(trained.current_model / name / ledger.SIDECAR) for name in names(trained))
    assert (record.parent, record.skill_name, record.skill_level) == (before.canonical_name, "bin", 1)
    assert record.training_file == "school: champion, bin level 1, 3 steps of GRPO"
    assert record.by_school
    assert not before.by_school
    assert (record.train_loss, record.quests, record.tokens) == (None, [], before.tokens + 300)
    assert record.trained_tokens == before.trained_tokens + 120
    tensors = digests(trained.current_model / report.checkpoint)
    assert served_between(trained, before.canonical_name, report.checkpoint), "the average follows from the weights served before"
    assert tensors["model.safetensors"] != digests(trained.current_model / before.canonical_name)["model.safetensors"]
    begun, ended = school_events(trained)
    assert (begun["kind"], ended["kind"], ended["subject"], ended["step"]) == (
        "school.started", "school.finished", report.checkpoint, 7)  # fmt: skip
    assert ended["data"]["before"] == {"asked": 20, "right": 10, "reward": pytest.approx(0.6)}
    assert ended["data"]["flat_groups"] == report.flat == 6, "of two groups of two, one is right as a whole and one wrong"
    assert report.groups == 6
    assert kinds(trained).count("checkpoint.saved") == 2


def test_a_battle_goes_on_from_it_bit_for_bit(trained: Paths) -> None:
    arena = enter(trained, no_evals)
    try:
        hold(arena, COURSE, Known(0.5), None, StopFlag(), teach=lessons_of(0.01))
        other = twin(trained)
        for paths in (trained, other):
            put(paths, "b.jsonl", 12, start=50)
        fight(arena, StopFlag(), until_idle=True)
    finally:
        leave(arena)
    again = enter(other, no_evals)
    try:
        assert again.step == 7
        fight(again, StopFlag(), until_idle=True)
    finally:
        leave(again)
    ends = [digests(ledger.folders(paths)[-1]) for paths in (trained, other)]
    assert ends[0] == ends[1]
    assert [ledger.extract_step(name) for name in names(other)] == [4, 7, 10]


def test_the_same_seed_gives_the_same_weights(trained: Paths) -> None:
    other = twin(trained)
    found = [digests(paths.current_model / visit(paths).checkpoint) for paths in (trained, other)]
    assert found[0] == found[1]


def test_its_steps_cannot_be_replayed_but_forked(trained: Paths) -> None:
    first = names(trained)[0]
    report = visit(trained)
    for ask in (lambda: replay(trained, first, 3), lambda: step_rows(trained, 6)):
        with pytest.raises(Unknown, match=r"steps 5 to 7 .*school: champion.* cannot be replayed"):
            ask()
    assert [place.step for place in find_places(trained, 1, 4)] == [1, 2, 3, 4]
    made = fork(trained, report.checkpoint, "branch", trained.home.with_name("branch"))
    assert names(made) == [report.checkpoint]
    put(made, "c.jsonl", 4)
    arena = enter(made, no_evals)
    try:
        fight(arena, StopFlag(), until_idle=True)
        assert arena.step == 8
    finally:
        leave(arena)


def test_the_lineage_names_the_school(trained: Paths) -> None:
    import json

    from click.testing import CliRunner

    from realm.cli.lineage import show

    first = names(trained)[0]
    report = visit(trained)
    os.environ["REALM_HOME"] = str(trained.home)
    said = CliRunner().invoke(show, ["7", "--json"])
    assert json.loads(said.output)["schools"] == [
        {"checkpoint": report.checkpoint, "parent": first, "what": "school: champion, bin level 1, 3 steps of GRPO"}]  # fmt: skip
    assert f"from {first} to {report.checkpoint}" in CliRunner().invoke(show, ["7"]).output


def test_a_stop_or_a_poisoned_gradient_saves_nothing_and_says_why(trained: Paths) -> None:
    stop = StopFlag()
    stop.set()
    with pytest.raises(Stopped, match="before step 1 of 3"):
        visit(trained, stop=stop)
    with pytest.raises(NonFinite, match="gradient norm nan"):
        visit(trained, gradient=float("nan"))
    assert [ledger.extract_step(name) for name in names(trained)] == [4]
    ends = [one["data"]["reason"] for one in school_events(trained) if one["kind"] == "school.finished"]
    assert [reason.split(" ")[0] for reason in ends] == ["stopped", "step"]
    report = visit(trained)
    assert ledger.extract_step(report.checkpoint) == 7


def test_the_entrance_exam_comes_before_anything_is_told(trained: Paths) -> None:
    for share in (0.1, 1.0):
        with pytest.raises(Conflict, match=f"solves {round(20 * share)} of 20"):
            visit(trained, share=share)
    assert school_events(trained) == []
    assert len(names(trained)) == 1


def test_an_answer_ends_at_the_heros_own_token(home: Paths) -> None:
    arena = enter(home, no_evals)
    try:
        end = arena.template.end_id
        model = SimpleNamespace(config=SimpleNamespace(max_position_embeddings=64))
        pupil = school.Pupil(model, arena.template, None, 8)
        ids = arena.template.encode_content("add = 7")
        assert pupil._ended([*ids, end, 5, 6]) == [*ids, end]
        assert pupil._ended(ids) == ids
        assert pupil.text([*ids, end]) == "add = 7"
        with pytest.raises(BadInput, match="no room for 8 more"):
            pupil.prompts(["①" * 80])
    finally:
        leave(arena)


def test_micro_batches_divide_a_step_evenly() -> None:
    assert [school.micro_of(count) for count in (64, 30, 17, 4)] == [16, 15, 1, 4]
