"""The hero's optimiser: Muon on hidden matrices or AdamW on everything, gradient clipping, EMA, and exact state."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from realm.arena.optim import adamw8bit
from realm.arena.optim.adamw import AdamW
from realm.arena.optim.adamw8bit import AdamW8bit
from realm.arena.optim.flat import Buffer, from_named, gather, norm_of, to_named
from realm.arena.optim.muon import Muon
from realm.arena.optim.schedule import lr_factor
from realm.armory.hero_presets import TrainingDefaults
from realm.core.errors import Corrupt

NOT_HIDDEN = ("embed", "lm_head", "wte", "wpe")


def hidden_matrices(model: nn.Module) -> list[str]:
    """Names of 2-D weights between embedding and head: those Muon is made for."""
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter.dim() == 2 and not any(part in name for part in NOT_HIDDEN)
    ]


class Optimiser:
    """All optimiser state of one model; the model's parameters become views of this object's buffers."""

    def __init__(self, model: nn.Module, training: TrainingDefaults) -> None:
        self.training = training
        # An adapter's thin matrices are no hidden matrices in Muon's sense.
        muon = training.matrices == "muon" and training.adapter.kind == "none"
        in8 = training.matrices == "adamw8bit"
        if in8:
            adamw8bit.require()
        self.buffers = gather(model, hidden_matrices(model) if muon else [], adamw8bit.SMALL if in8 else 0)
        self.parts = [self._part(buffer) for buffer in self.buffers]
        self.average = [buffer.weights.clone() for buffer in self.buffers] if training.ema_decay is not None else []
        self.steps = 0

    def _part(self, buffer: Buffer) -> Muon | AdamW | AdamW8bit:
        numbers = self.training
        if buffer.stacked:
            return Muon(buffer, numbers.muon_momentum, numbers.weight_decay)
        large = any(shape.numel() >= adamw8bit.SMALL for shape in buffer.shapes)
        kind = AdamW8bit if numbers.matrices == "adamw8bit" and large else AdamW
        return kind(buffer, numbers.betas, numbers.weight_decay)

    def base_rate(self, part: object) -> float:
        """Learning rate of a part before the schedule."""
        return self.training.muon_learning_rate if isinstance(part, Muon) else self.training.learning_rate

    @property
    def rate(self) -> float:
        """Learning rate of the next step (of the AdamW part; Muon's follows the same schedule)."""
        return self.training.learning_rate * lr_factor(self.training.schedule, self.steps)

    def clear_gradients(self) -> None:
        """Set all gradients to 0 in place."""
        for buffer in self.buffers:
            buffer.grads.zero_()

    def scale_gradients(self, factor: float) -> None:
        """Multiply all gradients in place."""
        for buffer in self.buffers:
            buffer.grads.mul_(factor)

    def gradient_norm(self) -> float:
        """Return the Euclidean norm over all gradients."""
        return norm_of(buffer.grads for buffer in self.buffers)

    def step(self) -> None:
        """Apply the gradients once and move the average."""
        factor = lr_factor(self.training.schedule, self.steps)
        for part in self.parts:
            part.step(self.base_rate(part) * factor)
        self.steps += 1
        for buffer, average in zip(self.buffers, self.average, strict=False):
            average.lerp_(buffer.weights, 1 - self._decay())

    def _decay(self) -> float:
        """Decay of the average after this step: short at first, or the random first weights would stay in it."""
        return min(self.training.ema_decay or 0.0, (1 + self.steps) / (10 + self.steps))

    def swap_average(self) -> None:
        """Exchange the weights with their average (twice gives the weights back, bit for bit)."""
        for buffer, average in zip(self.buffers, self.average, strict=False):
            held = buffer.weights.clone()
            buffer.weights.copy_(average)
            average.copy_(held)

    def average_weights(self, *, live: bool = False) -> dict[str, torch.Tensor]:
        """Return parameter name → copy of its average (itself when `live`); empty without EMA."""
        return to_named(self.buffers, self.average, live=live) if self.average else {}

    def nbytes(self) -> int:
        """Bytes of everything a checkpoint holds: weights, optimiser state, averages."""
        parts = [tensor for part in self.parts for tensor in (*part.tensors().values(), *part.blocks().values())]
        return sum(tensor.nbytes for tensor in (*parts, *self.average, *(buffer.weights for buffer in self.buffers)))

    def state(self, *, live: bool = False) -> dict[str, torch.Tensor]:
        """Return `{what}/{parameter}` → copy of the optimiser's state (itself when `live`) and the number of steps."""
        named = {"steps": torch.tensor(self.steps, dtype=torch.int64)}
        for buffer, part in zip(self.buffers, self.parts, strict=True):
            for what, tensor in part.tensors().items():
                named |= to_named([buffer], [tensor], f"{what}/", live=live)
            named |= {f"{what}/": tensor if live else tensor.clone() for what, tensor in part.blocks().items()}
        return named

    def set_steps(self, steps: int) -> None:
        """Say how many steps were taken: schedule and bias correction go on from there."""
        self.steps = steps
        for part in self.parts:
            if isinstance(part, AdamW):
                part.count.fill_(float(steps))
            elif isinstance(part, AdamW8bit):
                part.count = steps

    def load(self, state: Mapping[str, torch.Tensor], average: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state` and `average_weights` returned; raises Corrupt when names or shapes differ."""
        if "steps" not in state:
            raise Corrupt("saved optimiser state has no number of steps")
        self.set_steps(int(state["steps"]))
        for buffer, part in zip(self.buffers, self.parts, strict=True):
            for what, tensor in part.tensors().items():
                from_named([buffer], [tensor], state, f"{what}/")
            for what, tensor in part.blocks().items():
                found = state.get(f"{what}/")
                if found is None or found.shape != tensor.shape:
                    raise Corrupt(f"saved optimiser state has no {what} of shape {tuple(tensor.shape)}")
                tensor.copy_(found)
        if self.average:
            from_named(self.buffers, self.average, average)
