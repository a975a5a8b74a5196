from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from realm.arena.evals.asking import OracleAsk, oracle_key, read_answers
from realm.core.errors import Conflict, Corrupt, RealmError, Unavailable
from realm.core.paths import Paths

GOOD = {
    "answers": [{"text": "a", "finish_reason": "stop", "tokens": 1}, {"text": "b", "finish_reason": "length", "tokens": 9}],
    "step": 50,
    "model": "checkpoint-50",
    "weights_sha256": "ab" * 32,
    "engine": "static cache",
}


def ask_with(handler: Callable[[httpx.Request], httpx.Response], key: str | None = None) -> OracleAsk:
    return OracleAsk("http://oracle", httpx.Client(transport=httpx.MockTransport(handler)), key)


def test_it_loads_the_step_then_generates() -> None:
    seen: list[tuple[str, Any, str | None]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.path, json.loads(request.content), request.headers.get("authorization")))
        return httpx.Response(200, json=GOOD if request.url.path == "/generate" else {"success": True})

    answers = ask_with(handler, "secret-key-of-the-oracle")(50, ["p", "q"], 64)
    assert seen == [
        ("/models/load", {"step": 50}, "Bearer secret-key-of-the-oracle"),
        ("/generate", {"step": 50, "prompts": ["p", "q"], "max_new_tokens": 64}, "Bearer secret-key-of-the-oracle"),
    ]
    assert (answers.texts, answers.finish_reasons, answers.tokens) == (("a", "b"), ("stop", "length"), (1, 9))
    assert answers.weights_sha256 == "ab" * 32
    assert answers.generation == {"engine": "static cache"}


def raises_timeout(_request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("slow")


def answers_too_much(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, content=b" " * (17 * 1024 * 1024))


@pytest.mark.parametrize(
    ("handler", "error", "told"),
    [
        (raises_timeout, Unavailable, "ReadTimeout"),
        (lambda _r: httpx.Response(503, text="starting"), Unavailable, "503"),
        (lambda _r: httpx.Response(404, text="no step 50"), Conflict, "no step 50"),
        (lambda _r: httpx.Response(307, headers={"location": "http://elsewhere"}), Conflict, "307"),
        (lambda _r: httpx.Response(200, text="<html>"), Corrupt, "no JSON"),
        (answers_too_much, Corrupt, "more than"),
    ],
)
def test_a_misbehaving_server_is_an_error(handler: Any, error: type[RealmError], told: str) -> None:
    with pytest.raises(error, match=told):
        ask_with(handler)(50, ["p"], 8)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"answers": GOOD["answers"][:1]}, "1 answers to 2"),
        ({"answers": None}, "no list"),
        ({"step": 49}, "step 49"),
        ({"step": "50"}, "step '50'"),
        ({"weights_sha256": None}, "which weights"),
        ({"answers": [{"text": None}, {}]}, "no text"),
        ({"answers": [{"text": "a"}, {"text": "b"}]}, "why it ended"),
    ],
)
def test_half_an_answer_is_an_error(change: dict[str, Any], told: str) -> None:
    with pytest.raises(Corrupt, match=told):
        read_answers({**GOOD, **change}, 50, 2)
    assert read_answers(GOOD, 50, 2).model == "checkpoint-50"


def test_the_key_is_read_where_the_oracle_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = Paths(tmp_path).ensure()
    monkeypatch.delenv("REALM_ORACLE_TOKEN", raising=False)
    assert oracle_key(paths) is None
    (paths.run / "oracle.token").write_text("from-the-file\n")
    assert oracle_key(paths) == "from-the-file"
    monkeypatch.setenv("REALM_ORACLE_TOKEN", "from-the-environment")
    assert oracle_key(paths) == "from-the-environment"
