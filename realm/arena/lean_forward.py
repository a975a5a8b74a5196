"""A lean forward and backward for small Qwen3-shaped models on a CPU: the same mathematics as transformers, fewer passes.

Two autograd functions per layer with gradients written by hand: RMS norms share their statistics with the backward pass and
their gains are folded into the matrices that follow, short rows use plain batched products instead of a flash kernel, and
residuals ride in the matrix product. Source of the architecture: transformers, models/qwen3/modeling_qwen3.py; equality
of loss and gradients with it is tested.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

from realm.arena.formation.tensors import MicroBatch


@dataclass(frozen=True)
class Shape:
    """Sizes of one micro-batch: rows, padded length, heads, head dimension, epsilon of the norms."""

    rows: int
    length: int
    heads: int
    head: int
    eps: float


def inverse_rms(x: Tensor, eps: float) -> Tensor:
    """Return 1 / sqrt(mean(x^2) + eps) over the last dimension, which is kept."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norm.square_().mul_(1 / x.shape[-1]).add_(eps).rsqrt_()


def norm_backward(grad: Tensor, normed: Tensor, inverse: Tensor) -> Tensor:
    """Return (grad - normed * mean(grad * normed)), which times `inverse` is the gradient of x -> x * inverse_rms(x)."""
    return torch.addcmul(grad, normed, (grad * normed).sum(-1, keepdim=True).mul_(-1 / normed.shape[-1]))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding on [rows, length, heads, head]: x * cos + (-second half, first half) * sin."""
    half = x.shape[-1] // 2
    out = x * cos
    out[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
    out[..., half:].addcmul_(x[..., :half], sin[..., half:])
    return out


class FeedForward(Function):
    """x + down(silu(gate(norm(x))) * up(norm(x))) on [tokens, hidden]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, gate: Tensor, up: Tensor, down: Tensor, eps: float) -> Tensor:
        inverse = inverse_rms(x, eps)
        normed = x * inverse
        gate_gained, up_gained = gate * gain, up * gain
        opened, carried = normed @ gate_gained.T, normed @ up_gained.T
        active = functional.silu(opened)
        inner = active * carried
        ctx.save_for_backward(
            inverse, normed, gain, gate, up, down, gate_gained, up_gained, opened, carried, active, inner
        )
        return torch.addmm(x, inner, down.T)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        inverse, normed, gain, gate, up, down, gate_gained, up_gained, opened, carried, active, inner = (
            ctx.saved_tensors
        )
        d_inner = grad @ down
        d_carried = d_inner * active
        d_opened = torch.ops.aten.silu_backward(d_inner.mul_(carried), opened)
        d_gate, d_up = d_opened.T @ normed, d_carried.T @ normed
        d_normed = torch.addmm(d_carried @ up_gained, d_opened, gate_gained)
        d_gain = (d_gate * gate + d_up * up).sum(0)
        d_x = torch.addcmul(grad, norm_backward(d_normed, normed, inverse), inverse)
        return d_x, d_gain, d_gate.mul_(gain), d_up.mul_(gain), grad.T @ inner, None


def _to_heads(x: Tensor, s: Shape) -> Tensor:
    """[rows, length, heads, head] → [rows * heads, length, head]."""
    return x.transpose(1, 2).reshape(s.rows * s.heads, s.length, s.head)


def _from_heads(x: Tensor, s: Shape) -> Tensor:
    """[rows * heads, length, head] → a view [rows, length, heads, head]."""
    return x.view(s.rows, s.heads, s.length, s.head).transpose(1, 2)


class Attention(Function):
    """x + out(attention(rotate(norm(query)), rotate(norm(key)), value)) on [tokens, hidden], causal within each row."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gain: Tensor, query: Tensor, key: Tensor, value: Tensor, query_gain: Tensor, key_gain: Tensor,
        out: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, s: Shape,
    ) -> Tensor:  # fmt: skip
        inverse = inverse_rms(x, s.eps)
        normed = x * inverse
        weight = torch.cat((query, key, value))
        gained = weight * gain
        mixed = (normed @ gained.T).view(s.rows, s.length, 3 * s.heads, s.head)
        both = mixed[:, :, : 2 * s.heads]
        head_inverse = inverse_rms(both, s.eps)
        head_normed = both * head_inverse
        # The scale of the scores rides in the queries' gain.
        head_gain = torch.cat((query_gain.mul(s.head**-0.5).expand(s.heads, -1), key_gain.expand(s.heads, -1)))
        turned = rotate(head_normed * head_gain, cos, sin)
        q, k = _to_heads(turned[:, :, : s.heads], s), _to_heads(turned[:, :, s.heads :], s)
        v = _to_heads(mixed[:, :, 2 * s.heads :], s)
        weights = torch.softmax(torch.baddbmm(mask, q, k.transpose(1, 2)), -1)
        seen = _from_heads(torch.bmm(weights, v), s).reshape(x.shape[0], -1)
        ctx.save_for_backward(inverse, normed, gain, weight, gained, head_inverse, head_normed, head_gain, q, k, v, weights, seen,
                              out, cos, sin)  # fmt: skip
        ctx.shape = s
        return torch.addmm(x, seen, out.T)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        (
            inverse,
            normed,
            gain,
            weight,
            gained,
            head_inverse,
            head_normed,
            head_gain,
            q,
            k,
            v,
            weights,
            seen,
            out,
            cos,
            sin,
        ) = ctx.saved_tensors
        s: Shape = ctx.shape
        d_seen = _to_heads((grad @ out).view(s.rows, s.length, s.heads, s.head), s)
        d_weights = torch.bmm(d_seen, v.transpose(1, 2))
        d_scores = torch.ops.aten._softmax_backward_data(d_weights, weights, -1, weights.dtype)
        d_mixed = torch.empty(s.rows, s.length, 3 * s.heads, s.head)
        d_mixed[:, :, 2 * s.heads :] = _from_heads(torch.bmm(weights.transpose(1, 2), d_seen), s)
        d_turned = torch.empty(s.rows, s.length, 2 * s.heads, s.head)
        d_turned[:, :, : s.heads] = _from_heads(torch.bmm(d_scores, k), s)
        d_turned[:, :, s.heads :] = _from_heads(torch.bmm(d_scores.transpose(1, 2), q), s)
        d_gained = rotate(d_turned, cos, -sin)  # a rotation's gradient is the rotation back
        d_head_gain = (d_gained * head_normed).sum((0, 1))
        d_head = norm_backward(d_gained.mul_(head_gain), head_normed, head_inverse)
        torch.mul(d_head, head_inverse, out=d_mixed[:, :, : 2 * s.heads])
        flat = d_mixed.view(normed.shape[0], -1)
        d_weight = flat.T @ normed
        d_gain = (d_weight * weight).sum(0)
        d_query, d_key, d_value = torch.split(d_weight.mul_(gain), s.heads * s.head)
        d_x = torch.addcmul(grad, norm_backward(flat @ gained, normed, inverse), inverse)
        d_query_gain = d_head_gain[: s.heads].sum(0).mul_(s.head**-0.5)
        return (d_x, d_gain, d_query, d_key, d_value, d_query_gain, d_head_gain[s.heads :].sum(0), grad.T @ seen,
                None, None, None, None)  # fmt: skip


class LeanForward:
    """The forward of one transformers Qwen3 model, on that model's own parameters."""

    def __init__(self, model: nn.Module) -> None:
        config: Any = model.config
        weights = dict(model.named_parameters())
        self.embedding = weights["model.embed_tokens.weight"]
        self.last_gain = weights["model.norm.weight"]
        self.heads, self.head, self.eps = config.num_attention_heads, config.head_dim, config.rms_norm_eps
        theta = float(config.rope_parameters["rope_theta"])
        self.frequencies = 1.0 / (theta ** (torch.arange(0, self.head, 2, dtype=torch.float32) / self.head))
        self.layers = [_layer(weights, number) for number in range(config.num_hidden_layers)]
        self._tables: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def tables(self, length: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return cos and sin [1, length, 1, head] and the additive causal mask [1, length, length]."""
        if length not in self._tables:
            angles = torch.outer(torch.arange(length, dtype=torch.float32), self.frequencies)
            both = torch.cat((angles, angles), -1)[None, :, None, :]
            mask = torch.full((1, length, length), float("-inf")).triu_(1)
            self._tables[length] = (both.cos(), both.sin(), mask)
        return self._tables[length]

    def __call__(self, batch: MicroBatch) -> Tensor:
        """Return final hidden states [len(batch.at), hidden] of a padded batch at the positions that predict."""
        rows, length = batch.ids.shape
        shape = Shape(rows, length, self.heads, self.head, self.eps)
        cos, sin, mask = self.tables(length)
        x = functional.embedding(batch.ids, self.embedding).view(rows * length, -1)
        for attention, feed_forward in self.layers:
            x = Attention.apply(x, *attention, cos, sin, mask, shape)  # type: ignore[no-untyped-call]
            x = FeedForward.apply(x, *feed_forward, self.eps)  # type: ignore[no-untyped-call]
        return functional.rms_norm(x.index_select(0, batch.at), self.last_gain.shape, self.last_gain, self.eps)


def _layer(weights: dict[str, nn.Parameter], number: int) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    attention = ("input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.q_norm",
                 "self_attn.k_norm", "self_attn.o_proj")  # fmt: skip
    feed_forward = ("post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
    first, second = (
        [weights[f"model.layers.{number}.{name}.weight"] for name in names] for names in (attention, feed_forward)
    )
    return first, second
