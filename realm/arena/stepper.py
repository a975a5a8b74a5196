"""One optimiser step: forward, loss at trained positions, backward, checks, update. No files, no loop."""

from __future__ import annotations

import math
import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from realm.arena.adapters import adapted, merged_weights
from realm.arena.formation import document_attention
from realm.arena.formation.batching import split_flat, split_lanes, split_micro, start_cost
from realm.arena.formation.packing import pack_rows, plan_packs, refuse_leak
from realm.arena.formation.rows import EncodedRow
from realm.arena.formation.tensors import MicroBatch, pad_rows
from realm.arena.head_entropy import HeadEntropy
from realm.arena.lanes import MOST_WEIGHTS, Lanes, one_core_each
from realm.arena.lean_forward import LeanForward
from realm.arena.optim.flat import from_named, norm_of, to_named
from realm.arena.optim.optimiser import Optimiser
from realm.arena.precision import DTYPES, LossScale
from realm.armory.estimate import FLAT_TOKENS, LOGITS_AT_ONCE, lean_fits
from realm.armory.hero_presets import TrainingDefaults
from realm.core.clock import Clock, SystemClock
from realm.core.errors import BadInput, RealmError


class NonFinite(RealmError):
    """Loss or gradient norm is not a number or infinite; the weights were not touched."""

    code = "non_finite"


@dataclass(frozen=True)
class StepResult:
    """What one optimiser step did: loss per trained token, gradient norm before clipping, tokens, seconds, rate."""

    step: int
    loss: float
    grad_norm: float
    trained_tokens: int
    total_tokens: int
    seconds: float
    lr: float
    rows: tuple[int, ...]


def fix_numerics(threads: int, device: str = "cpu") -> None:
    """Make training repeatable bit for bit on one CPU: fixed threads, deterministic kernels.

    On a GPU kernels without a deterministic form are used with a warning of torch.
    """
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=device != "cpu")
    torch.backends.cudnn.benchmark = False
    # Deterministic mode also fills every new tensor with NaN; nothing here reads memory that it did not write.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


class Stepper:
    """A model, its optimiser and EMA. The model is a transformers causal LM; its parameters are taken over in place."""

    def __init__(
        self,
        model: nn.Module,
        training: TrainingDefaults,
        pad_id: int,
        *,
        clock: Clock | None = None,
        allow_lean: bool = True,
    ) -> None:
        self.model = model.train()
        self.training, self.pad_id, self.clock = training, pad_id, clock or SystemClock()
        self.backbone: nn.Module = model.base_model  # type: ignore[assignment]
        self.head: nn.Module = model.get_output_embeddings()  # type: ignore[operator]
        self.device = next(model.parameters()).device
        if training.batching == "packing":
            document_attention.register()
            model.set_attn_implementation(document_attention.DOCUMENTS)  # type: ignore[operator]
        self.attention = str(model.config._attn_implementation)  # type: ignore[union-attr]
        if training.gradient_checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
        self.optimiser = self.make_optimiser()
        self.largest = (0, 0, 0)  # rows, padded length, trained positions of the largest micro-batch so far
        config: dict[str, Any] = model.config.to_dict()  # type: ignore[operator,union-attr]
        hidden = int(self.head.weight.shape[1])
        self.start_cost = start_cost(hidden, self.device.type)
        self.adapted = adapted(model)
        self.scale = LossScale() if training.precision == "fp16" else None
        plain = allow_lean and not self.adapted and not training.gradient_checkpointing
        lean = plain and lean_fits(config, self.device.type, training.precision, training.max_length)
        self.lean = LeanForward(model) if lean else None
        self.trained = [weight for weight in model.parameters() if weight.requires_grad]
        several = lean and torch.get_num_threads() > 1 and sum(weight.numel() for weight in self.trained) <= MOST_WEIGHTS
        self.lanes = Lanes(torch.get_num_threads(), hidden) if several else None
        bare = type(self.head) is nn.Linear and self.head.bias is None and self.head.weight.dtype is torch.float32
        self.plain_head = bare and training.precision == "fp32"

    def make_optimiser(self) -> Optimiser:
        """Take the model's parameters over."""
        return Optimiser(self.model, self.training)

    def step(self, rows: Sequence[EncodedRow]) -> StepResult:
        """Train once on `rows` (one optimiser step, cut into micro-batches of the preset's batch_size).

        The loss is the sum over trained tokens of all micro-batches divided by their number. Raises NonFinite before
        any weight changes, NothingTrained for a batch without trained token, BadInput for no rows.
        """
        if not rows:
            raise BadInput("an optimiser step needs at least one row")
        begin = self.clock.monotonic()
        share = self.share(rows)
        micros = self.micro_batches(share) if share else []
        self._note_largest(micros)
        trained = sum(sum(row.trained[1:]) for row in rows)
        loss, norm = self._gradients(micros, trained)
        self._refuse_non_finite(loss, norm, rows)
        if norm > self.training.clip:
            self.optimiser.scale_gradients(self.training.clip / norm)
        rate = self.optimiser.rate
        self.optimiser.step()
        return StepResult(self.optimiser.steps, loss, norm, trained, sum(map(len, rows)),
                          self.clock.monotonic() - begin, rate, tuple(row.index for row in rows))  # fmt: skip

    def share(self, rows: Sequence[EncodedRow]) -> Sequence[EncodedRow]:
        """Return the rows that this process computes: all of them."""
        return rows

    def reduce(self, loss: float) -> float:
        """Add up what several processes found; one has nothing to add."""
        return loss

    def micro_batches(self, rows: Sequence[EncodedRow]) -> list[MicroBatch]:
        lengths, size = [len(row) for row in rows], self.training.batch_size
        if self.training.batching == "packing":
            cuts = plan_packs(lengths, self.training.max_length)
        elif self.lanes:
            cuts = split_lanes(lengths, size, FLAT_TOKENS, self.lanes.worth(sum(lengths)))
        elif self.lean:
            cuts = split_flat(lengths, size, FLAT_TOKENS)
        else:
            cuts = split_micro(lengths, size, self.start_cost)
        return [self.lay([rows[n] for n in cut]) for cut in cuts]

    def lay(self, rows: Sequence[EncodedRow]) -> MicroBatch:
        """Lay rows out as this stepper computes them: one after another, or side by side and padded."""
        flat = self.lean is not None or self.training.batching == "packing"
        return pack_rows(rows) if flat else pad_rows(rows, self.pad_id)

    def _gradients(self, micros: Sequence[MicroBatch], trained: int) -> tuple[float, float]:
        """Fill the gradients of a step; returns loss and gradient norm. An fp16 overflow repeats it with a smaller scale."""
        while True:
            self.optimiser.clear_gradients()
            loss = self.reduce(self._add_gradients(micros, trained))
            if self.scale is not None:
                self.optimiser.scale_gradients(1 / self.scale.factor)
            norm = self.optimiser.gradient_norm()
            if self.scale is None or math.isfinite(norm):
                if self.scale is not None:
                    self.scale.went_well()
                return loss, norm
            if not math.isfinite(loss) or not self.scale.overflowed():
                return loss, norm

    def _add_gradients(self, micros: Sequence[MicroBatch], trained: int) -> float:
        """Add the gradients of a step's micro-batches, at once where that pays; returns the step's loss."""
        if self.lanes is None:
            return sum(self.backward_of(micro, trained) for micro in micros)
        if self.lanes.worth(sum(micro.ids.numel() for micro in micros)) == 1:
            with one_core_each():  # kernels of so little work are too short to be shared
                return sum(self.backward_of(micro, trained) for micro in micros)
        return self.lanes.add_gradients(lambda micro: self.loss_sum(micro) / trained, micros, self.trained)

    def _note_largest(self, micros: Sequence[MicroBatch]) -> None:
        for micro in micros:
            found = (micro.ids.shape[0], micro.ids.shape[1], len(micro.targets))
            self.largest = max(self.largest, found, key=lambda one: one[0] * one[1])

    def peak_bytes(self) -> int:
        """Return the most memory this process has held so far: allocated on the GPU, resident on a CPU."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_reserved(self.device))
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def backward_of(self, micro: MicroBatch, trained: int) -> float:
        """Add a micro-batch's gradient, of its loss divided by the step's trained tokens; returns that part of the loss."""
        loss = self.loss_sum(micro) / trained
        (loss if self.scale is None else loss * self.scale.factor).backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def loss_sum(self, micro: MicroBatch) -> torch.Tensor:
        """Return the summed cross entropy over trained tokens; logits exist only at those positions."""
        dtype = DTYPES.get(self.training.precision)
        with torch.autocast(self.device.type, dtype or torch.bfloat16, enabled=dtype is not None):
            return self._cross_entropy(self.hidden(micro), micro.targets.to(self.device))

    def hidden(self, micro: MicroBatch) -> torch.Tensor:
        """Return the final hidden states [len(micro.at), hidden] at the positions that predict trained tokens."""
        if self.lean:
            return self.lean(micro)
        refuse_leak(micro.positions, micro.mask, self.attention)
        ends = {} if micro.lengths is None else {"cu_seq_lens_q": document_attention.ends_of(micro.lengths)}
        found = self.backbone(
            input_ids=micro.ids.to(self.device),
            position_ids=None if micro.positions is None else micro.positions.to(self.device),
            attention_mask=None if micro.mask is None else micro.mask.to(self.device),
            use_cache=False,
            **ends,
        ).last_hidden_state
        return found.flatten(0, 1).index_select(0, micro.at.to(self.device))  # type: ignore[no-any-return]

    def logits(self, micro: MicroBatch) -> torch.Tensor:
        """Return logits [len(micro.at), vocabulary] of a batch as it is trained, without gradients."""
        with torch.no_grad():
            found: torch.Tensor = self.head(self.hidden(micro)).float()
        return found

    def logits_alone(self, row: EncodedRow) -> torch.Tensor:
        """Return logits at the positions before a row's trained tokens, by the model's own forward on that row alone."""
        ids = torch.tensor([row.ids], device=self.device)
        at = [place - 1 for place in range(1, len(row)) if row.trained[place]]
        with torch.no_grad():
            hidden = self.backbone(input_ids=ids, use_cache=False).last_hidden_state[0]
            found: torch.Tensor = self.head(hidden[at]).float()
        return found

    def try_step(self, micros: Sequence[MicroBatch], *, clear: bool = True) -> None:
        """Compute the gradients of micro-batches as one step, which is not taken; without `clear` they are added."""
        if clear:
            self.optimiser.clear_gradients()
        trained = sum(len(micro.targets) for micro in micros)
        for micro in micros:
            self.backward_of(micro, trained)

    def gradient_distance(self, one: Sequence[MicroBatch], other: Sequence[MicroBatch]) -> float:
        """Return how far the gradients of two ways to cut one step lie apart, as a share of their size; no step is taken.

        Both are computed in the same place, the second added to the negated first: no copy of a large hero's gradients.
        """
        self.try_step(one)
        size = norm_of(buffer.grads for buffer in self.optimiser.buffers)
        self.optimiser.scale_gradients(-1.0)
        self.try_step(other, clear=False)
        apart = norm_of(buffer.grads for buffer in self.optimiser.buffers)
        return apart / size if size else apart

    def _cross_entropy(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        vocabulary = self.head.weight.shape[0]  # type: ignore[index]
        at_once = max(1, LOGITS_AT_ONCE // int(vocabulary) // (self.lanes.count if self.lanes else 1))
        if len(targets) <= at_once:
            return self._entropy_of(hidden, targets)
        if self.plain_head:
            return HeadEntropy.apply(hidden, self.head.weight, targets, at_once)  # type: ignore[no-any-return,no-untyped-call]
        parts = zip(torch.split(hidden, at_once), torch.split(targets, at_once), strict=True)
        # Recomputed in backward: only one part's logits are alive at a time.
        sums = [torch.utils.checkpoint.checkpoint(self._entropy_of, h, t, use_reentrant=False) for h, t in parts]
        return torch.stack(sums).sum()

    def _entropy_of(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(self.head(hidden).float(), targets, reduction="sum")

    def _refuse_non_finite(self, loss: float, norm: float, rows: Sequence[EncodedRow]) -> None:
        if math.isfinite(loss) and math.isfinite(norm):
            return
        alone = self._not_finite_alone(rows)
        self.optimiser.clear_gradients()
        named = alone or [row.index for row in rows]
        listed = f"row{'s' if len(named) > 1 else ''} {', '.join(map(str, named[:9]))}"
        which = f"{listed} alone" if alone else f"{listed} together"
        raise NonFinite(
            f"step {self.optimiser.steps + 1}: loss {loss}, gradient norm {norm}; {which}",
            hint="the weights are unchanged; lower the learning rate or look at these rows: realm arena inspect", rows=named,
        )  # fmt: skip

    def _not_finite_alone(self, rows: Sequence[EncodedRow]) -> list[int]:
        """Return the rows whose own loss is not finite, else those whose own gradient is not."""
        micros = [self.micro_batches([row])[0] for row in rows]
        with torch.no_grad():
            losses = [float(self.loss_sum(micro)) for micro in micros]
        found = [row.index for row, loss in zip(rows, losses, strict=True) if not math.isfinite(loss)]
        return found or [row.index for row, micro in zip(rows, micros, strict=True) if not self._gradient_is_finite(micro)]

    def _gradient_is_finite(self, micro: MicroBatch) -> bool:
        self.optimiser.clear_gradients()
        self.backward_of(micro, len(micro.targets))
        return math.isfinite(self.optimiser.gradient_norm())

    def validation_loss(self, rows: Sequence[EncodedRow]) -> float:
        """Return the mean loss per trained token of `rows` under the served weights (the average with EMA)."""
        with self.served(), torch.no_grad():
            micros = self.micro_batches(rows)
            total = sum(float(self.loss_sum(micro)) for micro in micros)
        return total / sum(len(micro.targets) for micro in micros)

    @contextmanager
    def served(self) -> Iterator[nn.Module]:
        """Give the model in eval mode with the weights that are served: the average with EMA, else its own."""
        self.optimiser.swap_average()
        self.model.eval()
        try:
            yield self.model
        finally:
            self.model.train()
            self.optimiser.swap_average()

    def state_tensors(
        self, *, live: bool = False
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor] | None, dict[str, torch.Tensor]]:
        """Return copies: (served weights, training weights where they differ, optimiser state), as safetensors take.

        With an adapter the served weights are merged ones and the training weights are the adapter's. `live`: no copies,
        for a writer that is done before the next step.
        """
        buffers = self.optimiser.buffers
        own = to_named(buffers, [buffer.weights for buffer in buffers], live=live)
        state = self.optimiser.state(live=live) | (self.scale.state() if self.scale else {})
        if self.adapted:
            with self.served():
                merged = merged_weights(self.model)
            return merged, own, state | {f"average/{name}": one for name, one in self.optimiser.average_weights().items()}
        average = self.optimiser.average_weights(live=live)
        return (average, own, state) if average else (own, None, state)

    def load_state(
        self,
        weights: Mapping[str, torch.Tensor],
        raw: Mapping[str, torch.Tensor] | None,
        optimiser: Mapping[str, torch.Tensor] | None,
    ) -> None:
        """Restore what `state_tensors` returned; with `optimiser` None the optimiser starts anew from these weights."""
        buffers = self.optimiser.buffers
        from_named(buffers, [buffer.weights for buffer in buffers], raw if raw is not None else weights)
        if optimiser is not None:
            averages: Mapping[str, torch.Tensor] = weights
            if self.adapted:
                averages = {name.removeprefix("average/"): one for name, one in optimiser.items()}
            self.optimiser.load(optimiser, averages)
            if self.scale is not None:
                self.scale.load(optimiser)
            return
        for buffer, average in zip(buffers, self.optimiser.average, strict=False):
            average.copy_(buffer.weights)
