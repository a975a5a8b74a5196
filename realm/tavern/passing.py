"""Passing a page's request on to another service of this machine: its answer comes back with its status and its words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
from fastapi.responses import Response

from realm.core.errors import Unavailable
from realm.core.hosts import port_of

TIMEOUT = httpx.Timeout(15.0, connect=5.0)


@dataclass(frozen=True)
class Neighbour:
    """A service by its name in the registry, its name for people, and what starts it; `transport` is for tests."""

    service: str
    name: str
    hint: str
    transport: httpx.AsyncBaseTransport | None = None

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Response:
        """Return the service's own answer; raises Unavailable when it gives none."""
        url = f"http://127.0.0.1:{port_of(self.service)}{path}"
        try:
            async with httpx.AsyncClient(
                transport=self.transport, timeout=TIMEOUT, follow_redirects=False, trust_env=False
            ) as client:
                found = await client.request(method, url, json=body)
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise Unavailable(f"{self.name} does not answer: {why}", hint=self.hint) from error
        headers = {"Cache-Control": "no-store"}
        return Response(found.content, status_code=found.status_code, media_type="application/json", headers=headers)
