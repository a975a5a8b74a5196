"""The learning rows of the store made anew from the eval reports and mastery records that lie in the base directory."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from realm.core.durable import write_json
from realm.core.errors import Corrupt
from realm.core.paths import Paths
from realm.core.store import transaction

SCHEMA = "realm.eval/1"
MASTERIES = "masteries"


def mastery_file(paths: Paths, skill: str, level: int) -> Path:
    """Return where the record of a mastered level lies."""
    return paths.evals / MASTERIES / f"{skill}-L{level}.json"


def keep_masteries(paths: Paths, connection: sqlite3.Connection) -> list[str]:
    """Write the record of every mastered level that has none yet, from which `rebuild_learning` restores it."""
    written = []
    for row in connection.execute("SELECT * FROM masteries ORDER BY skill, level").fetchall():
        path = mastery_file(paths, row["skill"], row["level"])
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {**dict(row), "evidence": json.loads(row["evidence"])})
            written.append(path.name)
    return written


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Corrupt(f"{path.name} is not JSON: {error}", hint="remove it to rebuild without it") from error
    return found


def rebuild_learning(paths: Paths, connection: sqlite3.Connection) -> dict[str, int]:
    """Add the evals and masteries that files tell and the tables lack; returns how many files of each there are."""
    reports = [(path, _read(path)) for path in sorted(paths.evals.glob("checkpoint-*/*.json"))]
    reports = [(path, report) for path, report in reports if report.get("schema") == SCHEMA]
    reports.sort(key=lambda pair: (pair[1]["created"], pair[1]["eval_id"]))
    with transaction(connection):
        known = {row["id"] for row in connection.execute("SELECT id FROM evals WHERE state = 'done'")}
        [last] = connection.execute("SELECT coalesce(max(finished), 0) FROM evals").fetchone()
        fresh = [(path, report) for path, report in reports if report["eval_id"] not in known]
        for number, (path, report) in enumerate(fresh, last + 1):
            # One that the table has as not finished yet: its report came first.
            connection.execute("DELETE FROM evals WHERE id = ?", (report["eval_id"],))
            _insert_eval(connection, number, path.relative_to(paths.home).as_posix(), report)
        records = [_read(path) for path in sorted((paths.evals / MASTERIES).glob("*.json"))]
        for record in sorted(records, key=lambda r: (r["skill"], r["level"])):
            connection.execute(
                "INSERT OR IGNORE INTO masteries(skill, level, checkpoint, step, at, evidence) VALUES (?,?,?,?,?,?)",
                (*(record[name] for name in ("skill", "level", "checkpoint", "step", "at")), json.dumps(record["evidence"])),
            )
    return {"evals": len(reports), "masteries": len(records)}


def _insert_eval(connection: sqlite3.Connection, number: int, file: str, report: dict[str, Any]) -> None:
    strict, static = report["metrics"]["strict"], report["metrics"].get("strict_static")
    model = report["model"]
    connection.execute(
        "INSERT OR IGNORE INTO evals(id, checkpoint, step, skill, level, kind, state, n, correct, errors, truncated,"
        " static_correct, static_n, weights_sha256, prompts_sha256, seed, file, queued_at, finished_at, finished)"
        " VALUES (?,?,?,?,?,?,'done',?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (report["eval_id"], model["canonical_name"], model["checkpoint_step"], report["skill"], report["level"], report["kind"],
         report["n"], round(strict["value"] * strict["n"]), report["n_errors"], report["n_truncated"],
         round(static["value"] * static["n"]) if static else None, report["n_static"], model["weights_sha256"],
         report["prompts_sha256"], report["seed"], file, report["created"], report["created"], number),
    )  # fmt: skip
