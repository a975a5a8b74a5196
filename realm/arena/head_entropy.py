"""Cross entropy of a large vocabulary in parts: each part's logits live once, its gradients are computed beside its loss.

Nothing is kept or computed again for the backward pass but the gradients of hidden states and of the head. The idea is that
of fused linear cross entropy (Hsu et al., "Liger Kernel", 2024), here on torch's own kernels for a CPU or a GPU in fp32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


class HeadEntropy(Function):
    """Summed cross entropy of hidden [n, width] through weight [vocabulary, width]; `at_once` positions a part."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, at_once: int) -> Tensor:
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        d_hidden = torch.empty_like(hidden) if needs_hidden else None
        d_weight = torch.zeros_like(weight) if needs_weight else None
        total = hidden.new_zeros(())
        room = hidden.new_empty(min(at_once, len(targets)), len(weight))
        for begin in range(0, len(targets), at_once):
            part = slice(begin, begin + at_once)
            places = torch.arange(len(targets[part]), device=hidden.device), targets[part]
            logits = torch.mm(hidden[part], weight.T, out=room[: len(targets[part])])
            right, largest = logits[places], logits.amax(-1, keepdim=True)
            powers = logits.sub_(largest).exp_()
            sums = powers.sum(-1, keepdim=True)
            total += (largest.squeeze(-1) + sums.squeeze(-1).log() - right).sum()
            # Softmax and its gradient times the sums; the sums are divided out where there are fewer numbers.
            powers[places] -= sums.squeeze(-1)
            if d_hidden is not None:
                torch.mm(powers, weight, out=d_hidden[part]).div_(sums)
            if d_weight is not None:
                d_weight.addmm_(powers.T, hidden[part] / sums)
        ctx.save_for_backward(d_hidden, d_weight)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_weight = ctx.saved_tensors
        # Scaled in place: autograd refuses a second backward.
        hidden = None if d_hidden is None else d_hidden.mul_(grads[0])
        return hidden, None if d_weight is None else d_weight.mul_(grads[0]), None, None
