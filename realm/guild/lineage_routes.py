"""`GET /api/lineage`: which generator is rejected most, which validator is most aggressive."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from fastapi import APIRouter

from realm.core.paths import Paths
from realm.core.store import read_facts
from realm.guild.lineage import LineageTracker


def lineage_router(paths: Paths) -> APIRouter:
    """Return the route of lineage; sidecars are read once in the life of the app."""
    router, tracker = APIRouter(tags=["lineage"]), LineageTracker(paths)

    @router.get("/api/lineage")
    def lineage() -> dict[str, Any]:
        """Count accepted and refused quests by generator and by validator, and name the extremes."""
        with closing(read_facts(paths)) as facts:
            return tracker.report(facts)

    return router
