"""Calls in text, `op(a, b)`, written as `(op a b)` and back; everything else stays letter for letter."""

from __future__ import annotations

import re
from collections.abc import Callable

_NAME = re.compile(r"[^\s(),=:]+(?=\()")
_ARGUMENT = re.compile(r"[^\s(),=:]+")
_HEAD = re.compile(r"\(([^\s(),=:]+)(?=[ )])")


def to_prefix_form(text: str) -> str:
    """Return `text` with every whole call `op(a, b)` as `(op a b)`, nested ones too."""
    return _rewritten(text, _read_call)


def _rewritten(text: str, read: Callable[[str, int], tuple[str, int] | None]) -> str:
    """Return `text` with everything that `read` finds written as it says; `read` returns (written, end) or None."""
    found, at = [], 0
    while at < len(text):
        call = read(text, at)
        if call is None:
            found.append(text[at])
            at += 1
            continue
        written, at = call
        found.append(written)
    return "".join(found)


def _read_call(text: str, at: int) -> tuple[str, int] | None:
    """Return a call that begins at `at`, in prefix form, and where it ends; None when there is none."""
    name = _NAME.match(text, at)
    if name is None or (at and _ARGUMENT.match(text[at - 1])):
        return None
    parts, at = [name[0]], name.end() + 1
    while True:
        argument = _read_call(text, at) or _plain(_ARGUMENT, text, at)
        if argument is None:
            return None
        parts.append(argument[0])
        at = argument[1]
        if text.startswith(", ", at):
            at += 2
        elif text.startswith(")", at):
            return f"({' '.join(parts)})", at + 1
        else:
            return None


def _plain(kind: re.Pattern[str], text: str, at: int) -> tuple[str, int] | None:
    found = kind.match(text, at)
    return (found[0], found.end()) if found else None


def from_prefix_form(text: str) -> str:
    """Return `text` with every whole `(op a b)` as `op(a, b)`, nested ones too."""
    return _rewritten(text, _read_prefix)


def _read_prefix(text: str, at: int) -> tuple[str, int] | None:
    head = _HEAD.match(text, at)
    if head is None:
        return None
    arguments, at = [], head.end()
    while text.startswith(" ", at):
        argument = _read_prefix(text, at + 1) or _plain(_ARGUMENT, text, at + 1)
        if argument is None:
            return None
        arguments.append(argument[0])
        at = argument[1]
    if not arguments or not text.startswith(")", at):
        return None
    return f"{head[1]}({', '.join(arguments)})", at + 1
