"""Parameters gathered into few large buffers, so that an optimiser step is a handful of kernels.

Each parameter becomes a view of its buffer, and so does its gradient: the model trains as before, the optimiser sees
one tensor per group. Matrices of equal shape are stacked (for Muon), everything else lies in one flat vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from realm.core.errors import Corrupt


@dataclass(frozen=True)
class Buffer:
    """Parameters `names` as views of `weights`, their gradients as views of `grads` (same shape).

    A stacked buffer is [n, rows, columns] with rows <= columns (tall matrices are stored transposed), a flat one
    [total].
    """

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]
    weights: torch.Tensor
    grads: torch.Tensor
    transposed: tuple[bool, ...]

    @property
    def stacked(self) -> bool:
        """Whether this buffer holds equal matrices, as Muon needs them."""
        return self.weights.dim() == 3

    def views(self, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return name → view with the parameter's own shape, of a tensor laid out like `weights`."""
        if self.stacked:
            return {
                name: tensor[number].T if self.transposed[number] else tensor[number]
                for number, name in enumerate(self.names)
            }
        sizes = [shape.numel() for shape in self.shapes]
        parts = torch.split(tensor, sizes)
        return {name: part.view(shape) for name, part, shape in zip(self.names, parts, self.shapes, strict=True)}


def gather(model: nn.Module, stacked_names: Sequence[str], apart_below: int = 0) -> list[Buffer]:
    """Move every trainable parameter into buffers; those in `stacked_names` by shape, the rest into one flat buffer.

    Parameters of fewer than `apart_below` weights get a flat buffer of their own, the last one.

    Shared parameters (tied embeddings) are one. The order follows the model, so equal models give equal buffers.
    """
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    groups: dict[tuple[int, int], list[str]] = {}
    for name in (n for n in trainable if n in set(stacked_names)):
        rows, columns = trainable[name].shape
        groups.setdefault((min(rows, columns), max(rows, columns)), []).append(name)
    buffers = [_stack(trainable, names, shape) for shape, names in groups.items()]
    rest = [name for name in trainable if name not in set(stacked_names)]
    small = [name for name in rest if trainable[name].numel() < apart_below]
    large = [name for name in rest if trainable[name].numel() >= apart_below]
    return [*buffers, *(_flatten(trainable, names) for names in (large, small) if names)]


def _stack(trainable: dict[str, nn.Parameter], names: list[str], shape: tuple[int, int]) -> Buffer:
    first = trainable[names[0]]
    weights = torch.empty(len(names), *shape, dtype=first.dtype, device=first.device)
    shapes = tuple(trainable[name].shape for name in names)
    return _bind(
        trainable, Buffer(tuple(names), shapes, weights, torch.zeros_like(weights), tuple(s[0] > s[1] for s in shapes))
    )


def _flatten(trainable: dict[str, nn.Parameter], names: list[str]) -> Buffer:
    first = trainable[names[0]]
    shapes = tuple(trainable[name].shape for name in names)
    weights = torch.empty(sum(shape.numel() for shape in shapes), dtype=first.dtype, device=first.device)
    return _bind(trainable, Buffer(tuple(names), shapes, weights, torch.zeros_like(weights), (False,) * len(names)))


def _bind(trainable: dict[str, nn.Parameter], buffer: Buffer) -> Buffer:
    grads = buffer.views(buffer.grads)
    for name, view in buffer.views(buffer.weights).items():
        parameter = trainable[name]
        view.copy_(parameter.data)
        parameter.data = view
        parameter.grad = grads[name]
    return buffer


def norm_of(tensors: Iterable[torch.Tensor]) -> float:
    """Return the Euclidean norm over all numbers of some tensors."""
    return float(torch.stack([tensor.norm() for tensor in tensors]).norm())


def to_named(
    buffers: Sequence[Buffer], tensors: Sequence[torch.Tensor], prefix: str = "", *, live: bool = False
) -> dict[str, torch.Tensor]:
    """Return prefix + parameter name → contiguous copy, for tensors laid out like the buffers.

    `live`: the tensors themselves where they lie contiguously, for a reader that is done before they change.
    """
    return {
        prefix + name: view.detach().contiguous() if live else view.detach().clone(memory_format=torch.contiguous_format)
        for buffer, tensor in zip(buffers, tensors, strict=True)
        for name, view in buffer.views(tensor).items()
    }


def from_named(
    buffers: Sequence[Buffer], tensors: Sequence[torch.Tensor], saved: Mapping[str, torch.Tensor], prefix: str = ""
) -> None:
    """Copy named tensors back into tensors laid out like the buffers; raises Corrupt on a missing name or shape."""
    for buffer, tensor in zip(buffers, tensors, strict=True):
        for name, view in buffer.views(tensor).items():
            found = saved.get(prefix + name)
            if found is None or found.shape != view.shape:
                raise Corrupt(f"saved state has no {prefix + name} of shape {tuple(view.shape)}")
            view.copy_(found)
