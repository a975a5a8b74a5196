"""Sentinels: health checks of the whole realm."""

from __future__ import annotations

from realm.sentinels.inspector import Inspector, Patrol, Sentinels

__all__ = ["Inspector", "Patrol", "Sentinels"]
