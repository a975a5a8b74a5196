"""HTTP routes of the estimate of memory and time."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from realm.armory.estimate_view import Ask, view
from realm.core.paths import Paths


def estimate_router(paths: Paths) -> APIRouter:
    """Return the routes of `/api/estimate`."""
    router = APIRouter(prefix="/api/estimate", tags=["settings"])

    @router.get("")
    def configured() -> dict[str, Any]:
        """Estimate memory and time of a step as configured: terms in bytes, GPUs, the last measured peak beside."""
        return view(paths, Ask())

    @router.post("")
    def changed(body: Ask) -> dict[str, Any]:
        """Estimate the same with some fields changed; writes nothing."""
        return view(paths, body)

    return router
