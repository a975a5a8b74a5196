"""Skills: what can be learnt, as data (`configs/skills/*.yaml`) and servers that pose and grade problems."""

from __future__ import annotations

from realm.guild.skills.loader import get_skill, get_trainer, list_skills, resolve_alias

__all__ = ["get_skill", "get_trainer", "list_skills", "resolve_alias"]
