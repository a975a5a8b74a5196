"""The text of the journal: one JSON object a line, closed by a checksum of what stands before it.

Format `realm.journal/1`. First line of a file: {"format", "generation", "schema", "base", "seq", "mark", "c"}; then rows
{"n": seq, "m": mark, "t": table, "k": primary key, "r": row or null when it is gone, "c": CRC-32}. Bytes are {"hex": ...}.
A base ends with {"end": rows, "c": ...}.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

from realm.core.changes import Change, Place

FORMAT = "realm.journal/1"


def write_line(told: dict[str, Any]) -> bytes:
    """Return an object as a line with its checksum."""
    text = json.dumps(told, ensure_ascii=False, default=_bytes).encode()
    return b'%s, "c": "%08x"}\n' % (text[:-1], zlib.crc32(text[:-1]))


def _bytes(value: object) -> dict[str, str]:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    raise TypeError(f"a row holds a {type(value).__name__}")


def read_line(line: bytes) -> dict[str, Any] | None:
    """Return the object of a line, None when its checksum does not fit."""
    text, comma, rest = line.rpartition(b', "c": "')
    if not comma or rest.rstrip(b"\n") != b'%08x"}' % zlib.crc32(text):
        return None
    try:
        found = json.loads(text + b"}")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def header(generation: int, schema: int, base: bool, place: Place) -> bytes:
    """Return the first line of a file: what follows comes after `place`; `base` says whether a base precedes it."""
    told = {"format": FORMAT, "generation": generation, "schema": schema, "base": base, "seq": place.seq, "mark": place.mark}
    return write_line(told)


def row_line(change: Change, row: dict[str, Any] | None) -> bytes:
    """Return the line of a change with its row."""
    return write_line({"n": change.place.seq, "m": change.place.mark, "t": change.table, "k": list(change.key), "r": row})


def place_of(told: dict[str, Any]) -> Place:
    """Return the place of a line: of a row, or where a header says that it begins."""
    return Place(told["n"], told["m"]) if "n" in told else Place(told["seq"], told["mark"])


def values_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a row as SQLite takes them."""
    return {name: bytes.fromhex(value["hex"]) if isinstance(value, dict) else value for name, value in row.items()}
