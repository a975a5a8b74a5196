"""BIN: binary arithmetic in circled digits, thirty levels. `SKILL` is the skill in process."""

from __future__ import annotations

from realm.guild.skills.bin.skill import SKILL, BinSkill

__all__ = ["SKILL", "BinSkill"]
