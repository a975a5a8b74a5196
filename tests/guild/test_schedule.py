from __future__ import annotations

from pathlib import Path

import pytest

from realm.core.errors import BadInput, Unknown
from realm.core.paths import Paths
from realm.guild.schedule import (
    PRESETS,
    SkillPlan,
    apply_preset,
    check_skills,
    load_schedule,
    parse_schedule,
    save_schedule,
)

BOTH = ("bin", "sy")


def test_shipped_schedule_is_valid(tmp_path: Path) -> None:
    schedule = load_schedule(Paths(tmp_path).ensure())
    assert schedule.strategy == "adaptive"
    assert schedule.enabled()["bin"].priority == 1
    assert schedule.board.low == 1


def test_the_players_copy_wins(tmp_path: Path) -> None:
    paths = Paths(tmp_path).ensure()
    paths.schedule.write_text("strategy: catch_up\nskills: {bin: {}}\nboard: {low: 5}\n")
    assert (load_schedule(paths).strategy, load_schedule(paths).board.low) == ("catch_up", 5)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("strategy: fastest\nskills: {bin: {}}", "strategy"),
        ("skills: {bin: {wait: 1}}", "skills.bin.wait"),
        ("skills: {bin: {}}\nboards: {}", "boards"),
        ("skills: {bin: {weight: 0}}", "skills.bin.weight"),
        ("skills: {bin: {}}\ngate: {probe_evry: 3}", "gate.probe_evry"),
        ("- bin", "not a table"),
        ("skills: [", "not YAML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, told: str) -> None:
    paths = Paths(tmp_path).ensure()
    paths.schedule.write_text(text)
    with pytest.raises(BadInput, match=told):
        load_schedule(paths)


def test_saved_schedule_reads_back(tmp_path: Path) -> None:
    paths = Paths(tmp_path).ensure()
    table = {"strategy": "weighted", "skills": {"bin": {"weight": 2.5}}, "gate": {"probe_every": 3}, "board": {"max_rows": 9},
             "sparring": {"balance": "seed_only", "max_age_steps": 5}}
    schedule = parse_schedule(table, "test")
    save_schedule(paths, schedule)
    assert load_schedule(paths) == schedule


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_applies_to_the_two_skills(name: str) -> None:
    schedule = apply_preset(parse_schedule({"skills": {"bin": {}}}, "test"), name, BOTH)
    assert schedule.strategy == PRESETS[name].strategy
    assert set(schedule.skills) == set(BOTH)
    assert list(schedule.enabled()) == {"bin_only": ["bin"], "sy_only": ["sy"]}.get(name, ["bin", "sy"])


def test_there_are_eight_presets_with_their_weights() -> None:
    assert len(PRESETS) == 8
    base = parse_schedule({"skills": {"bin": {}}}, "test")
    assert [plan.weight for plan in apply_preset(base, "bin_heavy", BOTH).enabled().values()] == [2.0, 1.0]
    assert [plan.weight for plan in apply_preset(base, "sy_heavy", BOTH).enabled().values()] == [1.0, 2.0]
    focus = apply_preset(base, "sy_focus", BOTH).enabled()
    assert focus["sy"].priority > focus["bin"].priority


def test_unknown_names_are_errors() -> None:
    schedule = parse_schedule({"skills": {"bin": {}, "go": {}}}, "test")
    with pytest.raises(Unknown, match="'go'"):
        check_skills(schedule, BOTH)
    with pytest.raises(Unknown, match="preset 'fast'"):
        apply_preset(schedule, "fast", BOTH)
    with pytest.raises(Unknown, match="'sy'"):
        apply_preset(schedule, "sy_only", ["bin"])
    off = parse_schedule({"skills": {"bin": {"enabled": False}}}, "test")
    with pytest.raises(BadInput, match="no skill"):
        check_skills(off, BOTH)
    assert SkillPlan().enabled
