"""The HTTP client of a skill's server: bounded in time, size and trust."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from realm.core.errors import BadInput, Unavailable
from realm.guild.skills.loader import RegisteredSkill
from realm.guild.skills.types import Item

TIMEOUT = httpx.Timeout(connect=2.0, read=60.0, write=10.0, pool=2.0)
MAX_RESPONSE_BYTES = 64 * 1024 * 1024
MAX_PER_CALL = 20_000


class Trainer:
    """Asks a skill's server for problems and grades.

    Every call raises Unavailable when the server does not answer or answers nonsense, and BadInput when it refuses the
    request (with its own message). `transport` is for tests.
    """

    def __init__(self, skill: RegisteredSkill, transport: httpx.BaseTransport | None = None) -> None:
        self.skill = skill
        self._transport = transport

    def sample(
        self,
        level: int,
        count: int,
        seed: int | None = None,
        split: str = "train",
        styles: Mapping[str, float] | None = None,
    ) -> list[Item]:
        """Return `count` problems of a level; without a seed the server draws one."""
        body: dict[str, Any] = {"level": level, "count": count, "split": split}
        if seed is not None:
            body["seed"] = seed
        if styles is not None:
            body["styles"] = dict(styles)
        return self._items(self._call("POST", "/generate", body), level, split, count)

    def eval(self, level: int, style: str | None = None) -> list[Item]:
        """Return the static eval set of a level, in an answer style where the skill has several."""
        asked = f"/eval?level={level}" + (f"&style={quote(style)}" if style else "")
        return self._items(self._call("GET", asked), level, "eval", None)

    def grade(self, problem: Item | Mapping[str, Any], answer: str) -> dict[str, Any]:
        """Return `{"correct", "expected", "parsed", "reason"}` for one answer."""
        sample = problem.sample() if isinstance(problem, Item) else dict(problem)
        result = self._call("POST", "/grade", {"problem": sample, "answer": answer})
        if not isinstance(result.get("correct"), bool):
            raise self._nonsense("/grade", "no boolean 'correct'")
        return result

    def info(self) -> dict[str, Any]:
        """Return what the server says about its skill."""
        return self._call("GET", "/info")

    def levels(self) -> list[dict[str, Any]]:
        """Return the server's level table."""
        rows = self._call("GET", "/levels").get("levels")
        if not isinstance(rows, list):
            raise self._nonsense("/levels", "no list 'levels'")
        return rows

    def _items(self, body: Mapping[str, Any], level: int, split: str, count: int | None) -> list[Item]:
        rows = body.get("samples")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise self._nonsense("samples", "no list of objects")
        if count is not None and len(rows) != count:
            raise self._nonsense("samples", f"{len(rows)} of the {count} asked for")
        try:
            found = [Item.from_sample({"split": split, **row}) for row in rows]
        except BadInput as error:
            raise self._nonsense("samples", error.message) from error
        if any(item.skill != self.skill.id or item.level != level for item in found):
            raise self._nonsense("samples", "an item of another skill or level")
        return found

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        try:
            status, text = self._exchange(method, path, body)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            hint = f"is `realm skills serve {self.skill.id}` running?"
            raise Unavailable(f"{self._where(path)} does not answer: {reason}", hint=hint) from error
        return self._read(path, status, text)

    def _exchange(self, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[int, bytes]:
        """Send one request and read at most MAX_RESPONSE_BYTES; redirects are not followed, proxies not used."""
        with (
            httpx.Client(timeout=TIMEOUT, follow_redirects=False, trust_env=False, transport=self._transport) as client,
            client.stream(method, self.skill.api_url + path, json=body) as response,
        ):
            parts, size = [], 0
            for part in response.iter_bytes():
                size += len(part)
                if size > MAX_RESPONSE_BYTES:
                    raise self._nonsense(path, f"more than {MAX_RESPONSE_BYTES} bytes")
                parts.append(part)
            return response.status_code, b"".join(parts)

    def _read(self, path: str, status: int, text: bytes) -> dict[str, Any]:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._nonsense(path, f"status {status} without JSON") from error
        if not isinstance(found, dict):
            raise self._nonsense(path, f"status {status} with JSON that is no object")
        if 400 <= status < 500:
            told = found.get("error")
            told = told if isinstance(told, dict) else {}
            message = str(told.get("message") or f"status {status}")[:500]
            raise BadInput(f"{self._where(path)}: {message}", hint=str(told.get("hint") or "")[:500])
        if status != 200:
            raise self._nonsense(path, f"status {status}")
        return found

    def _where(self, path: str) -> str:
        return f"skill server {self.skill.id} at {self.skill.api_url}{path.split('?')[0]}"

    def _nonsense(self, path: str, what: str) -> Unavailable:
        return Unavailable(f"{self._where(path if path.startswith('/') else '')} answered nonsense: {what}")
