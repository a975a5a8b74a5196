"""Reports as lm-eval writes them: one results file, one file of samples a task (names of lm-eval 0.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from realm.arena.evals.canary import CANARY
from realm.core.clock import parse_stamp

if TYPE_CHECKING:
    from realm.arena.evals.export import Stored

FILTER = "none"


def results(stored: list[Stored]) -> dict[str, Any]:
    """Return the object of a results file."""
    first = stored[0].report
    model, generation = first["model"], first["generation"]
    return {
        "results": {one.task: {"alias": one.task, **_metrics(one)} for one in stored},
        "group_subtasks": {one.task: [] for one in stored},
        "configs": {one.task: _config(one) for one in stored},
        "versions": {one.task: one.report["skill_version"] for one in stored},
        "n-shot": {one.task: 0 for one in stored},
        "higher_is_better": {one.task: dict.fromkeys(one.report["metrics"], True) for one in stored},
        "n-samples": {one.task: {"original": one.report["n"], "effective": one.report["n"]} for one in stored},
        "config": {
            "model": "realm",
            "model_args": f"checkpoint={model['canonical_name']},step={model['checkpoint_step']}",
            "model_sha": model["weights_sha256"],
            "model_dtype": model.get("dtype"),
            "batch_size": generation.get("batch_size"),
            "device": generation.get("device"),
            "gen_kwargs": {"do_sample": not generation["greedy"], "max_gen_toks": generation["max_new_tokens"]},
            "limit": None,
            **dict.fromkeys(("random_seed", "numpy_seed", "torch_seed", "fewshot_seed")),
        },
        "git_hash": first["versions"].get("build"),
        "date": parse_stamp(first["created"]).timestamp(),
        "model_name": model["canonical_name"],
        "chat_template_sha": first["chat_template_sha"],
        "system_instruction_sha": first.get("system_prompt_sha"),
        "task_hashes": {one.task: one.report["prompts_sha256"] for one in stored},
        "canary": CANARY,
    }


def _metrics(one: Stored) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, found in one.report["metrics"].items():
        table[f"{name},{FILTER}"] = found["value"]
        error = found.get("stderr")
        table[f"{name}_stderr,{FILTER}"] = "N/A" if error is None else error
    return table


def _config(one: Stored) -> dict[str, Any]:
    report = one.report
    return {
        "task": one.task,
        "output_type": "generate_until",
        "num_fewshot": 0,
        "metric_list": [{"metric": name, "higher_is_better": True} for name in report["metrics"]],
        "metadata": {"version": report["skill_version"], "eval_id": report["eval_id"], "dataset_sha": report["dataset_sha"]},
    }


def sample_lines(one: Stored) -> list[dict[str, Any]]:
    """Return the samples of a task."""
    return [
        {
            "doc_id": number,
            "doc": {"id": sample["id"], "key": sample["key"], "level": sample["level"], "canary": CANARY},
            "target": sample["target"],
            "arguments": {"gen_args_0": {"arg_0": sample["prompt"]}},
            "resps": [[sample["output"]]],
            "filtered_resps": [sample["output"]],
            "filter": FILTER,
            "metrics": ["strict"],
            "doc_hash": sample["prompt_hash"],
            "prompt_hash": sample["prompt_hash"],
            "target_hash": sample["target_hash"],
            "strict": sample["strict"],
        }
        for number, sample in enumerate(one.samples)
    ]


def files(stored: list[Stored]) -> dict[str, Any]:
    """Return file name -> content."""
    stem = parse_stamp(stored[0].report["created"]).strftime("%Y-%m-%dT%H-%M-%S")
    return {f"results_{stem}.json": results(stored),
            **{f"samples_{one.task}_{stem}.jsonl": sample_lines(one) for one in stored}}  # fmt: skip
