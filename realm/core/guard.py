"""The guard in front of every port: a pure ASGI wrapper that refuses foreign pages before any routing.

Order of checks: Host, Sec-Fetch-Site, Origin, content type of unsafe methods, token. Sources: the Fetch Metadata
specification (w3.org/TR/fetch-metadata) and RFC 9110 section 7.2 for Host.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from realm.core.errors import RealmError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
Role = Literal["read", "operate", "admin"]
ROLES: tuple[Role, ...] = ("read", "operate", "admin")
# What says that a service lives and how it is called, without any fact of the home.
OPEN_PATHS = frozenset({"/health", "/openapi.json", "/docs", "/docs.js", "/docs.css"})
CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types svelte-trusted-html realm-worker",
    )
)
SECURITY_HEADERS = (
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Keyring(Protocol):
    """Knows which tokens open a port; `locked` says whether one is needed at all."""

    def locked(self) -> bool: ...

    def role_of(self, token: str) -> Role | None: ...


@dataclass(frozen=True)
class Rules:
    """What one port accepts: its own names, an optional token, paths that take raw bodies, the body cap in bytes.

    With a keyring every path but the open ones needs a token: safe methods one that may read, others one that is
    `admin`, or the lesser role that `needs` gives the path.
    """

    hosts: frozenset[str]
    token: str | None = None
    keyring: Keyring | None = None
    needs: Mapping[str, Role] = field(default_factory=dict)
    upload_paths: frozenset[str] = field(default_factory=frozenset)
    max_body: int = 1024 * 1024

    @classmethod
    def for_port(cls, port: int, names: Iterable[str] = ("127.0.0.1", "localhost"), **more: Any) -> Rules:
        return cls(hosts=frozenset(f"{name}:{port}" for name in names), **more)


@dataclass(frozen=True)
class Denied:
    """A refusal: HTTP status, code and text."""

    status: int
    code: str
    message: str
    hint: str = ""


def judge(rules: Rules, method: str, path: str, headers: list[tuple[bytes, bytes]]) -> Denied | None:
    """Decide on a request from its head alone; None lets it pass. Pure."""
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    hosts = values.get("host", [])
    if len(hosts) != 1 or hosts[0].lower() not in rules.hosts:
        return Denied(421, "wrong_host", f"this port does not answer to host {', '.join(hosts) or 'none'}")
    return (
        _judge_origin(rules, method, path, values)
        or _judge_body(rules, method, path, values)
        or _judge_token(rules, values)
        or _judge_key(rules, method, path, values)
    )


def _judge_origin(rules: Rules, method: str, path: str, values: dict[str, list[str]]) -> Denied | None:
    navigation = (
        method == "GET"
        and values.get("sec-fetch-mode") == ["navigate"]
        and values.get("sec-fetch-dest") == ["document"]
        and not path.startswith("/api/")
    )
    if navigation:
        return None
    if any(site not in ("same-origin", "none") for site in values.get("sec-fetch-site", [])):
        return Denied(403, "foreign_site", "requests from other sites are refused")
    allowed = {f"http://{host}" for host in rules.hosts}
    if any(origin.lower() not in allowed for origin in values.get("origin", [])):
        return Denied(403, "foreign_origin", "requests from other origins are refused")
    return None


def _judge_body(rules: Rules, method: str, path: str, values: dict[str, list[str]]) -> Denied | None:
    if method in SAFE_METHODS:
        return None
    kinds = values.get("content-type") or [""]
    kind = kinds[0].split(";")[0].strip().lower() if len(kinds) == 1 else "more than one"
    upload = path in rules.upload_paths
    if not (kind == "application/json" or (upload and kind in ("application/x-ndjson", "application/octet-stream"))):
        return Denied(415, "wrong_content_type", f"content type {kind or 'none'} is not taken here", "application/json")
    length = (values.get("content-length") or ["0"])[0]
    if not (length.isascii() and length.isdigit()) or (int(length) > rules.max_body and not upload):
        return Denied(413, "too_large", f"a body of {length[:20]} bytes is over the limit of {rules.max_body}")
    return None


def _judge_token(rules: Rules, values: dict[str, list[str]]) -> Denied | None:
    if rules.token is None:
        return None
    given = (values.get("authorization") or [""])[0].removeprefix("Bearer ")
    if hmac.compare_digest(given.encode(), rules.token.encode()):
        return None
    return Denied(401, "no_token", "a bearer token is needed", "send Authorization: Bearer TOKEN")


def _judge_key(rules: Rules, method: str, path: str, values: dict[str, list[str]]) -> Denied | None:
    if rules.keyring is None or path in OPEN_PATHS:
        return None
    given = values.get("authorization") or [""]
    kind, _, token = given[0].partition(" ")
    try:
        if not rules.keyring.locked():
            return None
        role = rules.keyring.role_of(token) if len(given) == 1 and kind == "Bearer" else None
    except RealmError as error:  # tokens that cannot be read open nothing
        return Denied(503, error.code, error.message, error.hint)
    if role is None:
        return Denied(401, "no_token", "a bearer token is needed", "send Authorization: Bearer TOKEN")
    needed = "read" if method in SAFE_METHODS else rules.needs.get(path, "admin")
    if ROLES.index(role) < ROLES.index(needed):
        return Denied(403, "role_too_small", f"this token may {role}, {method} {path} needs {needed}")
    return None


class Guard:
    """ASGI wrapper that applies `judge`, caps bodies and adds the security headers to every answer."""

    def __init__(self, app: App, rules: Rules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        denied = judge(self._rules, scope["method"], scope["path"], list(scope["headers"]))
        if denied:
            await _answer(send, denied)
            return
        await self._app(scope, self._capped(scope, receive), _with_headers(send))

    def _capped(self, scope: Scope, receive: Receive) -> Receive:
        if scope["path"] in self._rules.upload_paths:
            return receive
        left = self._rules.max_body

        async def limited() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            # A chunked body has no declared length: past the cap the stream is cut as if the client had gone.
            return {"type": "http.disconnect"} if left < 0 else message

        return limited


def _with_headers(send: Send) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name for name, _ in message.get("headers", [])}
            extra = [pair for pair in SECURITY_HEADERS if pair[0] not in present]
            message = {**message, "headers": [*message.get("headers", []), *extra]}
        await send(message)

    return sender


async def _answer(send: Send, denied: Denied) -> None:
    body = json.dumps({"error": {"code": denied.code, "message": denied.message, "hint": denied.hint}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *SECURITY_HEADERS]
    await send({"type": "http.response.start", "status": denied.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
