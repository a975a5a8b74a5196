"""Asking the oracle for a checkpoint's answers; the answer names the weights that gave it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx

from realm.armory.profiles import get_profile, undress
from realm.core.errors import Conflict, Corrupt, Unavailable
from realm.core.paths import Paths

MAX_ANSWER = 16 * 1024 * 1024
TIMEOUT = httpx.Timeout(120.0, connect=3.0, pool=3.0)


@dataclass(frozen=True)
class Answers:
    """One text per prompt, why each ended ("stop", "length"), and which weights the server says it used.

    `tokens` is the number of generated tokens per answer; `generation` are further facts the server reports.
    """

    texts: tuple[str, ...]
    finish_reasons: tuple[str, ...]
    weights_sha256: str
    model: str
    tokens: tuple[int, ...] = ()
    generation: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bare(self) -> tuple[str, ...]:
        """The texts without what the hero's data profile puts around an answer: what is graded."""
        profile = get_profile(str(self.generation.get("profile", "none")))
        return tuple(undress(profile, text) for text in self.texts)


class Ask(Protocol):
    """Greedy answers of the checkpoint at `step`; raises Unavailable when nobody answers, Corrupt for half an answer."""

    def __call__(self, step: int, prompts: Sequence[str], max_new_tokens: int) -> Answers: ...


def oracle_key(paths: Paths) -> str | None:
    """Return the oracle's API key where one is set: REALM_ORACLE_TOKEN, else run/oracle.token."""
    path = paths.run / "oracle.token"
    found = os.environ.get("REALM_ORACLE_TOKEN")
    if found is None and path.is_file():
        found = path.read_text(encoding="utf-8").strip()
    return found


class OracleAsk:
    """`Ask` over HTTP: `POST /models/load`, then `POST /generate`; `key` is sent as a bearer token."""

    def __init__(self, url: str, client: httpx.Client | None = None, key: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._client = client or httpx.Client(timeout=TIMEOUT, trust_env=False, follow_redirects=False)

    def __call__(self, step: int, prompts: Sequence[str], max_new_tokens: int) -> Answers:
        return self.sample(step, prompts, max_new_tokens)

    def sample(
        self, step: int, prompts: Sequence[str], max_new_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> Answers:
        """Return one answer a prompt, greedy at temperature 0 and else drawn by `seed`; raises as `Ask` does."""
        self._post("/models/load", {"step": step})
        body: dict[str, Any] = {"step": step, "prompts": list(prompts), "max_new_tokens": max_new_tokens}
        if temperature > 0:
            body |= {"greedy": False, "temperature": temperature, "seed": seed}
        return read_answers(self._post("/generate", body), step, len(prompts))

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        try:
            with self._client.stream("POST", f"{self._url}{path}", json=body, headers=self._headers) as response:
                content = _capped(response)
                status = response.status_code
        except httpx.HTTPError as error:
            raise Unavailable(
                f"the oracle at {self._url} does not answer {path}: {type(error).__name__}",
                hint="start it: realm oracle serve",
            ) from error
        if status >= 500:
            raise Unavailable(f"the oracle answered {status} to {path}: {content[:200].decode(errors='replace')}")
        if status != 200:
            raise Conflict(f"the oracle refused {path}: {status} {content[:200].decode(errors='replace')}")
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise Corrupt(f"the oracle sent no JSON from {path}") from error


def _capped(response: httpx.Response) -> bytes:
    parts, size = [], 0
    for part in response.iter_bytes():
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER:
            raise Corrupt(f"the oracle sent more than {MAX_ANSWER} bytes")
    return b"".join(parts)


def read_answers(found: Any, step: int, count: int) -> Answers:
    """Return the answers of a `/generate` body; raises Corrupt for a missing one or another step than asked."""
    listed = found.get("answers") if isinstance(found, dict) else None
    if not isinstance(listed, list) or len(listed) != count:
        got = len(listed) if isinstance(listed, list) else "no list of"
        raise Corrupt(f"the oracle sent {got} answers to {count} prompts")
    if found.get("step") != step:
        raise Corrupt(f"the oracle answered for step {found.get('step')!r}, asked was {step}")
    if not isinstance(found.get("weights_sha256"), str) or not isinstance(found.get("model"), str):
        raise Corrupt("the oracle does not say which weights answered")
    for number, one in enumerate(listed, 1):
        if not isinstance(one, dict) or not isinstance(one.get("text"), str):
            raise Corrupt(f"the oracle's answer {number} has no text")
        if not isinstance(one.get("finish_reason"), str):
            raise Corrupt(f"the oracle's answer {number} does not say why it ended")
    more = {name: value for name, value in found.items() if name not in ("answers", "step", "weights_sha256", "model")}
    return Answers(
        texts=tuple(one["text"] for one in listed),
        finish_reasons=tuple(one["finish_reason"] for one in listed),
        weights_sha256=found["weights_sha256"],
        model=found["model"],
        tokens=tuple(int(one["tokens"]) for one in listed if isinstance(one.get("tokens"), int)),
        generation=more,
    )
