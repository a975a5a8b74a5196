"""The giving side: chunks of an asset's files with the digest of everything up to their end, read ahead by one.

The digest of a chunk is the SHA-256 of the file from its first byte to the chunk's end, so one hash on each side proves the
chunk and, with the last one, the file.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from realm.core.errors import BadInput, Conflict, Corrupt
from realm.core.paths import Paths
from realm.vault.keeper.asset_files import manifest_of, open_file
from realm.vault.keeper.assets import AssetFile, AssetManifest
from realm.vault.zones.transfer_source import BLOCK, CHUNK

# Hash states at chunk ends (a few hundred bytes each) and chunks read ahead (a chunk each) that are kept.
STATES, AHEAD = 256, 2


@dataclass(frozen=True)
class Piece:
    """A chunk: its bytes and the digest of the file up to its end."""

    data: memoryview
    digest: str


_Key = tuple[str, int, int]


class ChunkDesk:
    """Hands out chunks; a receiver that goes on where it was costs one read and one hash a byte."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._lock = threading.Lock()
        self._states: OrderedDict[_Key, Any] = OrderedDict()
        self._ahead: OrderedDict[tuple[_Key, int], Future[Piece]] = OrderedDict()
        self._pool = ThreadPoolExecutor(2, "read-ahead")  # its threads end with the process
        # At most this many chunks are in memory for answers.
        self._room = threading.BoundedSemaphore(8)

    def piece(self, asset_id: str, digest: str, number: int, start: int, length: int) -> Piece:
        """Return bytes of one file of an asset.

        Raises Conflict when the asset is not `digest` any more, BadInput for a range that is none, Unknown, Corrupt.
        """
        asset = manifest_of(self._paths, asset_id)
        if asset.digest != digest:
            raise Conflict(f"{asset_id} is {asset.digest[:16]} here, not {digest[:16]}", hint="ask for its manifest again")
        if not 0 <= number < len(asset.files):
            raise BadInput(f"{asset_id} has {len(asset.files)} files, none with number {number}")
        file = asset.files[number]
        if not (0 <= start < file.size and 0 < length <= CHUNK and start + length <= file.size):
            raise BadInput(f"{length} bytes from {start} on are no chunk of {file.size} bytes", hint=f"at most {CHUNK} bytes")
        with self._lock:
            waiting = self._ahead.pop(((asset.digest, number, start), length), None)
        with self._room:
            found = waiting.result() if waiting is not None else self._read(asset, number, start, length)
        self._read_ahead(asset, number, start + length)
        return found

    def _read_ahead(self, asset: AssetManifest, number: int, start: int) -> None:
        length = min(CHUNK, asset.files[number].size - start)
        if length <= 0:
            return
        key = ((asset.digest, number, start), length)
        with self._lock:
            if key not in self._ahead:
                self._ahead[key] = self._pool.submit(self._read, asset, number, start, length)
            while len(self._ahead) > AHEAD:
                self._ahead.popitem(last=False)[1].cancel()

    def _read(self, asset: AssetManifest, number: int, start: int, length: int) -> Piece:
        file = asset.files[number]
        with open_file(self._paths, asset.id, file.path) as handle:
            hasher = self._state(asset, file, number, start, handle)
            handle.seek(start)
            data = memoryview(bytearray(length))
            # Block by block, so that what is hashed is still in the processor's cache.
            for at in range(0, length, BLOCK):
                block = data[at : at + BLOCK]
                if handle.readinto(block) != len(block):
                    raise Corrupt(f"{asset.id}/{file.path} ended before byte {start + length}")
                hasher.update(block)
        self._keep((asset.digest, number, start + length), hasher)
        return Piece(data, str(hasher.hexdigest()))

    def _state(self, asset: AssetManifest, file: AssetFile, number: int, start: int, handle: Any) -> Any:
        """Return the hash of a file's first `start` bytes: a kept one, or by reading them."""
        with self._lock:
            known = self._states.get((asset.digest, number, start))
        if known is not None:
            return known.copy()
        hasher, left = hashlib.sha256(), start
        while left and (block := handle.read(min(BLOCK, left))):
            hasher.update(block)
            left -= len(block)
        if left:
            raise Corrupt(f"{asset.id}/{file.path} ended before byte {start}")
        return hasher

    def _keep(self, key: _Key, hasher: Any) -> None:
        with self._lock:
            self._states[key] = hasher.copy()
            while len(self._states) > STATES:
                self._states.popitem(last=False)
