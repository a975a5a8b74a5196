"""HTTP routes that look into the training: the rows of a loss point, the trials before battle."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from realm.arena.timeline import step_rows
from realm.arena.trial_record import list_trials
from realm.core.paths import Paths


def training_router(paths: Paths) -> APIRouter:
    """Return further routes below `/api/training`."""
    router = APIRouter(prefix="/api/training", tags=["training"])

    @router.get("/rows")
    def rows(step: Annotated[int, Query(ge=1, le=2**53)]) -> dict[str, Any]:
        """Name the rows that an optimiser step was made of, with its loss and the quest."""
        return step_rows(paths, step)

    @router.get("/trial")
    def trial() -> dict[str, Any]:
        """List the trials before battle, the newest first: six checks each, with what was found and what helps."""
        return {"trials": [found.as_json() for found in list_trials(paths)]}

    return router
