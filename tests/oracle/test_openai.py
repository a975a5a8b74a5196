from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from starlette.testclient import TestClient

from realm.core.errors import Unavailable
from realm.oracle.openai import _Events, _Feed
from tests.oracle.conftest import PROBLEMS, Home
from tests.oracle.test_server import client_of, error_of

NAME = "checkpoint-100-20261122-1200"


def ask(client: TestClient, **more: Any) -> Any:
    body = {"model": NAME, "messages": [{"role": "user", "content": PROBLEMS[0]}], "max_tokens": 12, **more}
    return client.post("/v1/chat/completions", json=body)


def test_models_are_the_loaded_ones(home: Home) -> None:
    home.add(100)
    with client_of(home) as client:
        assert client.get("/v1/models").json()["data"] == []
        client.post("/models/load", json={"step": 100})
        assert [row["id"] for row in client.get("/v1/models").json()["data"]] == [NAME]


def test_a_completion_equals_chat_and_counts(home: Home) -> None:
    home.add(100)
    with client_of(home) as client:
        assert "not loaded" in error_of(ask(client), 404)
        loaded = client.post("/models/load", json={"step": 100}).json()
        chat = client.post("/chat", json={"step": 100, "message": PROBLEMS[0], "max_new_tokens": 12}).json()
        found = ask(client).json()
        assert found["choices"][0]["message"]["content"] == chat["response"]
        assert found["choices"][0]["finish_reason"] == chat["finish_reason"]
        assert found["model"] == NAME
        assert found["system_fingerprint"] == loaded["weights_sha256"][:16]
        usage = found["usage"]
        assert usage["completion_tokens"] == chat["tokens"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + chat["tokens"]
        parts = [{"type": "text", "text": PROBLEMS[0]}]
        as_parts = ask(client, messages=[{"role": "user", "content": parts}]).json()
        assert as_parts["choices"][0]["message"]["content"] == chat["response"]


@pytest.mark.parametrize("more", [{"n": 2}, {"stop": ["x"]}, {"tools": []}, {"messages": []}, {"max_tokens": 5000}])
def test_what_would_be_ignored_is_refused(home: Home, more: dict[str, Any]) -> None:
    with client_of(home, lambda: None) as client:
        assert ask(client, **more).status_code == 422


def test_a_stream_adds_up_to_the_answer(home: Home) -> None:
    home.add(100)
    with client_of(home) as client:
        client.post("/models/load", json={"step": 100})
        whole = ask(client).json()["choices"][0]
        answer = ask(client, stream=True)
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
        assert lines.pop() == "[DONE]"
        choices = [json.loads(line)["choices"][0] for line in lines]
        assert len(choices) > 3
        assert "".join(choice["delta"].get("content", "") for choice in choices) == whole["message"]["content"]
        assert choices[-1]["finish_reason"] == whole["finish_reason"]


def test_a_stream_refused_before_its_first_text_has_a_true_status(home: Home) -> None:
    def refuse() -> None:
        raise Unavailable("no")

    with client_of(home, refuse) as client:
        client.post("/models/load", json={"step": 0})
        assert "no" in error_of(ask(client, model="tiny", stream=True), 503)


def test_a_failure_of_our_own_ends_a_stream_with_an_error(home: Home) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with client_of(home, fail) as client:
        client.post("/models/load", json={"step": 0})
        assert "ZeroDivisionError" in error_of(ask(client, model="tiny", stream=True), 500)


def test_a_closed_connection_ends_the_generation() -> None:
    ended = threading.Event()

    def run(on_text: Any, cancelled: Any) -> Any:
        text = ""
        while not cancelled():
            text += "a"
            on_text(text)
            ended.wait(0.001)
        ended.set()
        raise Unavailable("the client went away")

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(_message: Any) -> None:
        pass

    events = _Events(_Feed(run), {})
    asyncio.run(events({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send))
    assert ended.wait(10)
