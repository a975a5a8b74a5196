"""Reports as inspect-ai logs, one JSON log a task (log version 2 of inspect-ai 0.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from realm.arena.evals.canary import CANARY

if TYPE_CHECKING:
    from realm.arena.evals.export import Stored

GRADES = {1: "C", 0: "I"}
STOPS = {"stop": "stop", "length": "max_tokens"}


def log(one: Stored) -> dict[str, Any]:
    """Return one log."""
    report = one.report
    return {
        "version": 2,
        "status": "success",
        "eval": _eval(one),
        "plan": {"name": "plan", "steps": [{"solver": "generate", "params": {}}], "config": _generation(report)},
        "results": {
            "total_samples": report["n"],
            "completed_samples": report["n"] - report["n_errors"],
            "scores": [_score(name, found, report) for name, found in report["metrics"].items()],
        },
        "stats": {"started_at": report["created"], "completed_at": report["created"], "model_usage": _usage(one)},
        "samples": [_sample(one, sample) for sample in one.samples],
    }


def _model(report: dict[str, Any]) -> str:
    return f"realm/{report['model']['canonical_name']}"


def _generation(report: dict[str, Any]) -> dict[str, Any]:
    return {"max_tokens": report["generation"]["max_new_tokens"], "temperature": 0.0}


def _eval(one: Stored) -> dict[str, Any]:
    report = one.report
    ids, name = [sample["id"] for sample in one.samples], f"{report['skill']}-L{report['level']}"
    return {
        "eval_id": report["eval_id"],
        "run_id": report["eval_id"],
        "created": report["created"],
        "task": one.task,
        "task_id": report["eval_id"],
        "task_version": report["skill_version"],
        "task_attribs": {},
        "task_args": {"skill": report["skill"], "level": report["level"], "kind": report["kind"]},
        "dataset": {"name": name, "samples": report["n"], "sample_ids": ids, "shuffled": False},
        "model": _model(report),
        "model_args": {"weights_sha256": report["model"]["weights_sha256"], "step": report["model"]["checkpoint_step"]},
        "config": {"epochs": 1, "limit": None},
        "revision": {"type": "git", "origin": "", "commit": str(report["versions"].get("build") or ""), "dirty": None},
        "packages": {"realm-of-training": report["versions"]["realm"]},
        "metadata": {"dataset_sha": report["dataset_sha"], "prompts_sha256": report["prompts_sha256"], "canary": CANARY},
    }


def _score(name: str, found: dict[str, Any], report: dict[str, Any]) -> dict[str, Any]:
    metrics = {"accuracy": found["value"], "stderr": found.get("stderr")}
    return {
        "name": name,
        "scorer": name,
        "scored_samples": found["n"],
        "unscored_samples": report["n"] - found["n"],
        "params": {},
        "metrics": {key: {"name": key, "value": value, "params": {}} for key, value in metrics.items() if value is not None},
    }


def _usage(one: Stored) -> dict[str, Any]:
    out = one.report.get("tokens_out") or 0
    return {_model(one.report): {"input_tokens": 0, "output_tokens": out, "total_tokens": out}}


def _sample(one: Stored, sample: dict[str, Any]) -> dict[str, Any]:
    model = _model(one.report)
    said = {"role": "assistant", "content": sample["output"], "source": "generate", "model": model}
    stopped = STOPS.get(sample["finish_reason"], "unknown")
    return {
        "id": sample["id"],
        "epoch": 1,
        "input": sample["prompt"],
        "target": sample["target"],
        "messages": [{"role": "user", "content": sample["prompt"], "source": "input"}, said],
        "output": {
            "model": model,
            "choices": [{"message": said, "stop_reason": stopped}],
            "completion": sample["output"],
        },
        "scores": {
            "strict": {
                "value": GRADES[sample["strict"]],
                "answer": sample["parsed"],
                "explanation": sample["reason"],
                "metadata": {"expected": sample["expected"], "partial": sample["partial"]},
            }
        },
        "metadata": {"key": sample["key"], "level": sample["level"], "static": sample["static"]},
        "store": {},
        "error": None if sample["error"] is None else {"message": sample["error"], "traceback": "", "traceback_ansi": ""},
        "limit": {"type": "token", "limit": one.report["generation"]["max_new_tokens"]} if stopped == "max_tokens" else None,
    }


def files(stored: list[Stored]) -> dict[str, Any]:
    """Return file name -> log."""
    return {f"{one.report['created'][:19].replace(':', '-')}_{one.task}_{one.report['eval_id']}.json": log(one) for one in stored}
