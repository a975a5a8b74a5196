"""Reports in the schema of Every Eval Ever 0.2.1: one aggregate file and one file of samples an eval.

Field names: eval.schema.json and instance_level_eval.schema.json of github.com/evaleval/every_eval_ever.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from realm.arena.evals.canary import CANARY
from realm.core.clock import parse_stamp

if TYPE_CHECKING:
    from realm.arena.evals.export import Stored

VERSION, INSTANCE_VERSION = "0.2.1", "instance_level_eval_0.2.1"


def model_id(report: dict[str, Any]) -> str:
    """Return developer/name, the form that the schema asks for."""
    return f"realm/{report['model'].get('hero') or 'hero'}-{report['model']['canonical_name']}"


def evaluation_id(one: Stored) -> str:
    return f"{one.task}/{model_id(one.report)}/{_epoch(one.report)}"


def _epoch(report: dict[str, Any]) -> str:
    return f"{parse_stamp(report['created']).timestamp():.3f}"


def _texts(**facts: Any) -> dict[str, str]:
    """Return details as the schema wants them: all values are texts, unknown ones are left out."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items() if value is not None}


def aggregate(one: Stored, samples_file: str, checksum: str) -> dict[str, Any]:
    """Return the aggregate object of one eval."""
    report, model = one.report, one.report["model"]
    return {
        "schema_version": VERSION,
        "evaluation_id": evaluation_id(one),
        "evaluation_timestamp": _epoch(report),
        "retrieved_timestamp": _epoch(report),
        "source_metadata": {
            "source_name": "Realm of Training",
            "source_type": "evaluation_run",
            "source_organization_name": "Realm of Training",
            "evaluator_relationship": "first_party",
            "additional_details": _texts(canary=CANARY),
        },
        "eval_library": {"name": "realm", "version": report["versions"]["realm"]},
        "model_info": {
            "name": model["canonical_name"],
            "id": model_id(report),
            "developer": "realm",
            "inference_engine": {"name": "realm-oracle", "version": report["versions"]["realm"]},
            "additional_details": _texts(weights_sha256=model["weights_sha256"], checkpoint_step=model["checkpoint_step"],
                                         parent=model.get("parent"), tokenizer_sha=report["tokenizer_sha"],
                                         chat_template_sha=report["chat_template_sha"]),
        },
        "evaluation_results": [_result(one, name, found) for name, found in report["metrics"].items()],
        "detailed_evaluation_results": {
            "format": "jsonl",
            "file_path": samples_file,
            "hash_algorithm": "sha256",
            "checksum": checksum,
            "total_rows": len(one.samples),
        },
    }  # fmt: skip


def _result(one: Stored, name: str, found: dict[str, Any]) -> dict[str, Any]:
    report = one.report
    score: dict[str, Any] = {"score": found["value"], "details": _texts(correct=found.get("correct"), n=found["n"])}
    if found.get("stderr") is not None:
        low, high = found["ci95"]
        score["uncertainty"] = {
            "standard_error": {"value": found["stderr"], "method": "analytic"},
            "confidence_interval": {"lower": low, "upper": high, "confidence_level": 0.95, "method": "wilson"},
            "num_samples": found["n"],
        }
    return {
        "evaluation_name": f"{one.task}/{name}",
        "source_data": {
            "dataset_name": f"{report['skill']}-L{report['level']}",
            "source_type": "other",
            "additional_details": _texts(dataset_sha=report["dataset_sha"], skill_version=report["skill_version"],
                                         split=report["split"], seed=report["seed"]),
        },
        "evaluation_timestamp": _epoch(report),
        "metric_config": {
            "evaluation_description": f"{report['skill']} level {report['level']}, {report['kind']} eval: {name}",
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": 0,
            "max_score": 1,
        },
        "score_details": score,
        "generation_config": {
            "generation_args": {"temperature": 0, "max_tokens": report["generation"]["max_new_tokens"]},
            "additional_details": _texts(greedy=report["generation"]["greedy"]),
        },
    }  # fmt: skip


def instances(one: Stored) -> list[dict[str, Any]]:
    """Return one object per sample."""
    return [
        {
            "schema_version": INSTANCE_VERSION,
            "evaluation_id": evaluation_id(one),
            "model_id": model_id(one.report),
            "evaluation_name": f"{one.task}/strict",
            "sample_id": sample["id"],
            "sample_hash": hashlib.sha256((sample["prompt"] + sample["target"]).encode()).hexdigest(),
            "interaction_type": "single_turn",
            "input": {"raw": sample["prompt"], "reference": [sample["target"]]},
            "output": {"raw": [sample["output"]]},
            "messages": None,
            "answer_attribution": [
                {"turn_idx": 0, "source": "output.raw", "extracted_value": sample["parsed"] or "",
                 "extraction_method": "custom", "is_terminal": True}
            ],
            "evaluation": {"score": float(sample["strict"]), "is_correct": bool(sample["strict"])},
            "error": sample["error"],
            "metadata": _texts(key=sample["key"], level=sample["level"], static=sample["static"],
                               finish_reason=sample["finish_reason"], canary=CANARY),
        }
        for sample in one.samples
    ]  # fmt: skip


def files(stored: list[Stored]) -> dict[str, Any]:
    """Return file name -> content."""
    made: dict[str, Any] = {}
    for one in stored:
        stem = f"{one.task}_{one.report['eval_id']}"
        lines = instances(one)
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        made[f"{stem}.json"] = aggregate(one, f"{stem}.jsonl", hashlib.sha256(text.encode()).hexdigest())
        made[f"{stem}.jsonl"] = lines
    return made
