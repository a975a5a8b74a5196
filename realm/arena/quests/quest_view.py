"""One quest in full: its row, where it came from, how it was cut, and what the masking validators found."""

from __future__ import annotations

import json
from typing import Any

from realm.arena.quests.board_view import quest_view
from realm.arena.quests.quest import Quest, quest_path, sidecar_of
from realm.core.errors import Corrupt
from realm.core.paths import Paths

ORIGIN = ("generator_id", "generator_version", "generated_at", "validated_at", "validation_warnings", "source")


def sidecar_facts(paths: Paths, quest: Quest) -> dict[str, Any]:
    """Return the sidecar of a quest, empty when it has none; raises Corrupt when it is not JSON."""
    beside = sidecar_of(quest_path(paths, quest))
    try:
        found: dict[str, Any] = json.loads(beside.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Corrupt(f"the sidecar {beside.name} is not JSON: {error}") from error
    return found


def quest_details(paths: Paths, quest: Quest) -> dict[str, Any]:
    """Return a quest with its sidecar's facts; `masking` is null with a reason until it was formed for its battle."""
    told = sidecar_facts(paths, quest)
    view = {**quest_view(quest, None), "kept": quest_path(paths, quest).exists(), "cut": told.get("cut")}
    view["origin"] = {name: told.get(name) for name in ORIGIN}
    view["masking"] = told.get("masking")
    if view["masking"] is None:
        view["masking_reason"] = "the five validators run when the quest is begun" if told else "it has no sidecar"
    return view


def quest_text(found: dict[str, Any]) -> str:
    """Return the same as lines for a terminal."""
    lines = [f"{found['id']}  {found['name']}", f"{found['state']}, {found['rows_done']} of {found['rows']} rows trained"
             f"{', ' + found['reason'] if found['reason'] else ''}"]  # fmt: skip
    lines += [f"{name}: {value}" for name, value in found["origin"].items() if value]
    if found["cut"]:
        lines.append("cut: " + ", ".join(f"{name} {value}" for name, value in found["cut"].items()))
    if found["masking"] is None:
        return "\n".join([*lines, f"masks: {found['masking_reason']}"])
    for check in found["masking"]:
        verdict = "ok" if check["passed"] else ("ABORTS" if check["aborts"] else "remark")
        row = "" if check["row"] is None else f", row {check['row']}"
        lines.append(f"{verdict:7}{check['name']}: {check['found']} ({check['limit']}){row}")
    return "\n".join(lines)
