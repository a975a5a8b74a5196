from __future__ import annotations

import json
from pathlib import Path

import pytest

from realm.arena.evals.asking import Answers
from realm.arena.evals.evaluations import Waiting
from realm.arena.evals.report import Graded, Paper, build_report, metric, report_path, sample_lines, write_report
from realm.core.clock import FakeClock
from realm.core.errors import BadInput
from realm.core.paths import Paths
from realm.guild.skill_client import Grade

ASKED = Waiting("01abc", "checkpoint-50-20260101-0000", 50, "bin", 3, "gate", "queued", 0, "")


def item(number: int) -> dict[str, object]:
    return {"id": f"i{number}", "key": f"k{number}", "level": 3, "user_prompt": f"p{number}", "assistant_response": "r",
            "version": "1.0.0"}  # fmt: skip


def graded(keys: tuple[int, ...] = (1, 2, 3, 4)) -> Graded:
    paper = Paper(tuple(item(k) for k in keys), 1, 99, {"brief": 1.0}, 64)
    answers = Answers(("a", "b", "c", "d"), ("stop", "length", "stop", "stop"), "w" * 64, "checkpoint-50", (1, 2, 3, 4),
                      {"engine": "static cache", "nested": {}})  # fmt: skip
    grades = (Grade(True, "r", "r"), Grade(False, "r", None), Grade(True, "r", "r"), Grade(False, "r", "x", error="fault"))
    return Graded(ASKED, paper, answers, grades, 0.5)


def test_report_counts_everything_once() -> None:
    report = build_report(graded(), {"hero": "tiny", "template_hash": "t"}, "tok", FakeClock())
    assert report["schema"] == "realm.eval/1"
    assert [report[name] for name in ("n", "n_static", "n_errors", "n_truncated", "n_unparsed")] == [4, 1, 1, 1, 1]
    strict = report["metrics"]["strict"]
    assert (strict["value"], strict["correct"], strict["n"], strict["stderr"]) == (0.5, 2, 4, 0.25)
    assert strict["ci95"][0] < 0.5 < strict["ci95"][1]
    assert (report["metrics"]["strict_static"]["n"], report["metrics"]["strict_fresh"]["correct"]) == (1, 1)
    assert report["model"] == {"hero": "tiny", "checkpoint_step": 50, "canonical_name": ASKED.checkpoint,
                               "answered_by": "checkpoint-50", "weights_sha256": "w" * 64, "parent": None}  # fmt: skip
    assert (report["chat_template_sha"], report["tokenizer_sha"], report["skill_version"]) == ("t", "tok", "1.0.0")
    assert report["generation"] == {"greedy": True, "max_new_tokens": 64, "engine": "static cache"}
    assert report["tokens_out"] == 10
    json.dumps(report)


def test_the_dataset_hash_ignores_order_and_sees_content() -> None:
    def sha(keys: tuple[int, ...]) -> str:
        return str(build_report(graded(keys), {}, None)["dataset_sha"])

    assert sha((1, 2, 3, 4)) == sha((4, 3, 2, 1)) != sha((1, 2, 3, 5))


def test_prompts_hash_sees_order() -> None:
    assert graded((1, 2, 3, 4)).paper.prompts_sha256 != graded((2, 1, 3, 4)).paper.prompts_sha256


def test_samples_hold_prompt_answer_and_verdict() -> None:
    lines = list(sample_lines(graded()))
    assert [line["static"] for line in lines] == [True, False, False, False]
    assert [line["strict"] for line in lines] == [1, 0, 1, 0]
    assert [line["finish_reason"] for line in lines] == ["stop", "length", "stop", "stop"]
    assert lines[3]["error"] == "fault"
    assert lines[0]["output"] == "a"


def test_files_lie_under_the_checkpoint(tmp_path: Path) -> None:
    paths = Paths(tmp_path).ensure()
    name = write_report(paths, graded(), {"hero": "tiny"})
    assert name == "evals/checkpoint-50-20260101-0000/bin-L3-gate-01abc.json"
    assert json.loads((tmp_path / name).read_text())["eval_id"] == "01abc"
    assert len((tmp_path / name).with_suffix(".jsonl").read_text().splitlines()) == 4


def test_names_that_could_be_paths_are_refused(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    for change in ({"checkpoint": "../x"}, {"skill": "a/b"}, {"id": ".."}):
        with pytest.raises(BadInput, match="not an id"):
            report_path(paths, Waiting(**{**vars_of(ASKED), **change}))


def vars_of(asked: Waiting) -> dict[str, object]:
    return {name: getattr(asked, name) for name in Waiting.__dataclass_fields__}


def test_metric_of_nothing_has_no_value() -> None:
    assert metric(0, 0) == {"value": None, "n": 0, "correct": 0, "stderr": None, "ci95": [0.0, 1.0]}
