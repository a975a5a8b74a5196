"""Exports carry the field names of the other programs; every number is the stored report's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from eval_fakes import Home, Oracle, digest_of

from realm.arena.evals.export import Stored, export, read_stored
from realm.core.errors import Corrupt, Unknown


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home", Oracle(0.8))
    made.save(50)
    made.work()
    return made


@pytest.fixture
def stored(home: Home) -> list[Stored]:
    return read_stored(home.paths, home.evals()[0]["checkpoint"])


def written(stored: list[Stored], form: str, folder: Path) -> dict[str, Any]:
    found = {}
    for path in export(stored, form, folder):
        text = path.read_text()
        found[path.name] = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)
    return found


def test_lm_eval(home: Home, stored: list[Stored], tmp_path: Path) -> None:
    row, files = home.evals()[0], written(stored, "lm-eval", tmp_path / "out")
    [results] = [value for name, value in files.items() if name.startswith("results_")]
    assert set(results) >= {"results", "configs", "versions", "n-shot", "n-samples", "higher_is_better", "config", "git_hash",
                            "date", "chat_template_sha", "system_instruction_sha", "task_hashes"}  # fmt: skip
    [(task, metrics)] = results["results"].items()
    assert task == "realm_bin_L1_gate"
    assert metrics["strict,none"] == row["correct"] / 20
    assert metrics["strict_stderr,none"] == pytest.approx((row["correct"] / 20 * (1 - row["correct"] / 20) / 20) ** 0.5)
    assert results["n-samples"] == {task: {"original": 20, "effective": 20}}
    assert results["config"]["model_sha"] == digest_of(50)
    assert {"model", "model_args", "model_dtype", "random_seed", "numpy_seed", "torch_seed", "fewshot_seed", "gen_kwargs",
            "batch_size", "device"} <= set(results["config"])  # fmt: skip
    [samples] = [value for name, value in files.items() if name.startswith(f"samples_{task}_")]
    assert len(samples) == 20
    assert set(samples[0]) >= {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "doc_hash", "prompt_hash",
                               "target_hash", "strict"}  # fmt: skip
    assert sum(sample["strict"] for sample in samples) == row["correct"]
    assert "canary" in samples[0]["doc"]


def test_inspect(home: Home, stored: list[Stored], tmp_path: Path) -> None:
    row, files = home.evals()[0], written(stored, "inspect", tmp_path / "out")
    [log] = files.values()
    assert set(log) >= {"version", "status", "eval", "plan", "results", "stats", "samples"}
    assert (log["version"], log["status"]) == (2, "success")
    assert set(log["eval"]) >= {"task", "task_version", "dataset", "model", "model_args", "config", "revision", "packages"}
    assert set(log["eval"]["dataset"]) >= {"name", "samples", "sample_ids", "shuffled"}
    assert set(log["results"]) >= {"total_samples", "completed_samples", "scores"}
    [strict] = [score for score in log["results"]["scores"] if score["name"] == "strict"]
    assert set(strict) >= {"name", "scorer", "scored_samples", "unscored_samples", "metrics"}
    assert strict["metrics"]["accuracy"]["value"] == row["correct"] / 20
    assert strict["metrics"]["stderr"]["value"] > 0
    assert set(log["samples"][0]) >= {"id", "epoch", "input", "target", "output", "scores", "metadata", "error", "limit"}
    assert sum(sample["scores"]["strict"]["value"] == "C" for sample in log["samples"]) == row["correct"]
    assert "canary" in log["eval"]["metadata"]


def test_every_eval_ever(home: Home, stored: list[Stored], tmp_path: Path) -> None:
    row, files = home.evals()[0], written(stored, "eee", tmp_path / "out")
    [aggregate] = [value for name, value in files.items() if name.endswith(".json")]
    [(samples_name, samples)] = [(name, value) for name, value in files.items() if name.endswith(".jsonl")]
    required = {"schema_version", "evaluation_id", "retrieved_timestamp", "source_metadata", "model_info", "eval_library",
                "evaluation_results"}  # fmt: skip
    allowed = required | {"evaluation_timestamp", "dedupe_identity", "detailed_evaluation_results"}
    assert required <= set(aggregate) <= allowed
    assert aggregate["schema_version"] == "0.2.1"
    assert {"source_type", "source_organization_name", "evaluator_relationship"} <= set(aggregate["source_metadata"])
    assert {"name", "id"} <= set(aggregate["model_info"])
    assert all(isinstance(value, str) for value in aggregate["model_info"]["additional_details"].values())
    for result in aggregate["evaluation_results"]:
        assert {"evaluation_name", "source_data", "metric_config", "score_details"} <= set(result)
        assert {"lower_is_better", "score_type", "min_score", "max_score"} <= set(result["metric_config"])
        assert result["source_data"]["source_type"] == "other"
    strict = aggregate["evaluation_results"][0]
    assert strict["score_details"]["score"] == row["correct"] / 20
    assert set(strict["score_details"]["uncertainty"]) == {"standard_error", "confidence_interval", "num_samples"}
    detailed = aggregate["detailed_evaluation_results"]
    assert (detailed["file_path"], detailed["total_rows"], detailed["format"]) == (samples_name, 20, "jsonl")
    assert detailed["checksum"] == hashlib.sha256((tmp_path / "out" / samples_name).read_bytes()).hexdigest()
    instance = samples[0]
    assert set(instance) == {"schema_version", "evaluation_id", "model_id", "evaluation_name", "sample_id", "sample_hash",
                             "interaction_type", "input", "output", "messages", "answer_attribution", "evaluation", "error",
                             "metadata"}  # fmt: skip
    assert instance["evaluation_id"] == aggregate["evaluation_id"]
    assert instance["model_id"] == aggregate["model_info"]["id"]
    assert (instance["schema_version"], instance["interaction_type"]) == ("instance_level_eval_0.2.1", "single_turn")
    assert set(instance["answer_attribution"][0]) == {"turn_idx", "source", "extracted_value", "extraction_method", "is_terminal"}
    assert sum(one["evaluation"]["is_correct"] for one in samples) == row["correct"]
    assert all(isinstance(value, str) for value in instance["metadata"].values())


def test_every_eval_of_a_checkpoint_is_exported(home: Home, tmp_path: Path) -> None:
    from realm.arena.evals.evaluations import enqueue

    name = home.evals()[0]["checkpoint"]
    enqueue(home.facts, name, 50, "bin", 3, "full")
    home.evaluator.work(home.evals(kind="full")[0]["id"])
    stored = read_stored(home.paths, name)
    assert [one.task for one in stored] == ["realm_bin_L1_gate", "realm_bin_L3_full"]
    assert len(export(stored, "lm-eval", tmp_path / "a")) == 3
    assert len(export(stored, "inspect", tmp_path / "b")) == 2
    assert len(export(stored, "eee", tmp_path / "c")) == 4


def test_what_is_not_there_or_damaged_is_said(home: Home, stored: list[Stored], tmp_path: Path) -> None:
    with pytest.raises(Unknown, match="no eval reports of checkpoint-7"):
        read_stored(home.paths, "checkpoint-7-20260101-0000")
    with pytest.raises(Unknown, match="csv"):
        export(stored, "csv", tmp_path / "out")
    report = home.paths.home / home.evals()[0]["file"]
    report.write_text("{")
    with pytest.raises(Corrupt, match="cannot be read"):
        read_stored(home.paths, home.evals()[0]["checkpoint"])
