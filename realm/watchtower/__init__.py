"""Read-only views: snapshot, scrying pool, champion board, loss curve, away summary, forge readings."""

from realm.watchtower.inputs import SkillCard
from realm.watchtower.tower import Watchtower

__all__ = ["SkillCard", "Watchtower"]
