"""The client of a skill server trusts nothing: not the time, the size, the redirects, nor the answer's shape."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from realm.core.errors import BadInput, Unavailable
from realm.core.paths import Paths
from realm.guild.skills import trainer as trainer_module
from realm.guild.skills.bin import SKILL
from realm.guild.skills.loader import get_skill
from realm.guild.skills.trainer import TIMEOUT, Trainer

Handler = Callable[[httpx.Request], httpx.Response]
SKILL_BIN = get_skill("bin", Paths(Path("/nonexistent")), port_base=21000)
SAMPLES = [item.sample() for item in SKILL.generate(2, 3, seed=1)]


def _trainer(handler: Handler) -> Trainer:
    return Trainer(SKILL_BIN, httpx.MockTransport(handler))


def _json(body: Any, status: int = 200) -> Handler:
    return lambda request: httpx.Response(status, json=body)


def test_sample_asks_for_what_was_asked() -> None:
    asked: list[dict[str, Any]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "http://127.0.0.1:21090/generate"
        asked.append(json.loads(request.content))
        return httpx.Response(200, json={"samples": SAMPLES})

    items = _trainer(handler).sample(level=2, count=3)
    _trainer(handler).sample(2, 3, seed=0, split="eval", styles={"brief": 1})
    assert [item.sample() for item in items] == SAMPLES
    assert asked == [
        {"level": 2, "count": 3, "split": "train"},
        {"level": 2, "count": 3, "split": "eval", "seed": 0, "styles": {"brief": 1}},
    ]


def test_samples_without_our_extra_fields_are_read() -> None:
    """A server of a third skill sends the protocol's fields alone."""
    bare = [{k: s[k] for k in s if k not in ("version", "split", "meta")} for s in SAMPLES]
    items = _trainer(_json({"samples": bare})).sample(2, 3)
    assert [item.split for item in items] == ["train"] * 3


@pytest.mark.parametrize(
    "body",
    [
        {}, {"samples": None}, {"samples": SAMPLES[:2]}, {"samples": [1, 2, 3]}, {"samples": [{}] * 3},
        {"samples": [{**SAMPLES[0], "skill": "sy"}] * 3}, {"samples": [{**SAMPLES[0], "level": 3}] * 3}, [], "x",
    ],
)  # fmt: skip
def test_nonsense_is_unavailable_not_data(body: Any) -> None:
    with pytest.raises(Unavailable, match="nonsense"):
        _trainer(_json(body)).sample(2, 3)


def test_refusals_keep_their_message() -> None:
    error = {"error": {"code": "bad_input", "message": "bin has no level 99", "hint": "levels 1 to 30"}}
    with pytest.raises(BadInput, match="bin has no level 99") as caught:
        _trainer(_json(error, 400)).sample(99, 3)
    assert caught.value.hint == "levels 1 to 30"


@pytest.mark.parametrize("status", [301, 307, 500, 503, 204])
def test_other_statuses_are_unavailable(status: int) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.host == "127.0.0.1", "a redirect was followed"
        return httpx.Response(status, headers={"location": "http://elsewhere.example/"}, content=b"")

    with pytest.raises(Unavailable):
        _trainer(handler).info()


def test_silence_is_unavailable() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.extensions["timeout"] == TIMEOUT.as_dict()
        assert all(request.extensions["timeout"].values())
        raise httpx.ReadTimeout("too slow")

    with pytest.raises(Unavailable, match="does not answer"):
        _trainer(handler).eval(1)


def test_oversize_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "MAX_RESPONSE_BYTES", 1000)
    with pytest.raises(Unavailable, match="more than 1000 bytes"):
        _trainer(_json({"samples": "x" * 2000})).info()


def test_grade_and_levels() -> None:
    verdict = {"correct": True, "expected": "①", "parsed": "①", "reason": "correct"}
    assert _trainer(_json(verdict)).grade(SAMPLES[0], "x") == verdict
    assert _trainer(_json({"levels": [{"level": 1}]})).levels() == [{"level": 1}]
    with pytest.raises(Unavailable):
        _trainer(_json({"correct": "yes"})).grade(SAMPLES[0], "x")
    with pytest.raises(Unavailable):
        _trainer(_json({"levels": {}})).levels()
