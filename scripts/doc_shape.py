"""The Markdown that every table of the documents is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


class DocumentError(Exception):
    """A table cannot be made; the message names what is missing and where to add it."""


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table; bars and line ends in cells are made harmless."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def code(value: Any) -> str:
    """Return a value as JSON in code marks, empty for none."""
    return "" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"
