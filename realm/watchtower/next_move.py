"""The one decision that waits for the player, or none: a table of rules, the first that holds is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Blocks = Mapping[str, Any]
Move = dict[str, Any]
UP = frozenset({"up", "ready", "running"})


def next_move(blocks: Blocks) -> Move | None:
    """Return `{"text", "why", "action"}` or None. Pure.

    Actions: `create_hero`, `services`, `resume`, `failed`, `add_quest`; the page turns them into one button.
    """
    for rule in RULES:
        found = rule(blocks)
        if found:
            return found
    return None


def _move(text: str, why: str, action: str) -> Move:
    return {"text": text, "why": why, "action": action}


def _no_hero(blocks: Blocks) -> Move | None:
    if blocks["hero"]["name"] is not None:
        return None
    return _move("No hero has been made yet.", blocks["hero"]["name_reason"], "create_hero")


def _fallen_service(blocks: Blocks) -> Move | None:
    fallen = {name: row for name, row in blocks["services"].items() if row["state"] == "fallen"}
    if not fallen:
        return None
    name, row = next(iter(sorted(fallen.items())))
    more = f" and {len(fallen) - 1} more" if len(fallen) > 1 else ""
    return _move(f"Service {name}{more} keeps falling and is no longer restarted.", row["reason"], "services")


def _battle_error(blocks: Blocks) -> Move | None:
    if blocks["battle"]["state"] != "error":
        return None
    return _move("The battle ended with an error.", blocks["battle"]["state_reason"], "resume")


def _stopped(blocks: Blocks) -> Move | None:
    state = blocks["battle"]["state"]
    if state not in ("stopped", "paused"):
        return None
    return _move(f"The battle is {state}.", blocks["battle"]["state_reason"], "resume")


def _failed(blocks: Blocks) -> Move | None:
    count = blocks["queue"]["failed"]
    if not count:
        return None
    quests = "1 quest has" if count == 1 else f"{count} quests have"
    return _move(f"{quests} failed.", "each failed quest keeps its reason and its file", "failed")


def _empty_board(blocks: Blocks) -> Move | None:
    waiting = sum(blocks["queue"][name] for name in ("high", "normal", "low", "processing"))
    flow = blocks["services"].get("dataflow", {}).get("state")
    if waiting or flow in UP or blocks["battle"]["state"] == "training":
        return None
    why = "the data flow does not run, so nothing fills the board by itself"
    return _move("The quest board is empty.", why, "add_quest")


RULES: tuple[Callable[[Blocks], Move | None], ...] = (
    _no_hero, _fallen_service, _battle_error, _stopped, _failed, _empty_board,
)  # fmt: skip
