"""Training on several processes of which each holds a shard of the hero: FSDP2 below the same battle.

Every forward and backward pass gathers layer by layer what it needs, so all processes must do it together: whatever the
leader computes or gathers, it orders first, and the followers do the same. Checkpoints are gathered to the leader and look
like those of one process. Source: torch.distributed.fsdp.fully_shard.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard

from realm.arena.formation.rows import EncodedRow
from realm.arena.formation.tensors import MicroBatch
from realm.arena.optim.sharded import ShardedOptimiser
from realm.arena.parallel import ParallelStepper, as_json, from_json, receive, send
from realm.arena.stepper import Stepper
from realm.armory.hero_presets import TrainingDefaults
from realm.core.clock import Clock
from realm.core.errors import BadInput

TENSORS = ("ids", "positions", "mask", "at", "targets")
Named = Mapping[str, torch.Tensor]


class Whole(nn.Module):
    """The root of the shards: what it holds is gathered while `forward` computes something with the model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        return compute()


def layers_of(model: nn.Module) -> Sequence[nn.Module]:
    """Return the longest list of modules: the layers of a causal LM."""
    lists = [part for part in model.modules() if isinstance(part, nn.ModuleList)]
    return list(max(lists, key=len, default=[]))


def shard(model: nn.Module) -> Whole:
    """Leave each process its rows of every parameter, in place; gradients are added up over the processes, not averaged."""
    root = Whole(model)
    for part in (*layers_of(model), root):
        sharded: Any = fully_shard(part, reshard_after_forward=True)
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)  # gloo knows no premultiplied sum
    return root


class ShardedStepper(ParallelStepper):
    """A step of all processes; the leader's public calls are ordered, `obey` is the followers' side of each."""

    optimiser: ShardedOptimiser

    def __init__(
        self, model: nn.Module, training: TrainingDefaults, pad_id: int, *, clock: Clock | None = None, allow_lean: bool = False
    ) -> None:
        if training.adapter.kind != "none":
            raise BadInput(f"parallel.strategy fsdp shards whole heroes, config.json asks for adapter {training.adapter.kind}",
                           hint="realm config set parallel.strategy ddp, or training.adapter.kind none")  # fmt: skip
        if training.matrices == "adamw8bit":
            raise BadInput("parallel.strategy fsdp does not divide the 8-bit moments of training.matrices adamw8bit",
                           hint="realm config set training.matrices adamw, or parallel.strategy ddp")  # fmt: skip
        super().__init__(model, training, pad_id, clock=clock, allow_lean=False)
        self.plain_head = False  # the head's weight is whole only while its module computes

    def make_optimiser(self) -> ShardedOptimiser:
        self.whole = shard(self.model)
        return ShardedOptimiser(self.model, self.training)

    # What every process computes, always together.

    def loss_sum(self, micro: MicroBatch) -> torch.Tensor:
        found: torch.Tensor = self.whole(lambda: Stepper.loss_sum(self, micro))
        return found

    def backward_of(self, micro: MicroBatch, trained: int) -> float:
        loss = super().backward_of(micro, trained)
        self.optimiser.take_gradients()
        return loss

    def reduce(self, loss: float) -> float:
        """Add up the losses; the gradients were added up in the backward pass."""
        total = torch.tensor([loss], dtype=torch.float64)
        dist.all_reduce(total)
        return float(total)

    def _gradients(self, micros: Sequence[MicroBatch], trained: int) -> tuple[float, float]:
        return super()._gradients(self._evened(micros), trained)

    def _evened(self, micros: Sequence[MicroBatch]) -> list[MicroBatch]:
        """Fill up with micro-batches that train nothing, so that every process computes as many as the others."""
        most = torch.tensor([len(micros)])
        dist.all_reduce(most, dist.ReduceOp.MAX)
        none = torch.zeros(0, dtype=torch.int64)
        idle = MicroBatch(torch.tensor([[self.pad_id]]), None, None, none, none, 0, ())
        return [*micros, *([idle] * (int(most) - len(micros)))]

    def _mean_loss(self, rows: Sequence[EncodedRow]) -> float:
        share = self.share(rows)
        with self.served(), torch.no_grad():
            micros = self._evened(self.micro_batches(share) if share else [])
            total = self.reduce(sum(float(self.loss_sum(micro)) for micro in micros))
        return total / sum(sum(row.trained[1:]) for row in rows)

    def _logits(self, micro: MicroBatch) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = self.whole(lambda: Stepper.logits(self, micro))
        return found

    def _logits_alone(self, row: EncodedRow) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = self.whole(lambda: Stepper.logits_alone(self, row))
        return found

    # The leader's side.

    def align(self) -> None:
        """Say how many steps were taken: every process read the base itself, and `load_state` deals out a checkpoint."""
        if dist.get_rank() == 0:
            send({"order": "align", **self.counters()})

    def validation_loss(self, rows: Sequence[EncodedRow]) -> float:
        send({"order": "validate", "rows": as_json(rows)})
        return self._mean_loss(rows)

    def logits(self, micro: MicroBatch) -> torch.Tensor:
        send({"order": "logits"})
        send_micro(micro)
        return self._logits(micro)

    def logits_alone(self, row: EncodedRow) -> torch.Tensor:
        send({"order": "alone", "rows": as_json([row])})
        return self._logits_alone(row)

    def try_step(self, micros: Sequence[MicroBatch], *, clear: bool = True) -> None:
        send({"order": "try", "count": len(micros)})
        for micro in micros:
            send_micro(micro)
        super().try_step(micros, clear=clear)

    def state_tensors(
        self, *, live: bool = False
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor] | None, dict[str, torch.Tensor]]:
        """Return the whole hero's tensors, gathered from all processes; always copies."""
        send({"order": "gather"})
        found = self.optimiser.gather(keep=True)
        state = {"steps": torch.tensor(self.optimiser.steps, dtype=torch.int64), **found["state"]}
        state |= self.scale.state() if self.scale else {}
        return (found["average"], found["own"], state) if found["average"] else (found["own"], None, state)

    def load_state(self, weights: Named, raw: Named | None, optimiser: Named | None) -> None:
        """Deal out what `state_tensors` of any number of processes returned; raises Corrupt before any process loads."""
        saved: dict[str, Named] = {"own": raw if raw is not None else weights, "average": weights, "state": optimiser or {}}
        groups = {"own", "average"} | ({"state"} if optimiser is not None else set())
        if optimiser is None:
            saved["average"] = saved["own"]
        self.optimiser.refuse_unfit(saved, groups)
        if optimiser is not None:
            self.optimiser.set_steps(int(optimiser["steps"]))
            if self.scale is not None:
                self.scale.load(optimiser)
        send({"order": "load", "groups": sorted(groups), **self.counters()})
        self.optimiser.spread(saved, groups)

    # The followers' side.

    def obey(self, message: dict[str, Any]) -> None:
        order = message["order"]
        if order == "align":
            self.take_counters(message)
        elif order == "validate":
            self._mean_loss(from_json(message["rows"]))
        elif order == "logits":
            self._at_rest(lambda: self._logits(receive_micro()))
        elif order == "alone":
            self._at_rest(lambda: self._logits_alone(from_json(message["rows"])[0]))
        elif order == "try":
            Stepper.try_step(self, [receive_micro() for _ in range(int(message["count"]))])
        elif order == "gather":
            self.optimiser.gather(keep=False)
        elif order == "load":
            self.take_counters(message)
            self.optimiser.spread(None, set(message["groups"]))
        else:
            super().obey(message)

    def _at_rest(self, compute: Callable[[], torch.Tensor]) -> None:
        self.model.eval()
        compute()
        self.model.train()


def send_micro(micro: MicroBatch) -> None:
    """Send a micro-batch from the leader to all."""
    tensors = {name: getattr(micro, name) for name in TENSORS}
    shapes = {name: None if found is None else list(found.shape) for name, found in tensors.items()}
    send({"order": "micro", "shapes": shapes, "tokens": micro.tokens, "indices": list(micro.indices),
          "lengths": None if micro.lengths is None else list(micro.lengths)})  # fmt: skip
    for name, found in tensors.items():
        if found is not None:
            dist.broadcast(found.to(torch.uint8) if name == "mask" else found.contiguous(), 0)


def receive_micro() -> MicroBatch:
    """Wait for the leader's micro-batch."""
    message = receive()
    found: dict[str, Any] = dict.fromkeys(TENSORS)
    for name in (name for name in TENSORS if message["shapes"][name] is not None):
        tensor = torch.zeros(message["shapes"][name], dtype=torch.uint8 if name == "mask" else torch.int64)
        dist.broadcast(tensor, 0)
        found[name] = tensor.bool() if name == "mask" else tensor
    lengths = None if message["lengths"] is None else tuple(message["lengths"])
    return MicroBatch(**found, tokens=message["tokens"], indices=tuple(message["indices"]), lengths=lengths)
