"""Stored eval reports in the formats of other programs: lm-eval, inspect-ai and Every Eval Ever."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realm.arena.evals import export_eee as eval_export_eee
from realm.arena.evals import export_inspect as eval_export_inspect
from realm.arena.evals import export_lm_eval as eval_export_lm_eval
from realm.arena.evals.report import SCHEMA
from realm.core.durable import write_bytes
from realm.core.errors import Corrupt, Unknown, unknown_name
from realm.core.ids import check_id
from realm.core.paths import Paths

# format -> function from reports to {file name: JSON value, or a list of values for JSON lines}
FORMATS: dict[str, Callable[[list[Any]], dict[str, Any]]] = {
    "lm-eval": eval_export_lm_eval.files,
    "inspect": eval_export_inspect.files,
    "eee": eval_export_eee.files,
}


@dataclass(frozen=True)
class Stored:
    """One eval as its files have it: the report and its samples."""

    report: dict[str, Any]
    samples: list[dict[str, Any]]

    @property
    def task(self) -> str:
        """Return the task's name: skill, level and kind."""
        return f"realm_{self.report['skill']}_L{self.report['level']}_{self.report['kind']}"


def read_stored(paths: Paths, checkpoint: str) -> list[Stored]:
    """Return every report of a checkpoint, by skill, level and kind; raises Unknown for none, Corrupt for a damaged one."""
    found = []
    for path in sorted((paths.evals / check_id(checkpoint)).glob("*.json")):
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            lines = path.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()
            samples = [json.loads(line) for line in lines]
        except (OSError, ValueError) as error:
            raise Corrupt(f"the report {path.name} cannot be read: {error}") from error
        if not isinstance(report, dict) or report.get("schema") != SCHEMA:
            raise Corrupt(f"the report {path.name} is not {SCHEMA}")
        found.append(Stored(report, samples))
    if not found:
        raise Unknown(f"there are no eval reports of {checkpoint}", hint="realm evals list shows what was evaluated")
    return sorted(found, key=lambda one: (one.report["skill"], one.report["level"], one.report["kind"]))


def export(stored: list[Stored], form: str, folder: Path) -> list[Path]:
    """Write the files of a format into a folder and return them; raises Unknown for another format."""
    if form not in FORMATS:
        raise unknown_name("export format", form, list(FORMATS))
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, value in FORMATS[form](stored).items():
        text = _lines(value) if name.endswith(".jsonl") else _pretty(value)
        write_bytes(folder / name, text.encode())
        written.append(folder / name)
    return written


def _lines(value: list[Any]) -> str:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in value)


def _pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"
