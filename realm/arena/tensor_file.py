"""Reading a safetensors file tensor by tensor, each into memory of its own, so that a large state is never held twice.

Format (huggingface.co/docs/safetensors): eight bytes little-endian length of the header, a JSON header naming dtype, shape
and offsets of every tensor, the data. The library's own reader maps the file, which counts as resident memory as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from realm.core.errors import Corrupt

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "U8": torch.uint8, "I8": torch.int8, "BOOL": torch.bool,
}  # fmt: skip
LONGEST_HEADER = 100_000_000


class TensorFile(Mapping[str, torch.Tensor]):
    """Name → tensor of one file; every look-up reads the disk. Raises Corrupt for a file that is not whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if length > LONGEST_HEADER:
                    raise ValueError(f"a header of {length} bytes")
                header: dict[str, Any] = json.loads(file.read(length))
        except (OSError, ValueError, RecursionError) as error:
            raise Corrupt(f"{path.parent.name}/{path.name} is not a safetensors file: {error}") from error
        self._begin = 8 + length
        self._entries = {name: entry for name, entry in header.items() if name != "__metadata__"}

    def __getitem__(self, name: str) -> torch.Tensor:
        entry = self._entries[name]
        begin, end = entry["data_offsets"]
        tensor = torch.empty(entry["shape"], dtype=DTYPES[entry["dtype"]])
        if tensor.nbytes != end - begin:
            raise Corrupt(f"{self.path.name}: {name} has {end - begin} bytes, its shape needs {tensor.nbytes}")
        if tensor.nbytes:
            with self.path.open("rb", buffering=0) as file:
                file.seek(self._begin + begin)
                self._fill(file, memoryview(tensor.reshape(-1).view(torch.uint8).numpy()), name)  # type: ignore[arg-type]
        return tensor

    def _fill(self, file: Any, room: memoryview, name: str) -> None:
        while room:
            count = file.readinto(room)
            if not count:
                raise Corrupt(f"{self.path.name} ends inside {name}")
            room = room[count:]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
