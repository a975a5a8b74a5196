"""A checkpoint as a .tar of a plain Hugging Face folder: weights, config, tokenizer and a manifest; no optimiser state.

Format: POSIX tar (pax), made block by block so that no copy is written; every byte is compared with the manifest on its way.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from realm.core import manifest
from realm.core.clock import parse_stamp
from realm.core.errors import Corrupt
from realm.vault import ledger

FILES = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "vocab.json", "merges.txt", "chat_template.jinja", manifest.WEIGHTS,
)  # fmt: skip
BLOCK = 1024**2


class Export:
    """An open checkpoint: `size` is the length of the archive in bytes, iterating yields it once.

    All files are opened at once, so that a deletion meanwhile does not cut the archive short. Raises Corrupt when the
    folder and its manifest disagree in names or sizes; a byte that differs ends the stream before its announced length.
    """

    def __init__(self, folder: Path) -> None:
        told = manifest.check_sizes(folder)
        self.name = folder.name
        self._entries = {name: told["files"][name] for name in FILES if name in told["files"]}
        self._manifest = (json.dumps({**told, "files": self._entries}, ensure_ascii=False, indent=1) + "\n").encode()
        self._born = int(parse_stamp(ledger.read_record(folder / ledger.SIDECAR).timestamp).timestamp())
        self._stack = ExitStack()
        self._open = {name: self._stack.enter_context(_open(folder / name)) for name in self._entries}
        sizes = [len(self._manifest), *(entry["size"] for entry in self._entries.values())]
        heads = len(self._head(manifest.NAME, 0)) + sum(len(self._head(name, e["size"])) for name, e in self._entries.items())
        self.size = heads + sum(size + _padding(size) for size in sizes) + 2 * tarfile.BLOCKSIZE

    def _head(self, name: str, size: int) -> bytes:
        info = tarfile.TarInfo(f"{self.name}/{name}")
        info.size, info.mtime, info.mode = size, self._born, 0o644
        return info.tobuf(tarfile.PAX_FORMAT)

    def close(self) -> None:
        self._stack.close()

    def __iter__(self) -> Iterator[bytes]:
        with self._stack:
            yield self._head(manifest.NAME, len(self._manifest)) + self._manifest + bytes(_padding(len(self._manifest)))
            for name, entry in self._entries.items():
                yield self._head(name, entry["size"])
                yield from self._checked(name, entry)
                yield bytes(_padding(entry["size"]))
            yield bytes(2 * tarfile.BLOCKSIZE)

    def _checked(self, name: str, entry: dict[str, Any]) -> Iterator[bytes]:
        digest, left = hashlib.sha256(), int(entry["size"])
        while left > 0 and (block := self._open[name].read(min(BLOCK, left))):
            digest.update(block)
            left -= len(block)
            if left == 0 and digest.hexdigest() != entry["sha256"]:
                raise Corrupt(f"{self.name}/{name} does not match its manifest; the export was cut short")
            yield block
        if left:
            raise Corrupt(f"{self.name}/{name} ended {left} bytes early")


def _padding(size: int) -> int:
    return -size % tarfile.BLOCKSIZE


def _open(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
