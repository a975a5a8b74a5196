"""The OpenAI-compatible part: `/v1/models` and `/v1/chat/completions`, so that usual clients can talk to a checkpoint.

Source of the shapes: OpenAI API reference, Chat Completions. The model name is the checkpoint's canonical name and must
be loaded; parameters that would be ignored are refused instead.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Literal

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Receive, Scope, Send

from realm.core.clock import SYSTEM, parse_stamp
from realm.core.errors import BadInput, RealmError, error_body
from realm.core.ids import new_ulid
from realm.core.logs import get_logger
from realm.oracle.batching import Answer, Sampling
from realm.oracle.service import Oracle, fresh_seed

log = get_logger("oracle")

MAX_TOKENS = 1024


class TextPart(BaseModel):
    """A part of a message's content; only text is understood."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["text"]
    text: str


class OpenAIMessage(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="forbid")
    role: Literal["system", "user", "assistant"]
    content: str | list[TextPart]

    def turn(self) -> dict[str, str]:
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": self.role, "content": text}


class CompletionBody(BaseModel):
    """A chat completion request; unlike OpenAI's the default temperature is 0."""

    model_config = ConfigDict(extra="forbid")
    model: str
    messages: list[OpenAIMessage] = Field(min_length=1, max_length=256)
    max_tokens: int | None = Field(default=None, ge=1, le=MAX_TOKENS)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=MAX_TOKENS)
    temperature: float = Field(default=0.0, ge=0, le=5)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int | None = None
    stream: bool = False
    n: Literal[1] = 1
    user: str | None = None

    @property
    def limit(self) -> int:
        return self.max_completion_tokens or self.max_tokens or 256


def openai_routes(oracle: Oracle) -> APIRouter:
    """Build the two routes."""
    router = APIRouter(prefix="/v1", tags=["openai"])

    @router.get("/models")
    def get_models() -> dict[str, Any]:
        """List the loaded checkpoints as models."""
        rows = [
            {
                "id": entry["model"],
                "object": "model",
                "created": int(parse_stamp(entry["loaded_at"]).timestamp()),
                "owned_by": entry["hero"],
            }
            for entry in oracle.pool.describe()
        ]
        return {"object": "list", "data": rows}

    @router.post("/chat/completions", response_model=None)
    def post_completion(body: CompletionBody) -> Response | dict[str, Any]:
        """Answer a conversation with the named checkpoint; 404 when it is not loaded."""
        step = oracle.pool.by_name(body.model)
        if body.messages[-1].role != "user":
            raise BadInput("messages must end with a user message")
        sampling = Sampling(body.temperature, body.top_p, fresh_seed() if body.seed is None else body.seed)
        rows = [[message.turn() for message in body.messages]]
        head = {"id": f"chatcmpl-{new_ulid()}", "created": int(SYSTEM.now().timestamp())}

        def run(on_text: Callable[[str], None] | None, cancelled: Callable[[], bool]) -> tuple[Answer, dict[str, Any]]:
            reply = oracle.generate(
                step, rows, max_new_tokens=body.limit, sampling=sampling, on_text=on_text, cancelled=cancelled
            )
            facts = {**head, "model": reply.facts["model"], "system_fingerprint": reply.facts["weights_sha256"][:16]}
            return reply.answers[0], facts

        if body.stream:
            return _Events(_Feed(run), {**head, "model": body.model})
        answer, facts = run(None, lambda: False)
        message = {"role": "assistant", "content": answer.text}
        choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
        usage = {
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.tokens,
            "total_tokens": answer.prompt_tokens + answer.tokens,
        }
        return {**facts, "object": "chat.completion", "choices": [choice], "usage": usage}

    return router


Run = Callable[[Callable[[str], None] | None, Callable[[], bool]], tuple[Answer, dict[str, Any]]]
Item = str | Answer | RealmError


class _Feed:
    """A generation in a thread of its own, read as texts that grow and then one answer or error."""

    def __init__(self, run: Run) -> None:
        self._found: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self.gone = threading.Event()
        threading.Thread(target=self._work, args=(run,), name="oracle-stream", daemon=True).start()
        # Waiting for the first text lets a refusal keep its true status.
        self._first: Item | None = self.next()
        if isinstance(self._first, RealmError):
            raise self._first

    def _work(self, run: Run) -> None:
        try:
            self._found.put(run(self._found.put, self.gone.is_set)[0])
        except RealmError as error:
            self._found.put(error)
        except Exception as error:
            log.exception("streaming failed")
            self._found.put(RealmError(f"{type(error).__name__} while answering", hint="see logs/ for the trace"))

    def next(self) -> Item:
        return self._found.get()

    def items(self) -> Iterator[Item]:
        """Yield what was found, the answer or error last."""
        item = self._first or self.next()
        while isinstance(item, str):
            yield item
            item = self.next()
        yield item


class _Events(StreamingResponse):
    """Server-sent events of a feed; a closed connection ends the generation at its next token."""

    def __init__(self, feed: _Feed, head: dict[str, Any]) -> None:
        super().__init__(_stream(feed, head), media_type="text/event-stream")
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._feed.gone.set()


def _stream(feed: _Feed, head: dict[str, Any]) -> Iterator[str]:
    sent = ""
    yield _chunk(head, {"role": "assistant", "content": ""}, None)
    for item in feed.items():
        if isinstance(item, RealmError):
            yield f"data: {json.dumps(error_body(item))}\n\n"
            return
        # A character of several bytes shows as U+FFFD until its last token is there.
        text = item.text if isinstance(item, Answer) else item.rstrip("\ufffd")
        if text.startswith(sent) and text != sent:
            yield _chunk(head, {"content": text[len(sent) :]}, None)
            sent = text
        if isinstance(item, Answer):
            yield _chunk(head, {}, item.finish_reason)
            yield "data: [DONE]\n\n"


def _chunk(head: dict[str, Any], delta: dict[str, str], finish: str | None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps({**head, 'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n"
