"""What a transfer reads from: another zone, or a stronghold; both only ever offer, the receiver verifies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from realm.vault.keeper.assets import AssetManifest
from realm.vault.ledger import Record

CHUNK = 8 * 1024**2
BLOCK = 1024**2


@dataclass(frozen=True)
class Offer:
    """An asset as the other side describes it, and how it hands it out."""

    asset: AssetManifest
    chunk: int = CHUNK


@dataclass(frozen=True)
class Chunk:
    """Bytes under way; `digest` is the SHA-256 of the file from its first byte to this chunk's end (None: not told)."""

    digest: str | None
    blocks: Iterator[bytes]


class Source(Protocol):
    """A place assets come from. Raises Unavailable when it can be asked again, other RealmErrors when not."""

    def offer(self, asset_id: str) -> Offer: ...

    def line(self, asset: AssetManifest) -> list[Record]:
        """Return the records from the first parent to the checkpoint itself; of other assets none."""
        ...

    def chunk(self, asset: AssetManifest, number: int, start: int, length: int) -> AbstractContextManager[Chunk]: ...
