"""Cross entropy in parts: loss and gradients of torch's own in double precision, for sure, wrong and far apart predictions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from realm.arena.head_entropy import HeadEntropy

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def plain(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(hidden @ weight.T, targets, reduction="sum")


def gradients(hidden: Tensor, weight: Tensor, targets: Tensor, loss_of: Loss) -> tuple[float, Tensor, Tensor]:
    """Return half the loss and its gradients."""
    one, other = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
    loss = loss_of(one, other, targets) * 0.5
    loss.backward()  # type: ignore[no-untyped-call]
    assert one.grad is not None
    assert other.grad is not None
    return float(loss.detach()), one.grad, other.grad


@pytest.mark.parametrize("at_once", [1, 7, 64])
@pytest.mark.parametrize("scale", [0.02, 1.0, 30.0])
def test_loss_and_gradients_are_those_of_cross_entropy(scale: float, at_once: int) -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(40, 16), torch.randn(500, 16) * scale
    likely = (hidden @ weight.T).argmax(-1)
    targets = torch.where(torch.arange(40) % 2 == 0, likely, torch.randint(500, (40,)))
    exact = gradients(hidden.double(), weight.double(), targets, plain)
    single = gradients(hidden, weight, targets, plain)
    parts = gradients(hidden, weight, targets, lambda h, w, t: HeadEntropy.apply(h, w, t, at_once))  # type: ignore[no-untyped-call]
    assert parts[0] == pytest.approx(exact[0], rel=1e-6)
    for mine, theirs, right in zip(parts[1:], single[1:], exact[1:], strict=True):
        size = right.norm()
        assert float((mine - right).norm() / size) <= 2 * float((theirs - right).norm() / size) + 1e-6


def test_only_what_is_trained_gets_a_gradient() -> None:
    torch.manual_seed(0)
    hidden, weight, targets = torch.randn(5, 4), torch.randn(9, 4, requires_grad=True), torch.arange(5)
    HeadEntropy.apply(hidden, weight, targets, 2).backward()  # type: ignore[no-untyped-call]
    assert hidden.grad is None
    assert weight.grad is not None
    with torch.no_grad():
        alone = HeadEntropy.apply(hidden, weight, targets, 2)  # type: ignore[no-untyped-call]
    assert float(alone) == pytest.approx(float(plain(hidden, weight, targets).detach()), rel=1e-6)
