"""Which field a refused table is wrong in, and why."""

from __future__ import annotations

from pydantic import ValidationError


def field_errors(error: ValidationError) -> dict[str, str]:
    """Return dotted field -> what is wrong with it, the first complaint of each; the table itself has the name ''."""
    found: dict[str, str] = {}
    for one in error.errors(include_url=False, include_input=False):
        found.setdefault(printable(".".join(map(str, one["loc"]))), printable(one["msg"]))
    return found


def printable(text: str) -> str:
    """Return text that UTF-8 can carry: lone surrogates of a hostile name are shown as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
