"""QUICK validation: every row of a training file is read once, before it can reach the board.

Row format: one JSON object a line, `{"messages": [{"role", "content"}, ...], "metadata": {...}}` (the chat format that
transformers, TRL and the OpenAI fine-tuning API share).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from realm.armory.template import ROLES, TRAINED_ROLE
from realm.core.errors import BadInput
from realm.guild.skills.split import split_of

VALIDATOR_NAME = "quick"
VALIDATOR_VERSION = "1"
MAX_LINE = 1024 * 1024
MAX_MESSAGES = 200
MAX_LEVEL = 1_000_000
# Tokenising takes some 200 bytes of memory a byte of text.
BATCH_ROWS, BATCH_BYTES = 512, 128 * 1024
_SKILL = re.compile(r"[a-z][a-z0-9_-]{0,63}\Z")

Measure = Callable[[Sequence[Sequence[dict[str, str]]]], list[int]]


class RowError(BadInput):
    """A row that may not be trained; the message names it, counted from 1 as an editor does."""

    code = "bad_row"


@dataclass
class Survey:
    """What one pass over a file found; sizes in bytes, lengths in tokens."""

    rows: int = 0
    tokens: int = 0
    longest: int = 0
    sha256: str = ""
    size: int = 0
    # At most two are kept: what counts is whether there is exactly one.
    skills: set[tuple[str, int]] = field(default_factory=set)


def parse_row(line: bytes, number: int) -> dict[str, Any]:
    """Return a row's object; raises RowError for anything but a JSON object with known roles and text."""
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RowError(f"row {number}: not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise RowError(f"row {number}: not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise RowError(f"row {number}: nested too deeply") from error
    except ValueError as error:
        raise RowError(f"row {number}: not JSON that can be read: {error}") from error  # a number of thousands of digits
    if not isinstance(row, dict):
        raise RowError(f"row {number}: a {type(row).__name__} where an object with messages is needed")
    return row


def check_messages(row: dict[str, Any], number: int) -> list[dict[str, str]]:
    """Return the messages when they can be trained; raises RowError saying what is wrong."""
    messages = row.get("messages")
    if not isinstance(messages, list) or not 1 <= len(messages) <= MAX_MESSAGES:
        raise RowError(f"row {number}: messages must be a list of 1 to {MAX_MESSAGES}")
    for place, message in enumerate(messages, 1):
        if not isinstance(message, dict) or not isinstance(message.get("content"), str):
            raise RowError(f"row {number}: message {place} needs a role and text content")
        if message.get("role") not in ROLES:
            raise RowError(f"row {number}: unknown role {str(message.get('role'))[:40]!r}", hint=f"roles: {', '.join(ROLES)}")
        if not is_text(message["content"]):
            raise RowError(f"row {number}: message {place} holds a lone surrogate, which is not text")
    if not any(m["role"] == TRAINED_ROLE and m["content"].strip() for m in messages):
        raise RowError(f"row {number}: no {TRAINED_ROLE} message with text, so nothing could be learnt from it")
    return messages


def is_text(value: str) -> bool:
    """Say whether a string can be stored as UTF-8; JSON can spell lone surrogates, which cannot."""
    return value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value)


def check_not_eval(row: dict[str, Any], number: int) -> tuple[str, int] | None:
    """Return the row's (skill, level) when it names them; raises RowError when its key belongs to the eval partition.

    A row that carries a key must name skill and level in full, or its partition could not be told.
    """
    meta = row.get("metadata")
    if not isinstance(meta, dict):
        return None
    skill, level, key = meta.get("skill"), meta.get("level"), meta.get("key")
    named = isinstance(skill, str) and _SKILL.match(skill) and type(level) is int and 0 <= level <= MAX_LEVEL
    if isinstance(skill, str) and isinstance(key, str):
        if not named or not is_text(key):
            raise RowError(
                f"row {number}: metadata with a key needs a skill id and a level from 0 to {MAX_LEVEL} beside it",
                hint="write level as a number, or leave the key out",
            )
        if split_of(skill, int(str(level)), key) == "eval":
            raise RowError(
                f"row {number}: its problem belongs to the eval set of {skill} level {level}",
                hint="eval problems are never trained; generate rows with split train",
            )
    return (str(skill), int(str(level))) if named else None


def survey(lines: Iterable[bytes], measure: Measure, max_length: int) -> tuple[Survey, Iterator[bytes]]:
    """Return an empty survey and an iterator that fills it while passing the checked lines on."""
    found = Survey()
    return found, _checked(lines, found, measure, max_length)


def _checked(lines: Iterable[bytes], found: Survey, measure: Measure, max_length: int) -> Iterator[bytes]:
    digest = hashlib.sha256()
    waiting: list[tuple[int, list[dict[str, str]]]] = []
    held = 0
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE:
            raise RowError(f"row {number}: longer than {MAX_LINE} bytes")
        digest.update(line)
        found.size += len(line)
        if line.strip():
            row = parse_row(line, number)
            messages = check_messages(row, number)
            skill = check_not_eval(row, number)
            if skill and len(found.skills) < 2:
                found.skills.add(skill)
            waiting.append((number, messages))
            found.rows += 1
            held += len(line)
            if len(waiting) == BATCH_ROWS or held > BATCH_BYTES:
                _measure(waiting, found, measure, max_length)
                held = 0
        yield line
    _measure(waiting, found, measure, max_length)
    if found.rows == 0:
        raise RowError("the file has no rows")
    found.sha256 = digest.hexdigest()


def _measure(waiting: list[tuple[int, list[dict[str, str]]]], found: Survey, measure: Measure, max_length: int) -> None:
    for (number, _), tokens in zip(waiting, measure([messages for _, messages in waiting]), strict=True):
        if tokens > max_length:
            raise RowError(
                f"row {number}: {tokens} tokens, over max_length {max_length}",
                hint="shorten the row, or raise max_length (a locked setting)",
            )
        found.tokens += tokens
        found.longest = max(found.longest, tokens)
    waiting.clear()
