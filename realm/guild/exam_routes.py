"""HTTP routes of the fixed exam questions of a skill: what is asked, the right answer, and the grade of any other one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from realm.core.errors import unknown_name
from realm.core.ids import check_id
from realm.core.paths import Paths
from realm.guild.skills import get_trainer


class AnswerBody(BaseModel):
    """An answer to the question of this number in the fixed set of a level."""

    model_config = ConfigDict(extra="forbid", strict=True)
    level: int = Field(ge=1, le=100_000)
    question: str = Field(min_length=1, max_length=200)
    answer: str = Field(max_length=64_000)


def exam_router(paths: Paths, style_at: Callable[[int], str]) -> APIRouter:
    """Return the routes below `/api/exams`; `style_at` says in which answer style the hero is examined at a level."""
    router = APIRouter(prefix="/api/exams", tags=["evals"])

    @router.get("/{skill}")
    def questions(skill: str, level: Annotated[int, Query(ge=1, le=100_000)]) -> dict[str, Any]:
        """List the fixed questions of a level as evals ask them, with right answers; no training row contains them."""
        items = get_trainer(check_id(skill), paths).eval(level, style_at(level))
        shown = [{"id": item.id, "prompt": item.user_prompt, "answer": item.assistant_response} for item in items]
        return {"skill": skill, "level": level, "questions": shown}

    @router.post("/{skill}/grade")
    def grade(skill: str, body: AnswerBody) -> dict[str, Any]:
        """Grade an answer to a fixed question as an eval would."""
        trainer = get_trainer(check_id(skill), paths)
        found = {item.id: item for item in trainer.eval(body.level, style_at(body.level))}
        if body.question not in found:
            raise unknown_name("question", body.question, sorted(found))
        told = trainer.grade(found[body.question], body.answer)
        return {name: told.get(name) for name in ("correct", "expected", "parsed", "reason")}

    return router
