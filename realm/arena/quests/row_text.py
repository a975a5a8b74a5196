"""A row with its trained tokens marked, for the terminal."""

from __future__ import annotations

from typing import Any


def visible(text: str) -> str:
    """Return text with control characters and line ends made visible."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def row_text(found: dict[str, Any]) -> str:
    """Return the row as lines: facts, then every segment with trained tokens between brackets."""
    agree = "agree" if found["methods_agree"] else f"DIFFER at token {found['differs_at']}"
    lines = [
        f"{visible(found['name'])}, row {found['row']} (from 0), {found['state']}, profile {found['profile']}",
        f"{found['length']} tokens (at most {found['max_length']}), {found['trained']} trained,"
        f" {found['masked_share']:.0%} masked; the two label methods {agree}",
    ]
    for number, segment in enumerate(found["segments"], 1):
        lines.append(f"-- {number}: {segment['role']}, tokens {segment['begin']} to {segment['end'] - 1},"
                     f" {segment['trained']} trained")  # fmt: skip
        lines.append("".join(_piece(token) for token in found["tokens"][segment["begin"] : segment["end"]]))
    if found["reason"]:
        lines.append(f"cannot be trained: {found['reason']}")
    return "\n".join(lines)


def _piece(token: dict[str, Any]) -> str:
    text = visible(token["text"])
    return f"[{text}]" if token["trained"] else f"{text}·"
