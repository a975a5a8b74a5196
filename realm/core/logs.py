"""Logs: JSON lines, one size-capped file per process under `logs/`, control characters escaped."""

from __future__ import annotations

import json
import logging
import logging.handlers
import sys

from realm.core.clock import SYSTEM, stamp
from realm.core.paths import Paths

MAX_BYTES = 5 * 1024 * 1024
KEEP = 3


class JsonLines(logging.Formatter):
    """One JSON object a line; json.dumps escapes control characters, so a log line cannot move a terminal's cursor."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {"at": stamp(SYSTEM.now()), "level": record.levelname.lower(), "name": record.name}
        entry["message"] = record.getMessage()
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=True)


class Plain(logging.Formatter):
    """For a person at a terminal: level and message, control characters made visible."""

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        shown = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
        return f"{record.levelname.lower()}: {shown}"


def setup(paths: Paths | None, process: str, *, terminal: bool = True) -> None:
    """Send all logging of this process to `logs/<process>.jsonl` and, with `terminal`, warnings to stderr."""
    root = logging.getLogger()
    root.handlers.clear()
    root.setLevel(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if paths is not None:
        paths.logs.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(
            paths.logs / f"{process}.jsonl", maxBytes=MAX_BYTES, backupCount=KEEP, encoding="utf-8"
        )
        handler.setFormatter(JsonLines())
        root.addHandler(handler)
    if terminal:
        stream = logging.StreamHandler(sys.stderr)
        stream.setLevel(logging.WARNING)
        stream.setFormatter(Plain())
        root.addHandler(stream)


def get_logger(name: str) -> logging.Logger:
    return logging.getLogger(f"realm.{name}")
