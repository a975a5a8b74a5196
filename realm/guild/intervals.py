"""Intervals for a share of right answers."""

from __future__ import annotations

from math import sqrt

Z95 = 1.96


def wilson(correct: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Return the Wilson score interval of `correct` out of `n` at `z` standard deviations; (0, 1) for n = 0.

    Formula: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927),
    209-212. Raises ValueError when the counts are impossible.
    """
    if not 0 <= correct <= n:
        raise ValueError(f"{correct} right of {n} is impossible")
    if n == 0:
        return 0.0, 1.0
    share, square = correct / n, z * z
    middle = share + square / (2 * n)
    spread = z * sqrt(share * (1 - share) / n + square / (4 * n * n))
    scale = 1 + square / n
    # At the ends the exact bound is 0 or 1; rounding would miss it by 1e-17.
    low = 0.0 if correct == 0 else (middle - spread) / scale
    high = 1.0 if correct == n else (middle + spread) / scale
    return low, high


def standard_error(correct: int, n: int) -> float | None:
    """Return sqrt(p (1 - p) / n), the binomial standard error; None for n = 0."""
    if n == 0:
        return None
    share = correct / n
    return sqrt(share * (1 - share) / n)
