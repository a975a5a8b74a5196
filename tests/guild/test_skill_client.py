from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from realm.core.errors import BadInput, Corrupt, RealmError, Unavailable
from realm.guild.skill_client import SkillClient, training_row
from realm.guild.skills.bin import SKILL
from realm.guild.skills.server import grade
from realm.guild.skills.types import Item

TRAIN = [item.sample() for item in SKILL.generate(3, 4, 1, "train")]
EVAL = [item.sample() for item in SKILL.generate(3, 4, 1, "eval")]


def client_of(handler: Callable[[httpx.Request], httpx.Response]) -> SkillClient:
    return SkillClient("bin", "http://skill/", 30, httpx.Client(transport=httpx.MockTransport(handler)))


def sends(samples: Any) -> SkillClient:
    return client_of(lambda _request: httpx.Response(200, json={"samples": samples}))


def test_generate_sends_what_was_asked_and_returns_the_samples() -> None:
    seen: list[Any] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.path, json.loads(request.content)))
        return httpx.Response(200, json={"samples": TRAIN})

    assert client_of(handler).generate(3, 4, 2**64 - 1, "train", {"brief": 1.0}) == TRAIN
    body = {"level": 3, "count": 4, "seed": 2**64 - 1, "split": "train", "styles": {"brief": 1.0}}
    assert seen == [("/generate", body)]


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        (TRAIN[:3], "3 samples, asked were 4"),
        (None, "without samples"),
        ([*TRAIN[:3], {**TRAIN[3], "level": 4}], "level 4, asked was bin level 3"),
        ([*TRAIN[:3], {**TRAIN[3], "skill": "sy"}], "sample 4 is sy"),
        ([*TRAIN[:3], {**TRAIN[3], "assistant_response": None}], "lacks one of the texts"),
        ([*TRAIN[:3], EVAL[0]], "sample 4 belongs to the eval partition"),
        ([*TRAIN[:3], 7], "lacks one of the texts"),
    ],
)
def test_false_samples_never_come_through(samples: Any, told: str) -> None:
    with pytest.raises(Corrupt, match=told):
        sends(samples).generate(3, 4, 1, "train")


def test_static_items_must_be_eval_items_of_the_level() -> None:
    assert sends(EVAL).static_items(3) == EVAL
    with pytest.raises(Corrupt, match="train partition"):
        sends(TRAIN).static_items(3)
    with pytest.raises(Corrupt, match="asked was bin level 2"):
        sends(EVAL).static_items(2)


def raises_timeout(_request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("slow")


@pytest.mark.parametrize(
    ("handler", "error", "told"),
    [
        (raises_timeout, Unavailable, "does not answer: ReadTimeout"),
        (lambda _r: httpx.Response(500, text="oops"), Unavailable, "answered 500"),
        (lambda _r: httpx.Response(200, text="<html>"), Corrupt, "no JSON"),
        (lambda _r: httpx.Response(400, json={"error": {"message": "no level 99"}}), BadInput, "no level 99"),
        (lambda _r: httpx.Response(302, headers={"location": "http://x"}), BadInput, "302"),
    ],
)
def test_a_misbehaving_server_is_an_error(handler: Any, error: type[RealmError], told: str) -> None:
    with pytest.raises(error, match=told):
        client_of(handler).generate(3, 4, 1, "train")


def skill_server(request: httpx.Request) -> httpx.Response:
    """A server without batch grading, judging with the real skill."""
    if request.url.path != "/grade":
        return httpx.Response(404, json={"error": {"message": "no such path"}})
    body = json.loads(request.content)
    try:
        return httpx.Response(200, json=grade(SKILL, body["problem"], body["answer"]))
    except BadInput as error:
        return httpx.Response(400, json={"error": {"message": error.message}})


def test_grades_one_by_one_where_no_batch_is_offered() -> None:
    paths: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.path)
        return skill_server(request)

    client = client_of(handler)
    answers = [SKILL.solve(Item.from_sample(EVAL[0])), "", "no idea", EVAL[3]["assistant_response"]]
    assert [verdict.correct for verdict in client.grade(EVAL, answers)] == [True, False, False, True]
    client.grade(EVAL[:1], answers[:1])
    assert paths == ["/grade_batch", "/grade", "/grade", "/grade", "/grade", "/grade"]


def test_a_refused_problem_is_a_verifier_error_of_that_item_alone() -> None:
    broken = {**EVAL[1], "user_prompt": "Write a poem."}
    found = client_of(skill_server).grade([EVAL[0], broken], [EVAL[0]["assistant_response"], "roses"])
    assert [(verdict.correct, verdict.error is None) for verdict in found] == [(True, True), (False, False)]


def test_a_batch_is_used_where_offered_and_checked() -> None:
    def batch(grades: Any) -> SkillClient:
        return client_of(lambda _request: httpx.Response(200, json={"grades": grades}))

    good = {"correct": True, "expected": "①", "parsed": "①", "reason": "", "partial": 1.0}
    assert [verdict.correct for verdict in batch([good, {**good, "correct": False}]).grade(EVAL[:2], ["", ""])] == [True, False]
    with pytest.raises(Corrupt, match="no list of 2"):
        batch([good]).grade(EVAL[:2], ["", ""])
    with pytest.raises(Corrupt, match="without `correct`"):
        batch([good, {"correct": 1}]).grade(EVAL[:2], ["", ""])


def test_a_server_that_fails_while_grading_grades_nothing() -> None:
    with pytest.raises(Unavailable):
        client_of(lambda _request: httpx.Response(500)).grade(EVAL, [""] * 4)
    with pytest.raises(BadInput, match="2 answers to 4"):
        client_of(skill_server).grade(EVAL, ["", ""])


def test_training_rows_carry_what_the_gatekeeper_checks() -> None:
    row = training_row(TRAIN[0])
    assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
    assert row["messages"][1]["content"] == TRAIN[0]["assistant_response"]
    assert row["metadata"] == {name: TRAIN[0][name] for name in ("skill", "level", "key", "id")}
