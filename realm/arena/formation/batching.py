"""Order of rows: which rows form which optimiser step, as a pure function of lengths and seed."""

from __future__ import annotations

import random
from collections.abc import Sequence

WINDOW = 8  # steps sorted together: less padding, yet every step still draws from eight steps' worth of rows


def plan_batches(lengths: Sequence[int], rows_per_step: int, seed: int, *, window: int = WINDOW) -> list[list[int]]:
    """Return the rows (positions in `lengths`) of every step; each row occurs exactly once.

    Rows are shuffled, sorted by length inside windows of `window` steps, cut into steps, and steps shuffled. The result
    depends on the arguments alone, so a cursor into the list is all that is needed to resume.
    """
    source = random.Random(seed)
    order = list(range(len(lengths)))
    source.shuffle(order)
    span = rows_per_step * max(1, window)
    ordered = [
        row for at in range(0, len(order), span) for row in sorted(order[at : at + span], key=lambda n: lengths[n])
    ]
    steps = [ordered[at : at + rows_per_step] for at in range(0, len(ordered), rows_per_step)]
    source.shuffle(steps)
    return steps


def split_micro(rows: Sequence[int], batch_size: int) -> list[list[int]]:
    """Cut one step's rows into micro-batches of at most `batch_size` rows."""
    return [list(rows[at : at + batch_size]) for at in range(0, len(rows), batch_size)]
