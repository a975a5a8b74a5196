"""The error tree: every error says what was asked, what was found and what to do.

Raised anywhere, translated once at the boundary: to an exit code on the command line, to a status and a body over HTTP.
"""

from __future__ import annotations

from typing import Any


class RealmError(Exception):
    """Base of all expected errors; `hint` says what to do, `facts` carries machine-readable details."""

    code = "error"
    status = 500
    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.facts = facts

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class BadInput(RealmError):
    """The request itself is wrong: a malformed value, an unknown key, a broken file."""

    code, status, exit_code = "bad_input", 400, 2


class Unknown(RealmError):
    """A name, id or step that does not exist; the message lists what does."""

    code, status, exit_code = "unknown", 404, 2


class Conflict(RealmError):
    """The request is well formed but the present state does not allow it."""

    code, status, exit_code = "conflict", 409, 3


class Refused(RealmError):
    """Forbidden by a rule: a locked field, a foreign origin, a missing token."""

    code, status, exit_code = "refused", 403, 4


class Unavailable(RealmError):
    """Another process or host did not answer; nothing was changed and the call may be repeated."""

    code, status, exit_code = "unavailable", 503, 5


class Corrupt(RealmError):
    """Stored bytes do not match their manifest or schema."""

    code, status, exit_code = "corrupt", 500, 6


class NoSpace(RealmError):
    """The disk cannot take what should be written; the previous state is intact."""

    code, status, exit_code = "no_space", 507, 7


def error_body(error: RealmError) -> dict[str, Any]:
    """Return the one JSON error shape: `{"error": {"code", "message", "hint"[, "facts"]}}`."""
    body: dict[str, Any] = {"code": error.code, "message": error.message, "hint": error.hint}
    if error.facts:
        body["facts"] = error.facts
    return {"error": body}


def unknown_name(kind: str, asked: str, known: list[str]) -> Unknown:
    """Build the error for an unknown name, listing the known ones."""
    listed = ", ".join(sorted(known)) or "none"
    return Unknown(f"unknown {kind} {asked!r}", hint=f"known: {listed}")
