"""The oracle's routes: the pool, strict generation for evals, chat; one error shape, true status codes."""

from __future__ import annotations

import hmac
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Header
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from realm.core.errors import BadInput, RealmError, Refused
from realm.core.hosts import port_of
from realm.core.paths import Paths
from realm.core.web import make_app
from realm.oracle.batching import Sampling
from realm.oracle.openai import openai_routes
from realm.oracle.service import Oracle, Reply, fresh_seed

Step = Annotated[StrictInt, Field(ge=0)]
MAX_PROMPTS, MAX_NEW_TOKENS = 512, 1024


class KeyNeeded(RealmError):
    """The API key is missing or wrong."""

    code, status, exit_code = "no_token", 401, 4


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StepBody(_Body):
    """Which checkpoint: its exact step, 0 for the base hero."""

    step: Step


class GenerateBody(_Body):
    """User messages to answer with one checkpoint."""

    step: Step
    prompts: list[str] = Field(min_length=1, max_length=MAX_PROMPTS)
    max_new_tokens: int = Field(default=64, ge=1, le=MAX_NEW_TOKENS)
    greedy: bool = True
    temperature: float | None = Field(default=None, gt=0, le=5)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = None


class ChatMessage(_Body):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class ChatBody(_Body):
    """A message, or a whole conversation that ends with a user's turn; temperature 0 is greedy."""

    step: Step
    message: str | None = None
    messages: list[ChatMessage] | None = None
    max_new_tokens: int = Field(default=256, ge=1, le=MAX_NEW_TOKENS)
    temperature: float = Field(default=0.0, ge=0, le=5)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int | None = None


def conversation(body: ChatBody) -> list[dict[str, str]]:
    """Return the conversation of a chat request; raises BadInput unless exactly one of its two forms is given."""
    if (body.message is None) == (body.messages is None):
        raise BadInput("give either message or messages", hint='{"message": "…", "step": 0}')
    if body.messages is None:
        return [{"role": "user", "content": body.message or ""}]
    if not body.messages or body.messages[-1].role != "user":
        raise BadInput("messages must end with a user message")
    return [message.model_dump() for message in body.messages]


def sampling_of(body: GenerateBody) -> Sampling:
    """Return how a generate request chooses tokens; raises BadInput for sampling values beside greedy."""
    given = [name for name in ("temperature", "top_p", "seed") if getattr(body, name) is not None]
    if body.greedy:
        if given:
            raise BadInput(f"{', '.join(given)} has no meaning with greedy", hint='send "greedy": false')
        return Sampling()
    seed = fresh_seed() if body.seed is None else body.seed
    return Sampling(body.temperature or 1.0, body.top_p or 1.0, seed)


def _per_second(reply: Reply) -> float | None:
    return round(reply.tokens / reply.seconds, 1) if reply.seconds > 0 else None


def oracle_routes(oracle: Oracle) -> APIRouter:
    """Build the routes of the pool, generation and chat."""
    router = APIRouter(tags=["oracle"])

    @router.get("/models/info")
    def get_info() -> dict[str, Any]:
        """Return what is loaded, which steps could be, and the memory budget."""
        return oracle.info()

    @router.post("/models/load")
    def post_load(body: StepBody) -> dict[str, Any]:
        """Load exactly this step; loading it again changes nothing."""
        return {"success": True, **oracle.pool.load(body.step)}

    @router.post("/models/unload")
    def post_unload(body: StepBody) -> dict[str, Any]:
        """Forget this step."""
        oracle.pool.unload(body.step)
        return {"success": True, "step": body.step}

    @router.post("/generate")
    def post_generate(body: GenerateBody) -> dict[str, Any]:
        """Answer up to 512 user messages with one checkpoint, greedily unless told otherwise."""
        rows = [[{"role": "user", "content": prompt}] for prompt in body.prompts]
        sampling = sampling_of(body)
        reply = oracle.generate(body.step, rows, max_new_tokens=body.max_new_tokens, sampling=sampling)
        answers = [{"text": a.text, "finish_reason": a.finish_reason, "tokens": a.tokens} for a in reply.answers]
        seed = {} if sampling.greedy else {"seed": sampling.seed}
        return {"answers": answers, **reply.facts, "seconds": round(reply.seconds, 4), **seed}

    @router.post("/chat")
    def post_chat(body: ChatBody) -> dict[str, Any]:
        """Answer one conversation; the reply names the model that gave it."""
        seed = fresh_seed() if body.seed is None else body.seed
        sampling = Sampling(body.temperature, body.top_p, seed)
        reply = oracle.generate(body.step, [conversation(body)], max_new_tokens=body.max_new_tokens, sampling=sampling)
        answer = reply.answers[0]
        return {
            "success": True,
            "response": answer.text,
            **reply.facts,
            "tokens": answer.tokens,
            "tokens_per_s": _per_second(reply),
            "finish_reason": answer.finish_reason,
            "seconds": round(reply.seconds, 4),
            "seed": None if sampling.greedy else seed,
        }

    return router


def read_token(paths: Paths) -> str | None:
    """Return the API key: REALM_ORACLE_TOKEN, else run/oracle.token, else None (loopback only).

    Raises Refused when the file can be read by others, BadInput when the key is empty.
    """
    path = paths.run / "oracle.token"
    token = os.environ.get("REALM_ORACLE_TOKEN")
    if token is None and path.is_file():
        if path.stat().st_mode & 0o077:
            raise Refused("run/oracle.token can be read by other users", hint="chmod 600 run/oracle.token")
        token = path.read_text(encoding="utf-8").strip()
    if token is not None and len(token) < 16:
        raise BadInput("the oracle's API key has fewer than 16 characters", hint="use a long random text")
    return token


def build_app(paths: Paths, oracle: Oracle | None = None, *, port: int | None = None) -> FastAPI:
    """Build the oracle's app; torch wakes when it starts. With an API key every route but /health and docs needs it."""
    mind = oracle or Oracle(paths)
    token = read_token(paths)

    def need_key(authorization: Annotated[str, Header()] = "") -> None:
        if token is not None and not hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
            raise KeyNeeded("a bearer token is needed", hint="send Authorization: Bearer TOKEN")

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        mind.start()
        yield
        mind.close()

    routes = APIRouter(dependencies=[Depends(need_key)])
    routes.include_router(oracle_routes(mind))
    routes.include_router(openai_routes(mind))
    served = port_of("inference") if port is None else port
    return make_app("oracle", [routes], port=served, lifespan=lifespan, health=mind.health)
