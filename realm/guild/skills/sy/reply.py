"""Reading a reply: lines `n. a+b = WORD`, `unused: ...`, `hidden: WORD`, or the JSON answer of the first version. Total."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

MAX_TEXT = 100_000
MAX_LINES = 64
_WORD = re.compile(r"(\d{1,2})\. *([a-z_]+(?: *\+ *[a-z_]+)*) *= *([A-Za-z]+)")
_UNUSED = re.compile(r"unused:((?: +[a-z_]+)*)")
_HIDDEN = re.compile(r"hidden: *([A-Za-z]+)")


@dataclass(slots=True)
class Reply:
    """What a reply says: clue number -> (tiles, word in lower case); `reason` is empty when all of it was understood."""

    words: dict[int, tuple[tuple[str, ...], str]] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    hidden: str = ""
    reason: str = ""


def read_reply(text: object) -> Reply:
    """Read a reply; never raises, says in `reason` what it could not understand."""
    if not isinstance(text, str):
        return Reply(reason="the reply is not a text")
    if len(text) > MAX_TEXT:
        return Reply(reason=f"the reply is longer than {MAX_TEXT} characters")
    bare = text.strip()
    return _from_json(bare) if bare.startswith("{") else _from_lines(bare.split("\n"))


def _from_lines(lines: list[str]) -> Reply:
    if len(lines) > MAX_LINES:
        return Reply(reason=f"the reply has more than {MAX_LINES} lines")
    found = Reply()
    closing: set[str] = set()
    for line in (raw.strip() for raw in lines):
        word, unused, hidden = _WORD.fullmatch(line), _UNUSED.fullmatch(line), _HIDDEN.fullmatch(line)
        if word and not closing:
            tiles = tuple(tile.strip() for tile in word[2].split("+"))
            _add(found, int(word[1]), tiles, word[3])
        elif unused and "unused" not in closing:
            found.unused = tuple(unused[1].split())
            closing.add("unused")
        elif hidden and "hidden" not in closing:
            found.hidden = hidden[1].lower()
            closing.add("hidden")
        else:
            found.reason = found.reason or f"line {line[:60]!r} is not of the format"
    return found


def _add(found: Reply, number: int, tiles: tuple[str, ...], word: str) -> None:
    if found.words and number <= max(found.words):
        found.reason = found.reason or f"number {number} is out of sequence"
        found.words.pop(number, None)
        return
    found.words[number] = (tiles, word.lower())


def _from_json(text: str) -> Reply:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return Reply(reason="the reply begins like JSON and is none")
    rows = data.get("solutions")
    if not isinstance(rows, list) or len(rows) > MAX_LINES:
        return Reply(reason="the reply has no list 'solutions'")
    found = Reply(hidden=_text(data.get("hidden")).lower())
    for row in rows:
        number, tiles = (row.get("ans_num"), _texts(row.get("syllables"))) if isinstance(row, dict) else (None, ())
        if not isinstance(number, int) or isinstance(number, bool) or not tiles:
            found.reason = found.reason or "a row of 'solutions' has no number or no syllables"
            continue
        _add(found, number, tuple(tile.lower() for tile in tiles), _text(row.get("answer")))
    check = data.get("inventory_check")
    found.unused = tuple(_texts(check.get("unused_tiles"))) if isinstance(check, dict) else ()
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> Iterable[str]:
    """Return a list of texts as a tuple, anything else as nothing."""
    return tuple(value) if isinstance(value, list) and all(isinstance(one, str) for one in value) else ()
