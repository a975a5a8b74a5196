"""Gradients of several micro-batches at once: each lane is a thread that computes on one core.

A small model's kernels are too short to be shared between cores, whole micro-batches are not; torch sets the interpreter
free while a kernel runs. Every lane keeps its sums to itself and they are added in the order of the lanes, so the result
depends on the rows and the number of threads alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from realm.arena.formation.tensors import MicroBatch

# Of a lane, tokens x width x width: with less work the starts of kernels outweigh what another core brings. Measured on two
# idle cores: at width 64 lanes of 500 tokens lose a tenth, of 1,000 gain a quarter; at width 128 lanes of 256 gain a tenth.
LEAST_WORK = 2**22
MOST_WEIGHTS = 2**24  # every lane holds gradients of its own, and the kernels of a larger model are long enough to be shared


@contextmanager
def one_core_each() -> Iterator[None]:
    """Compute every kernel on the core that starts it; threads whose first kernel starts meanwhile keep to that."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Lanes:
    """`count` lanes for a model of width `hidden`: the calling thread and others that are kept."""

    def __init__(self, count: int, hidden: int) -> None:
        self.count, self.least_tokens = count, LEAST_WORK / hidden**2
        self._others = ThreadPoolExecutor(count - 1, thread_name_prefix="lane")

    def worth(self, tokens: int) -> int:
        """Return how many lanes a step of so many tokens is worth."""
        return max(1, min(self.count, int(tokens / self.least_tokens)))

    def add_gradients(
        self, loss_of: Callable[[MicroBatch], Tensor], micros: Sequence[MicroBatch], weights: Sequence[nn.Parameter]
    ) -> float:
        """Add the gradients of the sum of the micro-batches' losses to each weight's `grad`; returns that sum.

        Micro-batches are dealt in turn. What `loss_of` raises is raised when all lanes have ended.
        """
        dealt = [micros[number :: self.count] for number in range(min(self.count, len(micros)))]
        with one_core_each():
            others = [self._others.submit(_sums, loss_of, part, weights) for part in dealt[1:]]
            try:
                found = [_sums(loss_of, dealt[0], weights)]
            finally:
                wait(others)
        found += [other.result() for other in others]
        for _, grads in found:
            _add([weight.grad for weight in weights if weight.grad is not None], grads)
        return sum(loss for loss, _ in found)


def _add(into: list[Tensor], more: list[Tensor]) -> None:
    """Add tensor by tensor, in place."""
    torch._foreach_add_(into, more)


def _sums(
    loss_of: Callable[[MicroBatch], Tensor], micros: Sequence[MicroBatch], weights: Sequence[nn.Parameter]
) -> tuple[float, list[Tensor]]:
    """Return the summed loss of some micro-batches and its gradients."""
    total, sums = 0.0, list[Tensor]()
    for micro in micros:
        loss = loss_of(micro)
        grads = list(torch.autograd.grad(loss, weights))
        total += float(loss.detach())
        if sums:
            _add(sums, grads)
        else:
            sums = grads
    return total, sums
