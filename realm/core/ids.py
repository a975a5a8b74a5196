"""Identities: ULID for runs and quests, SHA-256 for content."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from pathlib import Path

from realm.core.clock import SYSTEM, Clock
from realm.core.errors import BadInput

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
# \Z, because $ also matches before a line break at the end
_ULID = re.compile(r"[0-9a-hjkmnp-tv-z]{26}\Z")
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}\Z")


class UlidSource:
    """Makes ULIDs (spec: github.com/ulid/spec) in lower case, strictly rising within one process."""

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._last = 0
        self._lock = threading.Lock()

    def new(self) -> str:
        with self._lock:
            millis = int(self._clock.now().timestamp() * 1000)
            value = (millis << 80) | int.from_bytes(os.urandom(10), "big")
            # Two ids of one millisecond still sort by birth, and so they do when the clock was set back.
            value = max(value, self._last + 1)
            self._last = value
        return "".join(_CROCKFORD[(value >> shift) & 31] for shift in range(125, -1, -5))


_SOURCE = UlidSource()


def new_ulid() -> str:
    """Return a new ULID of 26 lower-case characters."""
    return _SOURCE.new()


def is_ulid(text: str) -> bool:
    return bool(_ULID.match(text))


def check_id(text: str) -> str:
    """Return `text` when it is a plain id; raises BadInput for anything that could be a path."""
    if not _ID.match(text):
        raise BadInput(f"not an id: {text[:80]!r}", hint="ids are a-z 0-9 . _ - and at most 128 characters")
    return text


def sha256_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the hex SHA-256 of a file, read in blocks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
