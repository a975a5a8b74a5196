"""SY: syllacrostic word puzzles, fifty levels of fading signals. `SKILL` is the skill in process."""

from __future__ import annotations

from realm.guild.skills.sy.skill import SKILL, SySkill

__all__ = ["SKILL", "SySkill"]
