"""How old sparring rows may be: they show what a checkpoint got wrong, and a hero that moved on gets other things wrong."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from realm.arena.quests.quest import Quest, quest_path, sidecar_of
from realm.core.paths import Paths
from realm.guild.mastery import mastered_level

KIND = "sparring"
MAX_AGE_STEPS = 2000


def stale_reason(made: Mapping[str, Any], step: int, mastered: int) -> str | None:
    """Return why rows are too old, None when they may be trained. Pure.

    `made` has `checkpoint_step`, and may have `max_age_steps` (default 2,000) and `mastered`, the level mastered when
    they were made; `step` and `mastered` are the hero's now. Raises KeyError or ValueError for what cannot be told.
    """
    behind, most = step - int(made["checkpoint_step"]), int(made.get("max_age_steps", MAX_AGE_STEPS))
    if behind > most:
        return f"stale: made by step {made['checkpoint_step']}, the hero is {behind} steps further, at most {most} are allowed"
    before = int(made.get("mastered", mastered))
    if mastered > before:
        return f"stale: level {mastered} is mastered now, when the rows were made it was level {before}"
    return None


def stale_quest(paths: Paths, connection: sqlite3.Connection, quest: Quest, step: int) -> str | None:
    """Return why a waiting sparring quest may not be trained, by its sidecar; None for every other quest.

    A dropped file counts when its name says sparring and its sidecar names a checkpoint's step.
    """
    if quest.skill is None or not (quest.kind == KIND or quest.name.startswith("sparring_")):
        return None
    try:
        made = json.loads(sidecar_of(quest_path(paths, quest)).read_text(encoding="utf-8"))["params"]
        if quest.kind != KIND and "checkpoint_step" not in made:
            return None
        return stale_reason(made, step, mastered_level(connection, quest.skill))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"its sidecar does not say which checkpoint made it ({type(error).__name__}: {error})"
