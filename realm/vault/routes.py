"""HTTP routes of the ledger, served on the vault's port."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Any

from fastapi import APIRouter, Query

from realm.core.errors import Unknown
from realm.core.paths import Paths
from realm.core.store import read_facts
from realm.vault.ledger import Ledger, Record


def ledger_router(paths: Paths) -> APIRouter:
    """Return the routes below `/api/ledger`."""
    router = APIRouter(prefix="/api/ledger", tags=["ledger"])

    @router.get("")
    def list_all(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, Any]:
        """List checkpoints with what was true when they were saved, newest first."""
        with closing(read_facts(paths)) as facts:
            ledger = Ledger(facts)
            return {"checkpoints": ledger.list_all(limit), "summary": ledger.summary()}

    @router.get("/summary")
    def summary() -> dict[str, Any]:
        """Return counts, sizes and the best step of every metric."""
        with closing(read_facts(paths)) as facts:
            return Ledger(facts).summary()

    @router.get("/latest")
    def latest() -> Record:
        """Return the newest checkpoint."""
        with closing(read_facts(paths)) as facts:
            return _found(Ledger(facts).get_latest(), "no checkpoint was saved yet")

    @router.get("/best")
    def best(metric: str = "train_loss") -> Record:
        """Return the best checkpoint by a recorded metric."""
        with closing(read_facts(paths)) as facts:
            return _found(Ledger(facts).get_best(metric), f"no checkpoint has a {metric}")

    @router.get("/{step}")
    def by_step(step: int) -> Record:
        """Return the checkpoint of exactly this step."""
        with closing(read_facts(paths)) as facts:
            return Ledger(facts).get(step)

    return router


def _found(record: Record | None, why_not: str) -> Record:
    if record is None:
        raise Unknown(why_not)
    return record
