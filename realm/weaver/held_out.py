"""The held-out rows of a skill level: problems of the eval partition that are never trained, only their loss is measured."""

from __future__ import annotations

import json
from collections.abc import Mapping

from realm.core.durable import write_text
from realm.core.paths import Paths
from realm.core.seeds import derive_seed
from realm.guild.skill_client import SkillSource, training_row

ROWS = 128


def ensure_held_out(
    paths: Paths, source: SkillSource, level: int, styles: Mapping[str, float] | None, name: str
) -> bool:
    """Write the file of a level when it is missing; returns whether it was. The static eval problems are left out.

    Raises Unavailable when the skill server does not answer.
    """
    path = paths.validation / name
    if path.exists():
        return False
    static = {str(item["key"]) for item in source.static_items(level)}
    drawn = source.generate(level, ROWS, derive_seed("validation", source.skill, level), "eval", styles)
    rows = {str(item["key"]): training_row(item) for item in drawn if str(item["key"]) not in static}
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows.values()))
    return True
