"""The format of a recording: what a realm's databases and status files held, moment by moment, without its weights.

Format `realm.recording/1`: gzipped JSON lines. The first line is the header; every other one a frame
`{"t", "rows": {"<store>.<table>": [row]}, "gone": {"<store>.<table>": [key]}, "files": {"<path>": text}}`: rows that are
new or changed since the frame before, keys of rows that went, small files that are new or changed. `t` in seconds.
"""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from realm.core import durable
from realm.core.clock import parse_stamp, stamp
from realm.core.errors import BadInput

FORMAT = "realm.recording/1"
STORES = ("facts", "telemetry")
# A recording comes from elsewhere: what it may write into the demo's folder is listed, not guessed.
FILES = (
    "config.json", "config/schedule.yaml", "status/*.json", "models/*/hero.json", "models/*/manifest.json",
    "models/current_model/*/.ledger.json", "models/current_model/*/manifest.json", "models/current_model/*/hero.json",
    "evals/*/*.json", "evals/*/*.jsonl",
)  # fmt: skip
MAX_FILE = 1024 * 1024
MAX_LINE = 64 * 1024 * 1024
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


@dataclass(frozen=True)
class Header:
    """`began` is the wall clock at frame 0, `columns` the columns of every table when it was recorded."""

    began: str
    columns: dict[str, list[str]]
    format: str = FORMAT


@dataclass
class Frame:
    """What changed up to `t` seconds after the recording began."""

    t: float
    rows: dict[str, list[list[Any]]] = field(default_factory=dict)
    gone: dict[str, list[list[Any]]] = field(default_factory=dict)
    files: dict[str, str | None] = field(default_factory=dict)

    def is_empty(self) -> bool:
        return not (self.rows or self.gone or self.files)


def may_hold(path: str) -> bool:
    """Say whether a recording may hold a file of this path relative to the base directory."""
    parts = PurePosixPath(path)
    return ".." not in parts.parts and not parts.is_absolute() and any(_matches(parts, pattern) for pattern in FILES)


def _matches(path: PurePosixPath, pattern: str) -> bool:
    return len(path.parts) == len(PurePosixPath(pattern).parts) and path.match(pattern)


def write_recording(path: Path, header: Header, frames: Iterable[Frame]) -> None:
    """Write a recording in one piece; the file appears when it is whole. Raises NoSpace."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as out:
        for line in (asdict(header), *(asdict(frame) for frame in frames)):
            out.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
    durable.write_bytes(path, packed.getvalue())


def read_recording(path: Path) -> tuple[Header, Iterator[Frame]]:
    """Return the header and the frames, read as they are asked for; raises BadInput for what is no recording."""
    lines = _lines(path)
    try:
        first = next(lines)
    except StopIteration as end:
        raise BadInput(f"{path.name} is empty", hint="make one with `realm tavern record`") from end
    if first.get("format") != FORMAT:
        raise BadInput(f"{path.name} is of format {first.get('format')!r}, not {FORMAT}")
    try:
        header = Header(**first)
        parse_stamp(header.began)
    except (TypeError, ValueError) as error:
        raise BadInput(f"the header of {path.name} is malformed: {error}") from error
    return header, _frames(path, lines)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with gzip.open(path, "rb") as packed:
            number = 0
            while line := packed.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise BadInput(f"line {number} of {path.name} is longer than {MAX_LINE} bytes")
                found = json.loads(line)
                if not isinstance(found, dict):
                    raise BadInput(f"line {number} of {path.name} is not an object")
                yield found
    except (OSError, EOFError, ValueError, RecursionError) as error:
        raise BadInput(f"{path.name} cannot be read as a recording: {error}") from error


def _frames(path: Path, lines: Iterator[dict[str, Any]]) -> Iterator[Frame]:
    for line in lines:
        try:
            frame = Frame(**line)
        except TypeError as error:
            raise BadInput(f"a frame of {path.name} is malformed: {error}") from error
        strange = [name for name in frame.files if not may_hold(name)]
        if strange:
            raise BadInput(f"{path.name} holds a file no recording may hold: {strange[0]}")
        yield frame


def shift_stamps(text: str, began: datetime, start: datetime, speed: float) -> str:
    """Move every time in a text from the recording's clock to the replay's; what came before it keeps its age. Pure."""

    def moved(found: re.Match[str]) -> str:
        since = (parse_stamp(found[0]) - began).total_seconds()
        return stamp(start + timedelta(seconds=since / speed if since > 0 else since))

    return _STAMP.sub(moved, text)
