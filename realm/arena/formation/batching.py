"""Order of rows: which rows form which optimiser step, and how a step is cut, as pure functions."""

from __future__ import annotations

import random
from collections.abc import Sequence

START_COST = 85.0
GPU_START_COST = 1000.0
LONG_ROW = 430.0  # tokens at which attention costs as much as everything else; measured with the lean forward, width 128


def plan_batches(lengths: Sequence[int], rows_per_step: int, seed: int) -> list[list[int]]:
    """Return the rows (positions in `lengths`) of every step; each row occurs exactly once.

    The result depends on the arguments alone, so a cursor into the list is all that is needed to resume. Steps are random
    draws: a step of equally long rows is a biased sample of the quest (measured on BIN: 2.6 times more steps to learn), so
    rows are sorted by length only inside a step, by `split_micro`.
    """
    order = list(range(len(lengths)))
    random.Random(seed).shuffle(order)
    return [order[at : at + rows_per_step] for at in range(0, len(order), rows_per_step)]


def split_micro(lengths: Sequence[int], batch_size: int, start_cost: float = START_COST) -> list[list[int]]:
    """Cut one step into micro-batches of at most `batch_size` rows of similar length; returns positions in `lengths`.

    The cut with the least estimated time: a micro-batch costs `start_cost` (in tokens), every padded token one, and more
    in long rows, whose attention grows with the length. Found exactly, over rows sorted by length. Ties keep the order
    of the step, so the result is a function of the arguments.
    """
    order = sorted(range(len(lengths)), key=lambda n: lengths[n])
    least, cut = [0.0], [0]
    for end in range(1, len(order) + 1):
        width = lengths[order[end - 1]]
        row_cost = width * (1 + width / LONG_ROW)
        first = max(0, end - batch_size)
        cost, begin = min((least[at] + (end - at) * row_cost, at) for at in range(first, end))
        least.append(cost + start_cost)
        cut.append(begin)
    parts, end = [], len(order)
    while end:
        parts.append(order[cut[end] : end])
        end = cut[end]
    return parts[::-1]


def split_flat(lengths: Sequence[int], batch_size: int, tokens: int) -> list[list[int]]:
    """Cut one step into parts of at most `batch_size` rows and about `tokens` tokens that are laid without padding.

    Rows are sorted by length, so that equal ones stand together; a part is closed when the next row would overfill it.
    Returns positions in `lengths`, a function of the arguments.
    """
    parts: list[list[int]] = []
    held = 0
    for row in sorted(range(len(lengths)), key=lambda n: lengths[n]):
        if not parts or len(parts[-1]) == batch_size or held + lengths[row] > tokens:
            parts.append([])
            held = 0
        parts[-1].append(row)
        held += lengths[row]
    return parts


def split_lanes(lengths: Sequence[int], batch_size: int, tokens: int, lanes: int) -> list[list[int]]:
    """Cut one step as `split_flat` does, into as many parts of about equal cost as lanes, or a multiple of it.

    All lanes together hold about `tokens` tokens at a time. Returns positions in `lengths`, a function of the arguments.
    """
    order = sorted(range(len(lengths)), key=lambda n: lengths[n])
    costs = [lengths[n] * (1 + lengths[n] / LONG_ROW) for n in order]
    parts = lanes * max(1, round(sum(lengths) / tokens), -(-len(order) // (batch_size * lanes)))
    share, spent = sum(costs) / parts, 0.0
    cut: list[list[int]] = [[] for _ in range(parts)]
    for row, cost in zip(order, costs, strict=True):
        cut[min(parts - 1, int((spent + cost / 2) / share))].append(row)
        spent += cost
    return [part[at : at + batch_size] for part in cut for at in range(0, len(part), batch_size)]


def start_cost(hidden: int, device: str) -> float:
    """Return the tokens whose computation takes as long as starting one micro-batch, by the model's width.

    Measured on one CPU core: about 85 at width 128, where kernels are started faster than they compute; the cost of a
    token grows with the width, that of a start does not. A GPU computes many tokens in the time of a start.
    """
    return GPU_START_COST if device != "cpu" else START_COST * (128 / hidden) ** 1.5
