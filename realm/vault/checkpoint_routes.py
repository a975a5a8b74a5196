"""HTTP routes of the checkpoints: pages, details, pin, promote, verify, delete in two phases, export, retention's dry run.

`gate` mounts them on the Tavern's and the vault's port and says how a champion is made; ids are canonical names.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict

from realm.core.clock import SYSTEM, Clock
from realm.core.ids import check_id
from realm.core.paths import Paths
from realm.core.store import open_facts, read_facts
from realm.core.web import NothingBody
from realm.vault import checkpoint_views as views
from realm.vault.checkpoint_views import MAX_KEY, Asked, Order, Sort, Verdicts
from realm.vault.keeper.mending import Bring
from realm.vault.keeper.verifying import verify_and_mend
from realm.vault.keeping import care, trash
from realm.vault.keeping.export import Export
from realm.vault.keeping.retention import Keep
from realm.vault.ledger_index import project

Name = Annotated[str, Path(min_length=1, max_length=128)]


@dataclass(frozen=True)
class Crowning:
    """How the player crowns a checkpoint and gives the crown back to the metric; each in a transaction of its own."""

    promote: Callable[[sqlite3.Connection, str], Any]
    release: Callable[[sqlite3.Connection], Any]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class PinBody(_Body):
    pinned: bool


class DeleteBody(_Body):
    """`confirm` is the step as the player typed it; `current_model` allows the deletion of the one the hero goes on from."""

    confirm: str
    current_model: bool = False


class CrownBody(_Body):
    automatic: Literal[True]


def checkpoint_router(
    paths: Paths, keep: Callable[[], Keep], crowning: Crowning, clock: Clock = SYSTEM, bring: Bring | None = None
) -> APIRouter:
    """Return the routes below `/api/vault`; `keep` reads the retention rules in force, `bring` reaches copies elsewhere."""
    router = APIRouter(prefix="/api/vault", tags=["checkpoints"])
    verdicts = Verdicts(keep, clock)
    _add_views(router, paths, verdicts, clock)
    _add_orders(router, paths, verdicts, crowning, clock, bring)
    return router


def _add_views(router: APIRouter, paths: Paths, verdicts: Verdicts, clock: Clock) -> None:
    @router.get("/checkpoints")
    def checkpoints(
        sort: Sort = "step",
        order: Order = "desc",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        after: Annotated[str | None, Query(max_length=MAX_KEY)] = None,
        champion: bool = False,
        pinned: bool = False,
    ) -> dict[str, Any]:
        """List present checkpoints with losses, evals and what retention says of each; `after` is the `next` of a page."""
        with closing(read_facts(paths)) as facts:
            return views.list_page(facts, Asked(sort, order, limit, after, champion, pinned), verdicts)

    @router.get("/checkpoints/{name}")
    def checkpoint(name: Name) -> dict[str, Any]:
        """Show a checkpoint's record, files, quests, line of parents and the result of its last verification."""
        with closing(read_facts(paths)) as facts:
            return views.details(paths, facts, check_id(name), verdicts)

    @router.get("/checkpoints/{name}/export")
    def export(name: Name) -> StreamingResponse:
        """Stream a .tar of the plain Hugging Face folder; its length is announced, so a cut is noticed."""
        with closing(read_facts(paths)) as facts:
            row = care.present_row(facts, name)
        archive = Export(paths.current_model / row["name"])
        headers = {"Content-Length": str(archive.size), "Content-Disposition": f'attachment; filename="{row["name"]}.tar"'}
        return StreamingResponse(iter(archive), media_type="application/x-tar", headers=headers)

    @router.get("/plan")
    def plan() -> dict[str, Any]:
        """Say what retention would drop now and why the others stay, the disk by kind and when it is full; a dry run."""
        with closing(read_facts(paths)) as facts:
            return views.plan_view(paths, facts, verdicts, clock)

    @router.get("/trash")
    def in_trash() -> dict[str, Any]:
        """List deleted checkpoints that can still be brought back."""
        return {"rows": views.trash_view(paths, clock.now())}


def _add_orders(
    router: APIRouter, paths: Paths, verdicts: Verdicts, crowning: Crowning, clock: Clock, bring: Bring | None
) -> None:
    def ordered(name: str, act: Callable[[sqlite3.Connection, str], Any]) -> dict[str, Any]:
        """Do one thing to a checkpoint and return how it stands afterwards."""
        with closing(open_facts(paths)) as facts:
            act(facts, check_id(name))
            project(paths, facts, force=True)
            return views.details(paths, facts, name, verdicts)

    @router.post("/checkpoints/{name}/pin")
    def pin(name: Name, body: PinBody) -> dict[str, Any]:
        """Pin a checkpoint, so that retention never drops it, or release it."""
        return ordered(name, lambda facts, i: care.set_pinned(facts, i, body.pinned, clock))

    @router.post("/checkpoints/{name}/promote")
    def promote(name: Name, _: NothingBody) -> dict[str, Any]:
        """Make a checkpoint the champion by hand; it keeps the crown until `/api/vault/champion` gives it back."""
        return ordered(name, crowning.promote)

    @router.post("/champion")
    def champion(_: CrownBody) -> dict[str, Any]:
        """Give the crown back to the metric: the best checkpoint gets it now, better ones later."""
        with closing(open_facts(paths)) as facts:
            crowning.release(facts)
            project(paths, facts, force=True)
            return {"champion": views.champion_now(facts)}

    @router.post("/checkpoints/{name}/verify")
    def verify(name: Name, _: NothingBody) -> dict[str, Any]:
        """Read every byte of a checkpoint and mend it from a good copy; `verified` says what was found, healed and lost."""
        return ordered(name, lambda facts, i: verify_and_mend(paths, facts, i, bring, clock))

    @router.post("/checkpoints/{name}/delete")
    def delete(name: Name, body: DeleteBody) -> dict[str, Any]:
        """Move a checkpoint to the trash; refused for the champion, pinned ones, ones that await an eval, and the newest,
        which the hero goes on from, without `current_model`."""
        current = body.current_model
        return ordered(name, lambda facts, i: trash.delete(paths, facts, i, body.confirm, clock, current_model=current))

    @router.post("/checkpoints/{name}/undelete")
    def undelete(name: Name, _: NothingBody) -> dict[str, Any]:
        """Bring a deleted checkpoint back as it was."""
        return ordered(name, lambda facts, i: trash.undelete(paths, facts, i, clock))
