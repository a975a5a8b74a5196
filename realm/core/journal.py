"""The journal: every committed row of the facts database once more, as lines of text outside of it, to rebuild it from.

After each commit the committing process appends what changed (no fsync: a killed process loses nothing, and after a power
cut the database, which is flushed, brings the journal up to date). `open.jsonl` grows; at CAP it is compressed. A database
that does not continue the journal's line (restored, rebuilt, upgraded) begins a new generation with a base of all its rows.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from realm.core import changes, durable
from realm.core.changes import START, Place
from realm.core.journal_lines import header, place_of, read_line, row_line, write_line

OPEN = "open.jsonl"
CAP = 4 * 1024**2
KEPT_GENERATIONS = 3
_TAIL = 16 * 1024
_LAST = 10**12 - 1


@dataclass(frozen=True)
class Tail:
    """Where the open file ends: its generation, the last place written, and the length of what is whole in it."""

    generation: int
    base: bool
    place: Place
    end: int


class Journal:
    """The journal of one facts database; safe for several processes and threads by a lock file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: tuple[tuple[int, int, int], Tail] | None = None
        self._tables: dict[str, tuple[str, ...]] | None = None  # asked once: a schema changes only when a database is opened

    def exists(self) -> bool:
        """Say whether anything was ever written."""
        return self.folder.is_dir() and any(self.folder.glob("*.jsonl*"))

    def follow(self, connection: sqlite3.Connection) -> int:
        """Append what was committed since the last line; returns the number of rows. Raises OSError, NoSpace."""
        if not self.folder.is_dir():
            if changes.newest(connection) == START:
                return 0
            self.folder.mkdir(parents=True, exist_ok=True)
        with durable.locked(self.folder / ".lock"), _one_look(connection):
            tail = self._tail()
            if tail is None or not changes.knows(connection, tail.place):
                tail = self._begin(connection, tail)
            return self._append(connection, tail)

    def settle(self, connection: sqlite3.Connection) -> None:
        """Flush the journal to the disk and drop the notes of what it holds; not for the training path."""
        self.follow(connection)
        path = self.folder / OPEN
        if not path.exists():
            return
        with durable.locked(self.folder / ".lock"):
            durable.fsync_file(path)
            tail = self._tail()
            if tail is not None and changes.knows(connection, tail.place):
                changes.forget_until(connection, tail.place)

    def _append(self, connection: sqlite3.Connection, tail: Tail) -> int:
        if changes.newest(connection) == tail.place:
            return 0
        keys = self._tables = self._tables or changes.followed(connection)
        found = changes.after(connection, tail.place, keys)
        if not found:
            return 0
        lines = [row_line(change, changes.row_of(connection, change, keys)) for change in found]
        block, path = b"".join(lines), self.folder / OPEN
        durable.write_at(path, tail.end, block)
        tail = Tail(tail.generation, tail.base, found[-1].place, tail.end + len(block))
        self._seen = (_look(path), tail)
        if tail.end > CAP:
            self._close(connection, tail)
        return len(lines)

    def _tail(self) -> Tail | None:
        """Return where the open file ends; None when there is none, or not one whole header in it."""
        path = self.folder / OPEN
        if not path.is_file():
            return None
        if self._seen is not None and self._seen[0] == _look(path):
            return self._seen[1]
        with path.open("rb") as handle:
            head = read_line(handle.readline(_TAIL))
            if head is None or "format" not in head:
                return None
            end, size = handle.tell(), path.stat().st_size
            start = max(end, size - _TAIL)
            handle.seek(start)
            last = _last_whole(handle.read(), start, cut=start > end)
            if last is None and start > end:
                handle.seek(end)
                last = _last_whole(handle.read(), end, cut=False)
        place, end = last or (place_of(head), end)
        return Tail(head["generation"], head["base"], place, end)

    def _close(self, connection: sqlite3.Connection, tail: Tail) -> None:
        """Compress the full file under the number it ends with, then begin the next; a crash between repeats rows only."""
        path = self.folder / OPEN
        whole = path.read_bytes()[: tail.end]
        durable.write_stream(self.folder / f"{tail.generation:04d}.{tail.place.seq:012d}.jsonl.gz", _compressed([whole]))
        durable.write_bytes(path, header(tail.generation, _schema(connection), tail.base, tail.place))

    def _begin(self, connection: sqlite3.Connection, tail: Tail | None) -> Tail:
        """Begin a generation: with a base of all rows, or for a database noted from its first row with nothing."""
        known = [int(path.name[:4]) for path in self.folder.glob("[0-9][0-9][0-9][0-9].*.jsonl.gz")]
        generation = max([*known, tail.generation if tail else 0]) + 1
        base = generation > 1 or not changes.whole_from_start(connection)
        place, schema = changes.newest(connection) if base else START, _schema(connection)
        if (self.folder / OPEN).is_file():
            # Without one whole header it cannot say what it belongs to; its whole lines are of use to a rebuild still.
            of, last = (tail.generation, tail.place.seq) if tail else (generation - 1, _LAST)
            old = (self.folder / OPEN).read_bytes()
            durable.write_stream(self.folder / f"{of:04d}.{last:012d}.jsonl.gz", _compressed([old]))
        if base:
            lines = _base(connection, header(generation, schema, base, place))
            durable.write_stream(self.folder / f"{generation:04d}.base.jsonl.gz", _compressed(lines))
        head = header(generation, schema, base, place)
        durable.write_bytes(self.folder / OPEN, head)
        for path in self.folder.glob("[0-9][0-9][0-9][0-9].*.jsonl.gz"):
            if int(path.name[:4]) <= generation - KEPT_GENERATIONS:
                durable.remove_file(path)
        return Tail(generation, base, place, len(head))


def _look(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _schema(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _last_whole(block: bytes, start: int, *, cut: bool) -> tuple[Place, int] | None:
    """Return place and end of the last whole line of a block that begins at `start`; `cut` when it begins inside a line."""
    if cut:
        head = block.find(b"\n") + 1
        start, block = start + head, block[head:]
    end = start + len(block)
    for line in reversed(block.splitlines(keepends=True)):
        told = read_line(line) if line.endswith(b"\n") else None
        if told is not None and "n" in told:
            return place_of(told), end
        end -= len(line)
    return None


def _compressed(blocks: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(6, wbits=31)  # gzip
    for block in blocks:
        yield packer.compress(block)
    yield packer.flush()


def _base(connection: sqlite3.Connection, head: bytes) -> Iterator[bytes]:
    yield head
    count = 0
    for table, key, row in changes.all_rows(connection):
        yield write_line({"t": table, "k": list(key), "r": row})
        count += 1
    yield write_line({"end": count})


@contextmanager
def _one_look(connection: sqlite3.Connection) -> Iterator[None]:
    """Several questions, one consistent view of the database."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")
