"""Packing: several rows in one sequence, each seeing only itself.

Isolation is an explicit block mask, or positions that restart without any mask (transformers builds the block mask from
them for sdpa). An all-ones 2-D mask beside restarting positions lets rows see each other: `refuse_leak` stops it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

import torch

from realm.arena.formation.rows import EncodedRow
from realm.arena.formation.tensors import MicroBatch, refuse_untrained
from realm.core.errors import BadInput

ISOLATED_ATTENTION = ("sdpa",)  # implementations for which packed equals alone is tested


def plan_packs(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Best-fit decreasing: return packs of positions in `lengths`, each pack at most `capacity` tokens.

    Every row is in exactly one pack; the result is a function of the arguments. Raises BadInput for a row longer than
    the capacity.
    """
    packs: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (free tokens, pack), sorted
    for row in sorted(range(len(lengths)), key=lambda n: (-lengths[n], n)):
        if lengths[row] > capacity:
            raise BadInput(f"row {row} has {lengths[row]} tokens, a pack holds {capacity}")
        place = bisect_left(room, (lengths[row], -1))
        if place == len(room):
            packs.append([row])
            insort(room, (capacity - lengths[row], len(packs) - 1))
            continue
        free, pack = room.pop(place)
        packs[pack].append(row)
        insort(room, (free - lengths[row], pack))
    return packs


def pack_rows(rows: Sequence[EncodedRow], *, explicit: bool = True) -> MicroBatch:
    """Lay rows one after another in a sequence [1, total] with restarting positions.

    `explicit`: with a bool block mask [1, 1, total, total]; else positions alone. Raises NothingTrained.
    """
    ids = [token for row in rows for token in row.ids]
    positions = [place for row in rows for place in range(len(row))]
    at: list[int] = []
    begin = 0
    for row in rows:
        at += [begin + place - 1 for place in range(1, len(row)) if row.trained[place]]
        begin += len(row)
    refuse_untrained(at, rows)
    targets = [ids[place + 1] for place in at]
    mask = block_mask([len(row) for row in rows]) if explicit else None
    return MicroBatch(torch.tensor([ids]), torch.tensor([positions]), mask, torch.tensor(at), torch.tensor(targets),
                      len(ids), tuple(row.index for row in rows))  # fmt: skip


def unpack(batch: MicroBatch) -> list[list[int]]:
    """Return the ids of each row of a packed sequence, cut where positions restart."""
    if batch.positions is None:
        raise BadInput("only a packed batch can be unpacked")
    starts = (batch.positions[0] == 0).nonzero().flatten().tolist()
    ids: list[int] = batch.ids[0].tolist()
    return [ids[begin:end] for begin, end in zip(starts, [*starts[1:], len(ids)], strict=True)]


def block_mask(lengths: Sequence[int]) -> torch.Tensor:
    """Return a bool mask [1, 1, total, total]: True where a token may look, itself and earlier tokens of its own row."""
    row = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    return (row[:, None] == row[None, :]).tril()[None, None]


def refuse_leak(positions: torch.Tensor | None, mask: torch.Tensor | None, attention: str) -> None:
    """Raise BadInput when packed rows could see each other with this mask and attention implementation."""
    packed = positions is not None and int((positions == 0).sum()) > positions.shape[0]
    if not packed:
        return
    if attention not in ISOLATED_ATTENTION:
        raise BadInput(f"packing is not isolated with attention {attention!r}", hint="use sdpa, or batching: buckets")
    if mask is not None and mask.dim() != 4:
        raise BadInput("packed rows with a flat attention mask would see each other", hint="give a block mask or none")
