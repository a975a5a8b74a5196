"""HTTP routes that look into one quest: its masking report, and a row with its trained tokens; nothing is changed."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Any

from fastapi import APIRouter, Query

from realm.arena.quests.quest import get_quest
from realm.arena.quests.quest_view import quest_details
from realm.arena.quests.receipts import receipt_of
from realm.arena.quests.row_view import file_tokens, inbox_file, quest_tokens
from realm.core.ids import check_id
from realm.core.paths import Paths
from realm.core.store import read_facts

Place = Annotated[int, Query(ge=0, le=10_000_000)]


def quest_router(paths: Paths) -> APIRouter:
    """Return the routes below `/api/quests/{id}`."""
    router = APIRouter(prefix="/api/quests", tags=["quests"])

    @router.get("/inbox/tokens")
    def tokens_of_file(name: Annotated[str, Query(min_length=1, max_length=300)], row: Place = 0) -> dict[str, Any]:
        """Show a row of a file that waits in the inbox as the hero would read it."""
        return file_tokens(paths, inbox_file(paths, name), row)

    @router.get("/{quest_id}")
    def details(quest_id: str) -> dict[str, Any]:
        """Show a quest with its origin and what the five masking validators found."""
        with closing(read_facts(paths)) as facts:
            return quest_details(paths, get_quest(facts, check_id(quest_id)))

    @router.get("/{quest_id}/tokens")
    def tokens(quest_id: str, row: Place = 0) -> dict[str, Any]:
        """Show a row of a quest as the hero reads it: tokens, trained ones by both methods, segments; rows count from 0."""
        with closing(read_facts(paths)) as facts:
            quest = get_quest(facts, check_id(quest_id))
        return quest_tokens(paths, quest, row)

    @router.get("/{quest_id}/receipt")
    def receipt(quest_id: str) -> dict[str, Any]:
        """Show what a completed quest brought: tokens, seconds, losses, strain, numbers of the nearest checkpoints."""
        with closing(read_facts(paths)) as facts:
            return receipt_of(facts, get_quest(facts, check_id(quest_id)))

    return router
