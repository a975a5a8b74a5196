"""Short name of `realm.guild.skills`."""

from realm.guild.skills import get_skill, get_trainer, list_skills

__all__ = ["get_skill", "get_trainer", "list_skills"]
