"""Shares of generated rows by level inside one skill: the level in training, lower ones, the next two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

RETAINED = 0.92  # a lower level at this accuracy needs no extra replay
WEAK = 0.75  # a probed level below this raises the share of replay
WEAK_STEP = 0.08  # ... by this much a level
MOST_LOWER = 0.5
STUCK = 0.05  # three evals in a row below this: half of the frontier's share goes one level down


@dataclass(frozen=True)
class Probed:
    """The newest retention probe of a level: accuracy, and its age as a share of the oldest probe's age (0..1)."""

    accuracy: float
    staleness: float = 0.0


def _scaled(weights: Mapping[int, float], share: float) -> dict[int, float]:
    total = sum(weights.values())
    return {level: share * weight / total for level, weight in weights.items()} if total else {}


def replay_weight(probed: Probed | None) -> float:
    """Return 3 max(0, 0.92 - accuracy) + 0.5 staleness + 0.2; an unprobed level counts as fully stale."""
    if probed is None:
        return 0.7
    return 3 * max(0.0, RETAINED - probed.accuracy) + 0.5 * probed.staleness + 0.2


def lower_share(base: float, probes: Mapping[int, Probed]) -> float:
    """Return the replay share: the preset's, raised for every mastered level that a probe found weak."""
    weak = sum(probe.accuracy < WEAK for probe in probes.values())
    return min(max(MOST_LOWER, base), base + WEAK_STEP * weak)


def level_mix(
    shares: Mapping[str, float],
    level: int,
    max_level: int,
    probes: Mapping[int, Probed],
    recent: tuple[float, ...] = (),
) -> dict[int, float]:
    """Return level -> share, summing to 1, never above `max_level`.

    `shares` has frontier, lower and ahead; a part that has no level (nothing below 1, nothing above the last) is spread
    over the others in proportion. `recent` are the newest accuracies at `level`, newest first.
    """
    lower_levels = {known: replay_weight(probes.get(known)) for known in range(1, level)}
    ahead_levels = dict.fromkeys(range(level + 1, min(level + 2, max_level) + 1), 1.0)
    known_probes = {known: probe for known, probe in probes.items() if known < level}
    lower = lower_share(shares["lower"], known_probes) if lower_levels else 0.0
    ahead = shares["ahead"] if ahead_levels else 0.0
    rest = shares["frontier"] + ahead
    # Extra replay is taken from the other parts in proportion; a part without a level falls away.
    keep = (1 - lower) / rest if rest else 0.0
    frontier = shares["frontier"] * keep if rest else 1 - lower
    mix = {level: frontier, **_scaled(ahead_levels, ahead * keep)}
    for known, share in _scaled(lower_levels, lower).items():
        mix[known] = mix.get(known, 0.0) + share
    if level > 1 and len(recent) >= 3 and all(accuracy < STUCK for accuracy in recent[:3]):
        mix[level] -= frontier / 2
        mix[level - 1] = mix.get(level - 1, 0.0) + frontier / 2
    return {known: mix[known] for known in sorted(mix) if mix[known] > 0}


def rows_by_level(mix: Mapping[int, float], rows: int) -> dict[int, int]:
    """Split `rows` by share with the largest remainder method; the counts sum to `rows` exactly."""
    wanted = {level: share * rows for level, share in mix.items()}
    counts = {level: int(amount) for level, amount in wanted.items()}
    by_remainder = sorted(mix, key=lambda level: (counts[level] - wanted[level], level))
    for level in by_remainder[: rows - sum(counts.values())]:
        counts[level] += 1
    return {level: count for level, count in counts.items() if count}
