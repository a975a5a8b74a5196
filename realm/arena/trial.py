"""Trial before battle: at most half a minute of checks before the first step of a new hero, setting or kind of quest.

Six checks: both label methods agree, rows in a batch equal rows alone, accumulation equals one large batch, the longest batch
fits, saved state comes back bit for bit, the disk has room. Weights, optimiser and random states are as before afterwards.
A passed trial is stored under a digest of everything it depends on and is not repeated; a failed one starts nothing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import psutil
import torch
from safetensors import SafetensorError

from realm.arena.checkpoint_io import Weights, read_weights, restore_rng, rng_states, versions, write_tensors
from realm.arena.formation.rows import EncodedRow
from realm.arena.formation.tensors import MicroBatch
from realm.arena.memory_fault import is_memory_fault
from realm.arena.quests.quest import Quest
from realm.arena.trial_record import Check, Trial, known_trial, store_trial
from realm.armory.estimate import estimate_memory
from realm.armory.estimate_view import plan_of, read_shape, with_lean
from realm.armory.template import template_hash
from realm.core import durable
from realm.core.clock import stamp
from realm.core.errors import Conflict, NoSpace
from realm.core.logs import get_logger
from realm.core.paths import Paths

if TYPE_CHECKING:
    from realm.arena.entering import Arena

log = get_logger("trial")
MOST_SECONDS = 30.0
SAMPLE_ROWS, SAMPLE_TOKENS = 8, 256
ALONE, ACCUMULATED = 2e-5, 1e-6
HALF_ALONE, HALF_ACCUMULATED = 5e-2, 1e-1  # in half precision batches of other shapes round apart; a leak is far larger
ROUND_TRIP_BYTES = 256 * 1024**2
SPARE_BYTES = 64 * 1024**2
# What changes with these needs no other trial: they move numbers, not paths.
MOVES_ONLY = ("learning_rate", "muon_learning_rate", "muon_momentum", "betas", "weight_decay", "clip", "schedule", "save_steps")


class TrialFailed(Conflict):
    """A check before the first step failed; nothing was trained."""

    code = "trial_failed"


@dataclass(frozen=True)
class Ring:
    """What a trial works on: the arena, the rows of a quest and which of them form its steps."""

    arena: Arena
    rows: Sequence[EncodedRow]
    steps: Sequence[Sequence[int]]

    def sample(self) -> list[EncodedRow]:
        """Return up to eight rows of different lengths, none of more than 256 tokens unless all are."""
        ordered = sorted(self.rows, key=len)
        short = [row for row in ordered if len(row) <= SAMPLE_TOKENS] or ordered[:1]
        count = min(SAMPLE_ROWS, len(short))
        return [short[at * (len(short) - 1) // max(1, count - 1)] for at in range(count)]

    def heaviest(self) -> MicroBatch:
        """Return the micro-batch with the most padded tokens among the steps with the longest row and the most tokens."""
        longest = max(self.steps, key=lambda step: max(len(self.rows[at]) for at in step))
        fullest = max(self.steps, key=lambda step: sum(len(self.rows[at]) for at in step))
        micros = [m for step in (longest, fullest) for m in self.arena.stepper.micro_batches([self.rows[at] for at in step])]
        return max(micros, key=lambda micro: micro.ids.numel())


def trial_digest(arena: Arena, kind: str) -> str:
    """Return the digest of what a trial depends on: architecture, template, settings that choose a path, kind, versions."""
    training = arena.config.training.model_dump(mode="json")
    told = {
        "hero": hashlib.sha256((arena.hero.folder / "config.json").read_bytes()).hexdigest(), "template": template_hash(),
        "training": {name: value for name, value in training.items() if name not in MOVES_ONLY}, "kind": kind,
        "profile": arena.config.profile, "device": arena.stepper.device.type, "newest": arena.config.retention.newest,
        "versions": versions(),
    }  # fmt: skip
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def before_battle(arena: Arena, quest: Quest, rows: Sequence[EncodedRow], steps: Sequence[Sequence[int]]) -> Trial:
    """Return the passed trial of this kind of quest, run now when it is not stored; raises TrialFailed, NoSpace."""
    digest = trial_digest(arena, quest.kind)
    found = known_trial(arena.paths, digest)
    if found is None or not found.passed:
        arena.progress.state("starting", "trial before battle")
        found = run_trial(Ring(arena, rows, steps), quest, digest)
        try:
            store_trial(arena.paths, found)
        except OSError as refused:
            log.error("the trial could not be stored and will be repeated: %s", refused)
    for check in found.checks:
        if check.passed is False:
            kind = NoSpace if check.name == "disk" else TrialFailed
            raise kind(f"trial before battle: {check.name}: {check.found}, wanted {check.limit}", hint=check.todo)
    return found


def run_trial(ring: Ring, quest: Quest, digest: str) -> Trial:
    """Run the six checks; one that no time is left for is said to be left out."""
    arena, begin = ring.arena, ring.arena.clock.monotonic()
    rng = rng_states()
    checks: list[Check] = []
    try:
        for name, check in CHECKS.items():
            if arena.clock.monotonic() - begin > MOST_SECONDS:
                checks.append(Check(name, None, f"left out, {MOST_SECONDS:.0f} s were over", "", ""))
                continue
            checks.append(check(ring))
            if checks[-1].passed is False:
                break
    finally:
        arena.stepper.optimiser.clear_gradients()
        restore_rng(rng)
    seconds = arena.clock.monotonic() - begin
    log.info("trial of %s quests: %.2f s", quest.kind, seconds)
    return Trial(digest, stamp(arena.clock.now()), arena.hero.id, quest.kind, quest.name, arena.step, seconds, tuple(checks))


def check_labels(ring: Ring) -> Check:
    """Rendered and scanned labels agree on the shortest and the longest rows."""
    ordered = sorted(ring.rows, key=len)
    looked = ordered[:64] + ordered[-64:]
    wrong = next((row for row in looked if ring.arena.template.scan_labels(row.ids) != row.trained), None)
    found = f"{len(looked)} rows looked at" if wrong is None else f"row {wrong.index} differs"
    return Check("labels", wrong is None, found, "both label methods agree", "look at the row: realm arena inspect")


def check_alone(ring: Ring) -> Check:
    """Logits of rows in a batch, as it is trained, equal those of each row alone through the model's own forward."""
    stepper, sample = ring.arena.stepper, ring.sample()
    by_index = {row.index: row for row in sample}
    worst, largest = 0.0, 1.0
    stepper.model.eval()
    try:
        for micro in stepper.micro_batches(sample):
            together = stepper.logits(micro)
            alone = torch.cat([stepper.logits_alone(by_index[index]) for index in micro.indices])
            worst = max(worst, float((together - alone).abs().max()))
            largest = max(largest, float(alone.abs().max()))
    finally:
        stepper.model.train()
    share, most = worst / largest, ALONE if exact(ring) else HALF_ALONE
    found, limit = f"largest difference {worst:.2e} in logits up to {largest:.1f}", f"at most {most:.0e} of the largest logit"
    return Check("packed_equals_alone", share <= most, found, limit, "rows see each other: set training.batching to buckets")


def exact(ring: Ring) -> bool:
    """Say whether everything is computed in fp32."""
    whole = all(parameter.dtype is torch.float32 for parameter in ring.arena.stepper.model.parameters())
    return whole and ring.arena.stepper.training.precision == "fp32"


def check_accumulation(ring: Ring) -> Check:
    """The gradient of several micro-batches equals that of one."""
    stepper, sample = ring.arena.stepper, ring.sample()
    pairs = [stepper.lay(sample[at : at + 2]) for at in range(0, len(sample), 2)]
    share, most = stepper.gradient_distance([stepper.lay(sample)], pairs), ACCUMULATED if exact(ring) else HALF_ACCUMULATED
    return Check("accumulation", share <= most, f"relative difference {share:.1e}", f"at most {most:.0e}",
                 "set training.gradient_accumulation to 1, and report this")  # fmt: skip


def check_memory(ring: Ring) -> Check:
    """The heaviest micro-batch fits: first by the estimate, then by computing it forward and backward."""
    arena, micro = ring.arena, ring.heaviest()
    rows, length = micro.ids.shape
    needed = batch_bytes(arena, rows, length)
    free = free_bytes(arena)
    batch = f"{rows} x {length} tokens"
    todo = "lower training.batch_size (and raise gradient_accumulation), or set gradient_checkpointing"
    if needed > free:
        return Check("memory", False, f"{batch} need about {needed / 1e6:.0f} MB", f"{free / 1e6:.0f} MB are free", todo)
    begin = arena.clock.monotonic()
    try:
        arena.stepper.try_step([micro])
    except (MemoryError, RuntimeError) as error:
        if not is_memory_fault(error):
            raise
        return Check("memory", False, f"{batch}: {str(error)[:160]}", f"{free / 1e6:.0f} MB were free", todo)
    seconds = arena.clock.monotonic() - begin
    return Check("memory", True, f"{batch} computed in {seconds:.2f} s, estimated {needed / 1e6:.0f} MB", "it fits", todo)


def batch_bytes(arena: Arena, rows: int, length: int) -> int:
    """Return the estimated bytes of a micro-batch beyond what is in memory already."""
    shape, config = read_shape(arena.hero)
    plan = with_lean(plan_of(arena.config, arena.stepper.device.type), config)
    found = estimate_memory(shape, type(plan)(**{**asdict(plan), "rows": rows, "length": length}))
    return found.activations + found.logits + found.copies + found.snapshot


def free_bytes(arena: Arena) -> int:
    if arena.stepper.device.type == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)


def check_round_trip(ring: Ring) -> Check:
    """Tensors written as a checkpoint and read again, and loaded again, are the same bits; of large heroes a part is taken.

    A disk that refuses is no reason not to train: saving tells it, and is tried again.
    """
    stepper, paths = ring.arena.stepper, ring.arena.paths
    held = Weights(*stepper.state_tensors(live=True))
    part = Weights(*(_part(tensors) for tensors in (held.served, held.raw, held.optimiser)))
    try:
        back = _there_and_back(paths, part)
    except (OSError, SafetensorError, NoSpace) as refused:
        return Check("round_trip", None, f"left out, the disk refused: {refused}", "", "")
    wrong = _unequal(part, back)
    complete = _bytes(part) == _bytes(held)
    if wrong is None and complete:
        stepper.load_state(back.served, back.raw, back.optimiser)
        wrong = _unequal(part, Weights(*stepper.state_tensors(live=True)))
    amount = f"{_bytes(part) / 1e6:.1f} MB" if complete else f"{_bytes(part) / 1e6:.1f} of {_bytes(held) / 1e6:.1f} MB"
    found = f"{amount} came back equal" if wrong is None else f"{wrong} came back different"
    return Check("round_trip", wrong is None, found, "the same bits", "look at the disk: realm doctor")


def _there_and_back(paths: Paths, weights: Weights) -> Weights:
    folder = durable.new_dir(paths.current_model, "trial")
    try:
        write_tensors(folder, weights)
        back = read_weights(folder)  # may be read from the files only when a tensor is asked for
        raw = None if back.raw is None else dict(back.raw.items())
        return Weights(dict(back.served.items()), raw, dict(back.optimiser.items()))
    finally:
        durable.remove_tree(folder)


def _part(tensors: Mapping[str, torch.Tensor] | None) -> Any:
    """Return copies of tensors, the smallest first, up to a third of the limit."""
    if tensors is None:
        return None
    kept, size = {}, 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].nbytes):
        size += tensor.nbytes
        if size > ROUND_TRIP_BYTES / 3:
            break
        kept[name] = tensor.clone()
    return kept


def _bytes(weights: Weights) -> int:
    groups = (weights.served, weights.raw or {}, weights.optimiser)
    return sum(tensor.nbytes for group in groups for tensor in group.values())


def _unequal(mine: Weights, other: Weights) -> str | None:
    for a, b in ((mine.served, other.served), (mine.raw or {}, other.raw or {}), (mine.optimiser, other.optimiser)):
        if a.keys() != b.keys():
            return ", ".join(sorted(a.keys() ^ b.keys())[:3])
        for name, tensor in a.items():
            if not torch.equal(tensor, b[name].to(tensor.device)):
                return name
    return None


def check_disk(ring: Ring) -> Check:
    """The disk takes the checkpoints that retention keeps, beside those that are there already."""
    arena = ring.arena
    there = arena.facts.execute("SELECT count(*) FROM checkpoints WHERE state = 'present'").fetchone()[0]
    wanted = max(1, arena.config.retention.newest + 1 - there)
    needed = wanted * _bytes(Weights(*arena.stepper.state_tensors(live=True))) + SPARE_BYTES
    free = shutil.disk_usage(arena.paths.current_model).free
    return Check("disk", free >= needed, f"{free / 1e6:.0f} MB free", f"{needed / 1e6:.0f} MB for {wanted} checkpoints",
                 "free space, or lower retention.newest")  # fmt: skip


CHECKS: dict[str, Callable[[Ring], Check]] = {
    "labels": check_labels,
    "packed_equals_alone": check_alone,
    "accumulation": check_accumulation,
    "memory": check_memory,
    "round_trip": check_round_trip,
    "disk": check_disk,
}
