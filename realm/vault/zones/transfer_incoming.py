"""The folder in which a transfer is assembled: `.incoming/<transfer id>/` beside its final place, on the same disk.

`asset.json` is the manifest, `files/` the bytes, `journal` one line "<file number> <bytes> <sha256 of these bytes>" for
each chunk that was verified. Bytes after the last line count for nothing, so nothing here needs an fsync: what a power
cut tears is found by the digests of the journal.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from realm.core import durable
from realm.core.errors import Conflict, Corrupt
from realm.vault.keeper.assets import AssetManifest

FOLDER = ".incoming"
BLOCK = 1024**2


class Part:
    """One file under way: `take` adds bytes, `keep` ends a chunk, `drop` forgets the bytes since the last kept one."""

    def __init__(self, incoming: Incoming, number: int, handle: IO[bytes], offset: int, hasher: Any) -> None:
        self._incoming, self._number, self._handle = incoming, number, handle
        self.kept, self._kept_hash = offset, hasher
        self._hash, self._at = hasher.copy(), offset
        self._handle.seek(offset)
        self._handle.truncate()

    def take(self, block: bytes) -> None:
        """Write and hash a block; raises NoSpace on a full disk."""
        with durable.disk_errors(self._incoming.folder):
            left = memoryview(block)
            while left:
                left = left[self._handle.write(left) :]
        self._hash.update(block)
        self._at += len(block)

    @property
    def digest(self) -> str:
        """SHA-256 of the file from its first byte to here."""
        return str(self._hash.hexdigest())

    def keep(self) -> None:
        """Count what was taken as verified."""
        self._incoming.note(self._number, self._at, self.digest)
        self.kept, self._kept_hash = self._at, self._hash.copy()

    def drop(self) -> None:
        """Forget what was taken since the last `keep`."""
        self._hash, self._at = self._kept_hash.copy(), self.kept
        self._handle.seek(self.kept)
        self._handle.truncate()


class Incoming:
    """An open folder of one transfer, held by a lock that the kernel frees when its process dies."""

    def __init__(self, folder: Path, asset: AssetManifest) -> None:
        self.folder, self._asset = folder, asset
        self.files = folder / "files"
        self._kept = self._read_journal()

    def _read_journal(self) -> dict[int, dict[int, str]]:
        found: dict[int, dict[int, str]] = {}
        path = self.folder / "journal"
        for line in path.read_text(errors="replace").splitlines(keepends=True) if path.is_file() else ():
            words = line.split()
            if line.endswith("\n") and len(words) == 3 and words[0].isdigit() and words[1].isdigit():
                found.setdefault(int(words[0]), {})[int(words[1])] = words[2]
        return found

    def note(self, number: int, offset: int, digest: str) -> None:
        """Add a line to the journal."""
        self._kept.setdefault(number, {})[offset] = digest
        with durable.disk_errors(self.folder), durable.open_append(self.folder / "journal") as journal:
            journal.write(f"{number} {offset} {digest}\n")

    def forget(self, number: int) -> None:
        """Forget a whole file: its chunks agreed with the other side, but not with the manifest."""
        for offset in list(self._kept.get(number, {})):
            self._kept[number].pop(offset)
            with durable.disk_errors(self.folder), durable.open_append(self.folder / "journal") as journal:
                journal.write(f"{number} {offset} -\n")
        self.path(number).unlink(missing_ok=True)

    def path(self, number: int) -> Path:
        return self.files / self._asset.files[number].path

    def there(self) -> int:
        """Return how many bytes the journal calls verified."""
        return sum(max(offsets, default=0) for offsets in self._kept.values())

    @contextmanager
    def part(self, number: int) -> Iterator[Part]:
        """Open a file where its last verified chunk ends; the bytes before it are read again and compared."""
        path = self.path(number)
        with durable.disk_errors(self.folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = durable.open_part(path)
        with handle:
            offset, hasher = _verified(handle, self._kept.get(number, {}))
            yield Part(self, number, handle, offset, hasher)

    def finish(self, number: int) -> None:
        """Flush a complete file to the disk."""
        with durable.disk_errors(self.folder):
            durable.fsync_file(self.path(number))


def _verified(handle: IO[bytes], kept: dict[int, str]) -> tuple[int, Any]:
    """Return the largest offset up to which the bytes have the journal's digest, with the hash of these bytes."""
    best, hasher = (0, hashlib.sha256()), hashlib.sha256()
    at = 0
    for offset in sorted(kept):
        while at < offset and (block := handle.read(min(BLOCK, offset - at))):
            hasher.update(block)
            at += len(block)
        if at < offset or hasher.hexdigest() != kept[offset]:
            break
        best = (offset, hasher.copy())
    return best


@contextmanager
def open_incoming(parent: Path, transfer_id: str, asset: AssetManifest) -> Iterator[Incoming]:
    """Open a transfer's folder, new or as it was left; one that was begun for other bytes begins anew.

    Raises Conflict while another process works on it, NoSpace on a full disk.
    """
    folder = parent / FOLDER / transfer_id
    with durable.disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(f"another process works on transfer {transfer_id}", hint="wait until it ended") from error
        _settle(folder, asset)
        yield Incoming(folder, asset)
    finally:
        os.close(lock)


def _settle(folder: Path, asset: AssetManifest) -> None:
    told = folder / "asset.json"
    try:
        same = told.is_file() and AssetManifest.model_validate_json(told.read_bytes()) == asset
    except ValueError:
        same = False
    if not same:
        for name in ("journal", "asset.json"):
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / "files", ignore_errors=True)
        durable.write_text(told, asset.model_dump_json())
    (folder / "files").mkdir(exist_ok=True)


def remove_incoming(parent: Path, transfer_id: str) -> None:
    """Remove what a transfer left; nothing happens when it left nothing."""
    folder = parent / FOLDER / transfer_id
    if folder.is_dir():
        durable.remove_tree(folder)


def read_asset(folder: Path) -> AssetManifest:
    """Return the manifest of a transfer's folder; raises Corrupt."""
    try:
        return AssetManifest.model_validate_json((folder / "asset.json").read_bytes())
    except (OSError, ValueError) as error:
        raise Corrupt(f"{folder.name} holds no readable asset.json") from error
