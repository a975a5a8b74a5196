"""The adaptive strategy: a skill gets its share of quests by how fast its accuracy moves and by what it forgot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from realm.guild.level_mix import RETAINED, Probed

FAST, SLOW = 0.3, 0.1
EVEN = 0.2  # of all quests, shared evenly; the rest by learning progress
FLOOR, CAP = 0.1, 0.8


def moving_average(oldest_first: Sequence[float], alpha: float) -> float:
    """Return the exponentially weighted mean that starts at the first value; 0 for none."""
    mean = oldest_first[0] if oldest_first else 0.0
    for value in oldest_first[1:]:
        mean += alpha * (value - mean)
    return mean


def learning_progress(newest_first: Sequence[float]) -> float:
    """Return |fast - slow| of two moving averages of accuracy at the level in training."""
    oldest_first = newest_first[::-1]
    return abs(moving_average(oldest_first, FAST) - moving_average(oldest_first, SLOW))


def retention_deficit(probes: Mapping[int, Probed]) -> float:
    """Return by how much the probed mastered levels are below 0.92 on the mean; 0 for none."""
    return sum(max(0.0, RETAINED - probe.accuracy) for probe in probes.values()) / max(1, len(probes))


def shares(progress: Mapping[str, float]) -> dict[str, float]:
    """Return the share of quests by skill: 0.2 evenly, 0.8 by progress, none below 0.1 and none above 0.8; they sum to 1.

    Without any progress all are equal. With more than ten skills the floor is an even share.
    """
    k, total = len(progress), sum(progress.values())
    wanted = {name: EVEN / k + (1 - EVEN) * (value / total if total > 0 else 1 / k) for name, value in progress.items()}
    return _between(wanted, min(FLOOR, 1 / k), max(CAP, 1 / k))


def _between(wanted: Mapping[str, float], low: float, high: float) -> dict[str, float]:
    """Clip shares to [low, high]; what is left is spread over the others in proportion."""
    fixed: dict[str, float] = {}
    while True:
        free = {name: share for name, share in wanted.items() if name not in fixed}
        if not free:
            return fixed
        scale = (1 - sum(fixed.values())) / sum(free.values())
        scaled = {name: share * scale for name, share in free.items()}
        over = {name: high for name, share in scaled.items() if share > high + 1e-12}
        under = {name: low for name, share in scaled.items() if share < low - 1e-12}
        if not over and not under:
            return fixed | scaled
        # Only one side at a time: what it frees or takes may bring the others back inside.
        excess = sum(scaled[name] - high for name in over)
        missing = sum(low - scaled[name] for name in under)
        fixed |= over if excess >= missing else under


def pick(by_share: Mapping[str, float], mark: float) -> str:
    """Return the skill in whose part of [0, 1) the mark falls, in the order of names."""
    for name in sorted(by_share):
        mark -= by_share[name]
        if mark < 0:
            return name
    return max(by_share, key=lambda name: by_share[name])
