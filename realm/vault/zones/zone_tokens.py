"""Tokens between zones: who may ask this machine (SHA-256 only), and what this machine says to other zones.

Format of `run/zone_tokens.json` (mode 0600): {"format": "realm.tokens/1", "tokens": [{"id", "zone", "role", "sha256",
"created_at"}]}. What another zone gave us is `run/zone.<id>.token`, mode 0600 as well.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from realm.core.clock import SYSTEM, Clock, stamp
from realm.core.durable import write_private
from realm.core.errors import BadInput, Corrupt, Refused, unknown_name
from realm.core.guard import ROLES, Role
from realm.core.ids import check_id, new_ulid, sha256_bytes
from realm.core.paths import Paths

FORMAT = "realm.tokens/1"
SHORTEST = 16


class Token(BaseModel):
    """One accepted token: for whom, what it allows, and the digest of its text."""

    model_config = ConfigDict(extra="forbid")
    id: str
    zone: str
    role: Role
    sha256: str
    created_at: str


def _file(paths: Paths) -> Path:
    return paths.run / "zone_tokens.json"


def _read_private(path: Path) -> str:
    if path.stat().st_mode & 0o077:
        raise Refused(f"run/{path.name} can be read by other users", hint=f"chmod 600 run/{path.name}")
    return path.read_text(encoding="utf-8")


def list_tokens(paths: Paths) -> list[Token]:
    """Return the accepted tokens, oldest first; raises Refused for a readable file, Corrupt for a broken one."""
    path = _file(paths)
    if not path.is_file():
        return []
    try:
        found: dict[str, Any] = json.loads(_read_private(path))
        if found["format"] != FORMAT:
            raise Corrupt(f"run/{path.name} has format {found['format']!r}, not {FORMAT}")
        return [Token.model_validate(one) for one in found["tokens"]]
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise Corrupt(f"run/{path.name} cannot be read", hint="remove it and make the tokens anew") from error


def _save(paths: Paths, tokens: list[Token]) -> None:
    told = {"format": FORMAT, "tokens": [one.model_dump() for one in tokens]}
    write_private(_file(paths), json.dumps(told, indent=1) + "\n")


def new_token(paths: Paths, zone: str, role: str, clock: Clock = SYSTEM) -> tuple[Token, str]:
    """Make a token for a zone and return its record and its text, which is kept nowhere."""
    if role not in get_args(Role):
        raise unknown_name("role", role, list(ROLES))
    text = secrets.token_urlsafe(32)
    made = Token.model_validate({
        "id": new_ulid(), "zone": check_id(zone), "role": role, "sha256": sha256_bytes(text.encode()),
        "created_at": stamp(clock.now()),
    })  # fmt: skip
    _save(paths, [*list_tokens(paths), made])
    return made, text


def revoke(paths: Paths, token_id: str) -> Token:
    """Forget an accepted token; the officer refuses it from its next request on. Raises Unknown."""
    tokens = list_tokens(paths)
    gone = next((one for one in tokens if one.id == token_id), None)
    if gone is None:
        raise unknown_name("token", token_id, [one.id for one in tokens])
    _save(paths, [one for one in tokens if one.id != token_id])
    return gone


def keep_token(paths: Paths, zone: str, text: str) -> Path:
    """Keep the token that another zone gave this machine; raises BadInput for what cannot be one."""
    text = text.strip()
    if len(text) < SHORTEST or not (text.isascii() and text.isprintable()) or " " in text:
        raise BadInput(f"a token has at least {SHORTEST} printable characters and no spaces")
    path = paths.run / f"zone.{check_id(zone)}.token"
    write_private(path, text + "\n")
    return path


def token_for(paths: Paths, zone: str) -> str | None:
    """Return what this machine says to a zone, None when that zone gave it nothing; raises Refused for a readable file."""
    path = paths.run / f"zone.{check_id(zone)}.token"
    return _read_private(path).strip() if path.is_file() else None


class TokenFile:
    """The guard's keyring over the token file; a change of the file counts from the next request on."""

    def __init__(self, paths: Paths, *, always: bool = False) -> None:
        self._paths = paths
        self._always = always
        self._seen: tuple[int, int, int] | None = None
        self._tokens: list[Token] = []
        self._lock = threading.Lock()

    def locked(self) -> bool:
        """A token is needed as soon as one exists; on an address that others reach, also after the last was revoked."""
        return self._always or bool(self._now())

    def role_of(self, token: str) -> Role | None:
        """Return what a token allows; every record is compared, in constant time."""
        digest, role = sha256_bytes(token.encode()), None
        for one in self._now():
            if hmac.compare_digest(one.sha256, digest):
                role = one.role
        return role

    def _now(self) -> list[Token]:
        with self._lock:
            try:
                found = _file(self._paths).stat()
                seen = (found.st_ino, found.st_mtime_ns, found.st_mode)
            except FileNotFoundError:
                seen = None
            if seen != self._seen or seen is None:
                self._tokens = list_tokens(self._paths)
                self._seen = seen
            return self._tokens
