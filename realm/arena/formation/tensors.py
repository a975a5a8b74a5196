"""Micro-batches as tensors: right-padded rows without a mask, or packed rows with an explicit block mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from realm.arena.formation.rows import EncodedRow, NothingTrained


@dataclass(frozen=True)
class MicroBatch:
    """Model input and what is trained in it.

    `ids` [rows, length]; `positions` [rows, length] or None for 0..length-1; `mask` None (plain causal) or bool
    [rows, 1, length, length], True where attention is allowed; `at` flat positions in rows*length whose hidden state
    predicts a trained token; `targets` those tokens; `tokens` real tokens without padding; `indices` quest rows.
    """

    ids: torch.Tensor
    positions: torch.Tensor | None
    mask: torch.Tensor | None
    at: torch.Tensor
    targets: torch.Tensor
    tokens: int
    indices: tuple[int, ...]


def pad_rows(rows: Sequence[EncodedRow], pad_id: int, *, multiple: int = 1) -> MicroBatch:
    """Lay rows side by side, padded on the right; causal attention never sees what follows, so no mask is needed.

    Raises NothingTrained when no token of the batch is trained.
    """
    width = -(-max(len(row) for row in rows) // multiple) * multiple
    ids = [row.ids + [pad_id] * (width - len(row)) for row in rows]
    at, targets = [], []
    for number, row in enumerate(rows):
        for place in range(1, len(row)):
            if row.trained[place]:
                at.append(number * width + place - 1)
                targets.append(row.ids[place])
    refuse_untrained(at, rows)
    return MicroBatch(torch.tensor(ids), None, None, torch.tensor(at), torch.tensor(targets),
                      sum(map(len, rows)), tuple(row.index for row in rows))  # fmt: skip


def refuse_untrained(at: Sequence[int], rows: Sequence[EncodedRow]) -> None:
    """Raise NothingTrained naming the rows when `at` is empty."""
    if not at:
        named = ", ".join(str(row.index) for row in rows[:10])
        raise NothingTrained(
            f"no token is trained in the batch of rows {named}", hint="every row needs an assistant answer"
        )
