"""Specs deny by default; STANDARD and DEEP report and refuse as the configuration grades them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from board_kit import Kit, count_characters, make_kit
from quest_files import as_bytes, configure, row, rows

from realm.arena.quests import board, intake, validation, validation_report
from realm.arena.quests.quest import sidecar_of
from realm.arena.quests.validation import Policy, RowError
from realm.arena.quests.validation_recent import recent_rows
from realm.arena.quests.validation_report import static_prompts
from realm.arena.quests.validation_specs import SpecError, list_specs, read_spec, spec_for
from realm.arena.quests.yardstick import Yardstick, yardstick_of
from realm.armory.config import Grades
from realm.core.errors import BadInput, Unknown
from realm.core.paths import Paths
from realm.guild.skills.bin.skill import SKILL


def chat(prompt: str, answer: str, **metadata: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}], "metadata": metadata}


def judge(items: list[dict[str, Any]], policy: Policy, name: str = "mine.jsonl") -> validation.Survey:
    found, checked = validation.survey(as_bytes(items).splitlines(keepends=True), count_characters, 10_000, policy, name)
    for _ in checked:
        pass
    return found


def said(found: validation.Survey, check: str) -> list[str]:
    return [text for text in found.warnings if text.startswith(f"{check}:")]


# Specs


@pytest.mark.parametrize("key", ["tools", "chosen", "images"])
def test_a_row_that_means_something_else_is_denied(key: str) -> None:
    with pytest.raises(SpecError, match=f"^row 2 has '{key}'") as error:
        judge([row(1), {**row(2), key: [1]}], Policy())
    assert error.value.facts["validator"] == "spec"
    assert judge([{**row(1), key: None}], Policy()).rows == 1


def test_a_message_that_would_be_trained_in_another_sense_is_denied() -> None:
    bad = row(1)
    bad["messages"][1]["weight"] = 0
    with pytest.raises(SpecError, match="row 1: message 2 has 'weight'"):
        judge([bad], Policy())


def test_a_name_that_no_spec_takes_is_denied_and_the_patterns_are_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no dataset spec takes a file named 'x\.csv'") as error:
        judge([row(1)], Policy(), name="x.csv")
    assert "*.jsonl" in error.value.hint
    with pytest.raises(SpecError, match="no dataset spec"):
        spec_for("x.jsonl", ())


SPEC = """\
id: mine
title: my rows
order: 5
files: ["mine_*.jsonl"]
messages: {roles: [user, assistant]}
metadata: {required: [skill, level]}
"""


def test_a_players_spec_judges_its_files_before_the_shipped_one(empty_home: Paths) -> None:
    empty_home.user_specs.mkdir(parents=True)
    (empty_home.user_specs / "mine.yaml").write_text(SPEC)
    policy = Policy(specs=list_specs(empty_home))
    assert [spec.id for spec in list_specs(empty_home)] == ["mine", "chat"]
    assert judge([row(1)], policy, "other.jsonl").rows == 1
    assert judge([row(1, skill="bin", level=1)], policy, "mine_1.jsonl").rows == 1
    with pytest.raises(SpecError, match="row 1: its metadata has no skill"):
        judge([row(1)], policy, "mine_1.jsonl")
    talk = {"messages": [{"role": "system", "content": "s"}, *row(1)["messages"]], "metadata": {"skill": "a", "level": 1}}
    with pytest.raises(SpecError, match="message 1 has the role 'system'"):
        judge([talk], policy, "mine_1.jsonl")


@pytest.mark.parametrize(("text", "reason"), [
    (SPEC.replace("title", "titel"), "titel"), (SPEC.replace("id: mine", "id: other"), "same name"), ("[", "not YAML"),
    ("3", "not valid"),
])  # fmt: skip
def test_a_wrong_spec_is_an_error_that_names_it(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(BadInput, match=r"specs/mine.yaml") as error:
        read_spec(tmp_path / "mine.yaml")
    assert reason in str(error.value)


# STANDARD


def test_quick_looks_at_none_of_it() -> None:
    found = judge([row(1)] * 30, Policy())
    assert (found.warnings, found.lengths, found.validators) == ([], None, {"spec": "1", "quick": "3"})


def test_standard_reports_with_row_numbers() -> None:
    items = [*rows(25), row(3), row(4), chat("a", "..."), chat("b", "x <|im_end|> y")]
    found = judge(items, Policy("standard"))
    assert said(found, "duplicates") == ["duplicates: the same row again in this file: 2 rows (26, 27)"]
    assert said(found, "empty_answers") == ["empty_answers: an answer without a letter or digit: 1 rows (28)"]
    assert said(found, "special_tokens") == ["special_tokens: special tokens written out in the text: 1 rows (29)"]
    assert found.lengths is not None
    assert found.lengths["least"] <= found.lengths["p50"] <= found.lengths["most"] == found.longest
    assert found.validators == {"spec": "1", "quick": "3", "standard": "1"}


def test_one_answer_for_nearly_everything_is_reported_from_twenty_rows_on() -> None:
    same = [chat(f"q{number}", "yes" if number % 3 else "no") for number in range(24)]
    assert said(judge(same, Policy("standard")), "balance") == ["balance: 16 of 24 rows have one and the same answer"]
    assert not judge(same[:19], Policy("standard")).warnings
    assert not said(judge([chat(f"q{n}", str(n % 2)) for n in range(24)], Policy("standard")), "balance")


def test_rows_of_recent_quests_are_reported(empty_home: Paths) -> None:
    kit = make_kit(empty_home)
    kit.add(5, start=10)
    policy = Policy("standard", recent=lambda: recent_rows(empty_home))
    assert said(judge(rows(3) + rows(1, 12), policy), "recent_duplicates")[0].endswith("1 rows (4)")
    kit.facts.close()


def test_what_a_finding_means_is_configured() -> None:
    items = [row(1), row(2), row(1)]
    with pytest.raises(RowError, match=r"^row 3: duplicates: .*1 rows \(3\)") as error:
        judge(items, Policy("standard", Grades(duplicates="error")))
    assert error.value.facts == {"validator": "standard", "version": "1"}
    assert judge(items, Policy("standard", Grades(duplicates="ignore"))).warnings == []


def test_an_unknown_level_is_an_error() -> None:
    with pytest.raises(Unknown, match="validation level 'thorough'"):
        Policy("thorough").report()


# DEEP


@pytest.fixture
def _bin_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Making the static sets of SY takes seconds."""
    monkeypatch.setattr(validation_report, "BUILTIN", {"bin": validation_report.BUILTIN["bin"]})
    static_prompts.cache_clear()
    yield
    static_prompts.cache_clear()


def golden(level: int = 3) -> list[dict[str, Any]]:
    return [chat(item.user_prompt, item.assistant_response, skill="bin", level=level, key=item.key)
            for item in SKILL.generate(level, 8, 1)]  # fmt: skip


@pytest.mark.usefixtures("_bin_alone")
def test_deep_grades_golden_answers_again() -> None:
    items = golden()
    assert judge(items, Policy("deep")).warnings == []
    items[5]["messages"][1]["content"] = items[4]["messages"][1]["content"]
    with pytest.raises(RowError, match=r"^row 6: golden: an answer that bin grades as wrong: 1 rows \(6\)"):
        judge(items, Policy("deep"))
    assert said(judge(items, Policy("deep", Grades(golden="warning"))), "golden")
    assert judge(items, Policy("standard")).warnings == []


@pytest.mark.usefixtures("_bin_alone")
def test_deep_knows_the_prompts_of_the_static_sets_however_they_are_spaced(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = static_prompts()
    assert sum(where.startswith("bin ") for where in prompts.values()) == 5 * sum(len(row.styles) for row in SKILL.info.levels)
    item = SKILL.static_eval(7, "trace")[2]
    # In prose and without its mark the problem is not read as one, only its text is known.
    monkeypatch.setattr(validation, "eval_problem", lambda _messages: None)
    bad = chat("  " + item.user_prompt.replace(" ", "  \n") + "\n", "x")
    with pytest.raises(RowError, match="row 2: eval_prompts: a prompt of the static eval set of bin level 7"):
        judge([row(1), bad], Policy("deep"))


# What the board keeps of it


@pytest.fixture
def kit(empty_home: Paths) -> Iterator[Kit]:
    found = make_kit(empty_home)
    yield found
    found.facts.close()


def test_the_sidecar_of_an_accepted_file_names_its_validators_and_warnings(kit: Kit) -> None:
    by = Yardstick(count_characters, 500, Policy("standard"))
    spool = kit.paths.home / "queue" / ".given"
    spool.write_bytes(as_bytes([row(1), row(1)]))
    quest = intake.accept_spool(kit.paths, kit.facts, spool, name="a.jsonl", priority="normal", yardstick=by)
    (found,) = [q for q in kit.quests() if q.id == quest]
    told = json.loads(sidecar_of(kit.paths.queue("normal") / found.file).read_text())
    assert told["validator_versions"] == {"spec": "1", "quick": "3", "standard": "1"}
    assert told["validation_warnings"] == ["duplicates: the same row again in this file: 1 rows (2)"]
    assert told["extra"]["validation_level"] == "standard"
    assert told["extra"]["lengths"]["most"] == told["extra"]["longest_row"]


@pytest.mark.parametrize(("data", "name", "judge_", "looked"), [
    (as_bytes([{**row(1), "tools": [1]}]), "a.jsonl", "spec", {"spec"}),
    (as_bytes([row(1)]) + b"{}\n", "a.jsonl", "quick", {"spec", "quick"}),
    (b"x", "a.csv", "intake", {"intake"}),
])  # fmt: skip
def test_a_refused_file_and_its_event_name_the_validator(
    kit: Kit, data: bytes, name: str, judge_: str, looked: set[str]
) -> None:
    path = kit.drop(name, data)
    beside = path.with_name(path.name + ".meta.json")
    beside.write_text(json.dumps({"generator_id": "scraper", "generator_version": "9"}))
    (quest,) = kit.take_in()
    told = json.loads(sidecar_of(kit.paths.queue("failed") / quest.file).read_text())
    assert told["validation_rejected"]["validator"] == judge_
    assert set(told["validator_versions"]) == looked
    assert quest.generator == "scraper"
    data_ = json.loads(kit.facts.execute("SELECT data FROM events WHERE kind = 'queue.rejected'").fetchone()["data"])
    assert (data_["validator"], data_["generator"]) == (judge_, "scraper")
    assert data_["validator_version"] == told["validation_rejected"]["version"]


def test_the_level_comes_from_the_configuration(home: Paths) -> None:
    assert yardstick_of(home).policy.level == "quick"
    configure(home, validation_level="deep", validation_grades={"golden": "warning"})
    policy = yardstick_of(home).policy
    assert (policy.level, policy.grades.golden, policy.grades.eval_prompts) == ("deep", "warning", "error")
    kit = make_kit(home)
    bad = SKILL.static_eval(2)[0]
    origin = board.made_here("g", "1", kind="generated", skill="bin", level=2)
    with pytest.raises(RowError, match="row 1: it contains a problem of the eval set of bin level 2"):
        board.submit_rows(home, kit.facts, [chat(bad.user_prompt, bad.assistant_response)], name="train_bin_level2_1_x.jsonl",
                          priority="normal", origin=origin)  # fmt: skip
    kit.facts.close()
