"""What the vault's page shows of checkpoints: pages by key, one in detail, what retention says of each, the disk by kind."""

from __future__ import annotations

import base64
import json
import math
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from realm.core import manifest
from realm.core.clock import SYSTEM, Clock
from realm.core.errors import BadInput, Corrupt, RealmError
from realm.core.paths import Paths
from realm.vault import ledger
from realm.vault.keeping import retention, trash
from realm.vault.keeping.care import BY_HAND, last_verified
from realm.vault.keeping.disk_forecast import forecast_view
from realm.vault.keeping.retention import Keep, Plan

Sort = Literal["step", "train_loss", "val_loss", "eval", "size"]
Order = Literal["asc", "desc"]
MAX_KEY = 400
# The same sum as guild.rungs, over finished gate evals; SQLite takes correct and n from the row with the highest level.
_RUNGS = """(SELECT checkpoint, sum(level - 1 + 1.0 * correct / n) AS rungs FROM (
    SELECT checkpoint, skill, max(level) AS level, correct, n FROM evals
    WHERE kind = 'gate' AND state = 'done' AND n > 0 {only} GROUP BY checkpoint, skill) GROUP BY checkpoint)"""
_SORTED: dict[str, str] = {
    "step": "c.step",
    "size": "c.size",
    "train_loss": "json_extract(c.record, '$.train_loss')",
    "val_loss": "json_extract(c.record, '$.val_loss')",
    "eval": "r.rungs",
}


@dataclass(frozen=True)
class Asked:
    """One page as it was asked for; `after` is the `next` of the page before."""

    sort: Sort = "step"
    order: Order = "desc"
    limit: int = 50
    after: str | None = None
    champion: bool = False
    pinned: bool = False


def make_key(asked: Asked, value: float | None, step: int) -> str:
    """Return the key of a row: an opaque text that names sort, order, value and step."""
    return base64.urlsafe_b64encode(json.dumps([asked.sort, asked.order, value, step]).encode()).decode().rstrip("=")


def read_key(asked: Asked) -> tuple[float | None, int] | None:
    """Return value and step of `asked.after`, None for the first page; raises BadInput for a key of another page."""
    if asked.after is None:
        return None
    wrong = BadInput("that key does not belong to this list", hint="ask for the first page, without `after`")
    try:
        padded = asked.after.encode("ascii") + b"=" * (-len(asked.after) % 4)
        found = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, RecursionError) as error:
        raise wrong from error
    if not isinstance(found, list) or len(found) != 4 or found[:2] != [asked.sort, asked.order]:
        raise wrong
    value, step = found[2:]
    numbers = type(step) is int and (value is None or type(value) in (int, float))
    if not numbers or abs(step) >= 2**63 or (value is not None and (not math.isfinite(value) or abs(value) >= 2**63)):
        raise wrong
    return value, step


def page_names(connection: sqlite3.Connection, asked: Asked, champion: str | None) -> list[tuple[str, float | None, int]]:
    """Return (name, value, step) of up to `limit` + 1 rows after the key; missing values come last, then by step.

    A key names a place, so rows that come or go between two pages neither repeat nor hide others.
    """
    key, expression = read_key(asked), _SORTED[asked.sort]
    joined = f"LEFT JOIN {_RUNGS.format(only='')} r ON r.checkpoint = c.name" if asked.sort == "eval" else ""
    where, args = ["c.state = 'present'"], dict[str, Any](limit=asked.limit + 1)
    if asked.pinned:
        where.append("c.pinned = 1")
    if asked.champion:
        where.append("c.name = :champion")
        args["champion"] = champion
    sign = ">" if asked.order == "asc" else "<"
    after = "1"
    if key is not None:
        args["value"], args["step"] = key
        same = f"step {sign} :step"
        beyond = f"value IS NULL OR value {sign} :value OR (value = :value AND {same})"
        after = f"value IS NULL AND {same}" if key[0] is None else beyond
    rows = connection.execute(
        f"SELECT name, value, step FROM (SELECT c.name, c.step, {expression} AS value FROM checkpoints c {joined}"
        f" WHERE {' AND '.join(where)}) WHERE {after}"
        f" ORDER BY value IS NULL, value {asked.order}, step {asked.order} LIMIT :limit",
        args,
    )
    return [(row["name"], row["value"], row["step"]) for row in rows]


class Verdicts:
    """What retention says of every checkpoint, planned anew when the store or the hour asks for it; thread-safe by value."""

    def __init__(self, keep: Callable[[], Keep], clock: Clock = SYSTEM) -> None:
        self._keep, self._clock = keep, clock
        self._made: tuple[Any, Plan, dict[str, str]] | None = None

    def plan(self, connection: sqlite3.Connection) -> tuple[Plan, dict[str, str], Keep]:
        """Return the plan as of now, the protected names with their reasons, and the rules; a dry run."""
        keep, now = self._keep(), self._clock.now()
        protected = retention.protected_names(connection)
        row = connection.execute("SELECT count(*), coalesce(sum(step), 0), coalesce(max(step), 0), coalesce(sum(size), 0)"
                                 " FROM checkpoints WHERE state = 'present'").fetchone()  # fmt: skip
        seen = (tuple(row), tuple(sorted(protected.items())), keep, f"{now:%Y%m%d%H%M}")
        if self._made is None or self._made[0] != seen:
            self._made = (seen, retention.plan(retention.candidates(connection), protected, keep, now), protected)
        return self._made[1], self._made[2], keep

    def of(self, connection: sqlite3.Connection, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return name -> {"kept", "protected", "text"}; without a configuration the text says so."""
        try:
            plan, protected, _ = self.plan(connection)
        except RealmError as error:
            return {name: {"kept": None, "protected": False, "text": error.message} for name in names}
        return {name: {"kept": name in plan.kept, "protected": name in protected,
                       "text": plan.kept.get(name) or plan.dropped.get(name, "")} for name in names}  # fmt: skip


def champion_now(connection: sqlite3.Connection) -> dict[str, Any] | None:
    """Return the champion: checkpoint, step, metric, value, reason, at and whether the player chose it; None without one."""
    row = connection.execute("SELECT * FROM champions ORDER BY seq DESC LIMIT 1").fetchone()
    if row is None:
        return None
    shown = {key: row[key] for key in ("checkpoint", "step", "metric", "value", "reason", "at")}
    return {**shown, "by_hand": row["reason"].startswith(BY_HAND)}


def rows_of(
    connection: sqlite3.Connection, names: Sequence[str], verdicts: Verdicts, champion: str | None
) -> list[dict[str, Any]]:
    """Return what the table shows of checkpoints, in the order of their names here."""
    marks = ",".join("?" * len(names))
    evals: dict[str, list[dict[str, Any]]] = {}
    for row in connection.execute(
        f"SELECT checkpoint, skill, level, kind, n, correct FROM evals WHERE state = 'done' AND n > 0 AND checkpoint IN ({marks})"
        " ORDER BY skill, level DESC, kind",
        names,
    ):
        evals.setdefault(row["checkpoint"], []).append({k: row[k] for k in ("skill", "level", "kind", "n", "correct")})
    rungs = {row["checkpoint"]: row["rungs"] for row in connection.execute(
        "SELECT * FROM " + _RUNGS.format(only=f"AND checkpoint IN ({marks})"), names)}  # fmt: skip
    said = verdicts.of(connection, names)
    found = {row["name"]: row for row in connection.execute(f"SELECT * FROM checkpoints WHERE name IN ({marks})", names)}
    return [_row(found[name], evals.get(name, []), rungs.get(name), said[name], champion) for name in names]


def _row(
    row: sqlite3.Row, evals: list[dict[str, Any]], rungs: float | None, verdict: Any, champion: str | None
) -> dict[str, Any]:
    record = json.loads(row["record"])
    table = {"name": row["name"], "step": row["step"], "state": row["state"], "at": row["created_at"], "size": row["size"],
             "pinned": bool(row["pinned"]), "champion": row["name"] == champion, "evals": evals, "verdict": verdict,
             **{key: record.get(key) for key in ("skill_name", "skill_level", "training_file", "learning_rate")}}  # fmt: skip
    by_school = ledger.by_school(record.get("training_file"), record.get("quests", ()))
    unsmoothed = "a school measures no loss" if by_school else "no step was smoothed before it was saved"
    missing = {"train_loss": unsmoothed, "val_loss": "not measured at its step"}
    for key, why in missing.items():
        table[key] = record.get(key)
        if table[key] is None:
            table[f"{key}_reason"] = why
    table["eval"] = rungs
    if rungs is None:
        table["eval_reason"] = "no gate eval of it has finished"
    return table


def list_page(connection: sqlite3.Connection, asked: Asked, verdicts: Verdicts) -> dict[str, Any]:
    """Return one page: rows, the key of the next one or null, counts and the champion."""
    champion = champion_now(connection)
    name = champion["checkpoint"] if champion else None
    found = page_names(connection, asked, name)
    shown = found[: asked.limit]
    counted = connection.execute("SELECT count(*), coalesce(sum(pinned), 0) FROM checkpoints WHERE state = 'present'").fetchone()
    more = make_key(asked, shown[-1][1], shown[-1][2]) if len(found) > asked.limit else None
    rows = rows_of(connection, [name for name, _, _ in shown], verdicts, name)
    return {"rows": rows, "next": more, "total": counted[0], "pinned": counted[1], "champion": champion}


def details(paths: Paths, connection: sqlite3.Connection, name: str, verdicts: Verdicts) -> dict[str, Any]:
    """Return everything known of one checkpoint, also of a deleted one; raises BadInput for a name, Unknown for another."""
    ledger.extract_step(name)
    record = ledger.indexed(connection, name)
    champion = champion_now(connection)
    [row] = rows_of(connection, [name], verdicts, champion["checkpoint"] if champion else None)
    place = paths.current_model if row["state"] == "present" else paths.trash
    told: dict[str, Any] = {"manifest": None}
    try:
        found = manifest.read_manifest(place / name)
        told["manifest"] = {"weights_sha256": found["weights_sha256"], "files": found["files"]}
        told["folder"] = str((place / name).relative_to(paths.home))
    except Corrupt as damage:
        told["manifest_reason"] = damage.message
    return {**row, **told, "record": record.model_dump(mode="json"), "parents": _parents(connection, name),
            "verified": last_verified(connection, name)}  # fmt: skip


def _parents(connection: sqlite3.Connection, name: str) -> dict[str, Any]:
    """Return how many checkpoints came before in the line of parents, and whether it reaches the base hero."""
    row = connection.execute(
        "WITH RECURSIVE line(parent, depth) AS (SELECT parent, 0 FROM checkpoints WHERE name = ? UNION ALL"
        " SELECT c.parent, depth + 1 FROM checkpoints c JOIN line ON c.name = line.parent WHERE depth < 1000000)"
        " SELECT parent, depth FROM line ORDER BY depth DESC LIMIT 1",
        (name,),
    ).fetchone()
    return {"count": row["depth"], "whole": row["parent"] is None, "lost": row["parent"]}


def plan_view(
    paths: Paths, connection: sqlite3.Connection, verdicts: Verdicts, clock: Clock = SYSTEM
) -> dict[str, Any]:
    """Return what retention would drop now and what that frees, what it protects and why, the disk and its forecast.

    Changes nothing.
    """
    plan, protected, keep = verdicts.plan(connection)
    found = {c.name: c for c in retention.candidates(connection)}
    rows = {name: {"name": name, "step": c.step, "size": c.size} for name, c in found.items()}
    by_step = sorted(rows, key=lambda name: found[name].step)
    used = disk(paths, connection)
    return {
        "keep": asdict(keep),
        "kept": len(plan.kept),
        "kept_because": [{**rows[name], "reason": plan.kept[name]} for name in reversed(by_step) if name in plan.kept],
        "protected": len(protected),
        "protected_because": [{**rows[name], "reason": protected[name]} for name in reversed(by_step) if name in protected],
        "dropped": [{**rows[name], "reason": plan.dropped[name]} for name in by_step if name in plan.dropped],
        "frees": sum(found[name].size for name in plan.dropped),
        "over": plan.over,
        "disk": used,
        "forecast": forecast_view(connection, keep.max_bytes, used["free"], clock.now()),
    }


def disk(paths: Paths, connection: sqlite3.Connection) -> dict[str, int]:
    """Return bytes by kind: checkpoints, quests, evals, trash, free and total of the file system."""
    [saved] = connection.execute("SELECT coalesce(sum(size), 0) FROM checkpoints WHERE state = 'present'").fetchone()
    [quests] = connection.execute("SELECT coalesce(sum(size), 0) FROM quests WHERE kept = 1 AND state <> 'deleted'").fetchone()
    usage = shutil.disk_usage(paths.home)
    evals = sum(file.stat().st_size for file in paths.evals.glob("*/*") if file.is_file())
    waste = sum(stone.size for stone in trash.in_trash(paths))
    return {"checkpoints": saved, "quests": quests, "evals": evals, "trash": waste, "free": usage.free, "total": usage.total}


def trash_view(paths: Paths, now: datetime) -> list[dict[str, Any]]:
    """Return the deleted checkpoints with the seconds until each goes for good."""
    return [{**vars(stone), "left_s": max(0, round((trash.leaves_at(stone) - now).total_seconds()))}
            for stone in trash.in_trash(paths)]  # fmt: skip
