"""What a quest brought: measured once when it is completed, and the evals nearest to its beginning and end.

Tokens, seconds and losses are those of its own steps in the loss curve. Validation losses and accuracies are those of the
nearest checkpoints before its first and from its last step on, named with it: other quests may lie between.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

from realm.arena.quests.quest import Quest, from_row
from realm.core.clock import SYSTEM, Clock, stamp
from realm.core.store import transaction
from realm.vault.ledger import Record


def measure(telemetry: sqlite3.Connection, quest: Quest) -> dict[str, Any] | None:
    """Return sums over the recorded steps of a quest, None when there are none.

    `strain` is the mean over the steps of (loss minus the lowest loss of a step of this quest), in nats a trained token.
    """
    row = telemetry.execute(
        "SELECT count(*) AS n, min(step) AS first, max(step) AS last, sum(trained_tokens) AS trained, sum(tokens) AS tokens,"
        " sum(seconds) AS seconds, avg(loss) AS mean, min(loss) AS floor FROM steps WHERE quest = ?",
        (quest.id,),
    ).fetchone()
    if not row["n"]:
        return None
    ends = {
        name: telemetry.execute("SELECT loss FROM steps WHERE step = ?", (row[name],)).fetchone()["loss"]
        for name in ("first", "last")
    }
    return {
        "steps": quest.steps, "steps_measured": row["n"], "first_step": row["first"], "last_step": row["last"],
        "tokens": row["tokens"], "trained_tokens": row["trained"], "seconds": row["seconds"],
        "loss_first": ends["first"], "loss_last": ends["last"], "loss_mean": row["mean"], "loss_floor": row["floor"],
        "strain": row["mean"] - row["floor"],
    }  # fmt: skip


def store_receipts(
    facts: sqlite3.Connection, telemetry: sqlite3.Connection, quests: Iterable[str], clock: Clock = SYSTEM
) -> list[str]:
    """Write the receipts of those quests that are completed and have none; returns their ids."""
    stored = []
    for quest_id in quests:
        row = facts.execute(
            "SELECT * FROM quests WHERE id = ? AND state = 'completed' AND id NOT IN (SELECT quest FROM receipts)", (quest_id,)
        ).fetchone()
        found = measure(telemetry, from_row(row)) if row else None
        if found is not None:
            with transaction(facts):
                facts.execute("INSERT OR IGNORE INTO receipts(quest, at, step, receipt) VALUES (?,?,?,?)",
                              (quest_id, stamp(clock.now()), found["last_step"], json.dumps(found)))  # fmt: skip
            stored.append(quest_id)
    return stored


def receipt_of(facts: sqlite3.Connection, quest: Quest) -> dict[str, Any]:
    """Return a quest's receipt with the nearest checkpoints' numbers; `measured` is null with a reason before it is completed."""
    row = facts.execute("SELECT * FROM receipts WHERE quest = ?", (quest.id,)).fetchone()
    found: dict[str, Any] = {name: getattr(quest, name) for name in ("id", "name", "state", "skill", "level", "rows")}
    if row is None:
        done = quest.state == "completed"
        why = "its steps are not in the loss curve" if done else f"the quest is {quest.state}, not completed"
        return {**found, "measured": None, "measured_reason": why, "val_loss": None, "accuracy": None}
    told = json.loads(row["receipt"])
    return {**found, "at": row["at"], "measured": told, "val_loss": val_losses(facts, told["first_step"], told["last_step"]),
            "accuracy": accuracies(facts, quest, told["first_step"], told["last_step"])}  # fmt: skip


Side = dict[str, Any] | None


def _difference(before: Side, after: Side, same: str, value: str) -> tuple[float | None, str | None]:
    """Return after minus before, or why there is no difference to tell."""
    if before is None or after is None:
        side = "before" if before is None else "after"
        return None, f"no checkpoint {side} it has this number" + ("" if before is None else " yet")
    if before[same] != after[same]:
        return None, f"measured on {before[same]} before and on {after[same]} after it"
    return after[value] - before[value], None


def val_losses(facts: sqlite3.Connection, first: int, last: int) -> dict[str, Any]:
    """Return the validation losses of the nearest checkpoints that have one, and their difference when the set is the same."""
    def at(where: str, step: int) -> dict[str, Any] | None:
        row = facts.execute(
            f"SELECT record FROM checkpoints WHERE step {where} AND json_extract(record, '$.val_loss') IS NOT NULL"
            f" ORDER BY step {'DESC' if '<' in where else 'ASC'} LIMIT 1", (step,)
        ).fetchone()  # fmt: skip
        if row is None:
            return None
        record = Record.model_validate_json(row["record"])
        return {"checkpoint": record.canonical_name, "step": record.step, "loss": record.val_loss, "set": record.val_set}

    before, after = at("< ?", first), at(">= ?", last)
    change, reason = _difference(before, after, "set", "loss")
    return {"before": before, "after": after, "change": change, **({} if reason is None else {"change_reason": reason})}


def accuracies(facts: sqlite3.Connection, quest: Quest, first: int, last: int) -> dict[str, Any] | None:
    """Return gate evals of the quest's skill nearest to its beginning and end; None for a quest without a skill."""
    if quest.skill is None:
        return None

    def at(where: str, step: int) -> dict[str, Any] | None:
        row = facts.execute(
            f"SELECT * FROM evals WHERE skill = ? AND kind = 'gate' AND state = 'done' AND step {where}"
            f" ORDER BY step {'DESC' if '<' in where else 'ASC'}, finished DESC LIMIT 1", (quest.skill, step)
        ).fetchone()  # fmt: skip
        if row is None or not row["n"]:
            return None
        return {"checkpoint": row["checkpoint"], "step": row["step"], "level": row["level"], "correct": row["correct"],
                "n": row["n"], "share": row["correct"] / row["n"], "of": f"level {row['level']}"}  # fmt: skip

    before, after = at("< ?", first), at(">= ?", last)
    change, reason = _difference(before, after, "of", "share")
    return {"before": before, "after": after, "change": change, **({} if reason is None else {"change_reason": reason})}


def receipt_text(found: dict[str, Any]) -> str:
    """Return a receipt as lines for a terminal."""
    lines = [f"{found['id']}  {found['name']}"]
    told = found["measured"]
    if told is None:
        return "\n".join([*lines, f"no receipt: {found['measured_reason']}"])
    lines += [
        f"steps {told['first_step']} to {told['last_step']} ({told['steps_measured']} of {told['steps']} measured),"
        f" {told['tokens']} tokens, {told['trained_tokens']} trained, {told['seconds']:.1f} s",
        f"loss {told['loss_first']:.4f} to {told['loss_last']:.4f}, mean {told['loss_mean']:.4f},"
        f" lowest {told['loss_floor']:.4f}, strain {told['strain']:.4f}",
    ]
    lines.append("validation loss: " + _pair(found["val_loss"], lambda p: f"{p['loss']:.4f} on {p['set']} ({p['checkpoint']})"))
    if found["accuracy"] is not None:
        show = lambda p: f"{p['correct']}/{p['n']} at {p['of']} ({p['checkpoint']})"  # noqa: E731
        lines.append(f"accuracy of {found['skill']}: " + _pair(found["accuracy"], show))
    return "\n".join(lines)


def _pair(found: dict[str, Any], show: Any) -> str:
    sides = [show(found[side]) if found[side] else "none" for side in ("before", "after")]
    change = found.get("change_reason") or f"change {found['change']:+.4f}"
    return f"before {sides[0]}, after {sides[1]}; {change}"
