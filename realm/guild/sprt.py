"""Wald's sequential test of one accuracy against another: ask until the answer is clear, not a fixed number of problems."""

from __future__ import annotations

from math import log
from typing import Literal

Verdict = Literal["accept", "reject", "open"]


def log_ratio(correct: int, n: int, p0: float, p1: float) -> float:
    """Return the log likelihood ratio of accuracy `p1` against `p0` after `correct` of `n`."""
    return correct * log(p1 / p0) + (n - correct) * log((1 - p1) / (1 - p0))


def bounds(alpha: float, beta: float, failed_looks: int = 0) -> tuple[float, float]:
    """Return (reject at or below, accept at or above).

    A. Wald, "Sequential tests of statistical hypotheses", Ann. Math. Stat. 16 (1945) 117-186. Each look after `failed_looks`
    may err with alpha / (failed_looks + 1)^2, so all looks at a level together stay below 1.65 alpha, however many.
    """
    spent = alpha / (failed_looks + 1) ** 2
    return log(beta / (1 - spent)), log((1 - beta) / spent)


def verdict(correct: int, n: int, p0: float, p1: float, alpha: float, beta: float, failed_looks: int = 0) -> Verdict:
    """Return what `correct` of `n` decides: accept accuracy p1, reject it in favour of p0, or ask on."""
    low, high = bounds(alpha, beta, failed_looks)
    ratio = log_ratio(correct, n, p0, p1)
    return "accept" if ratio >= high else "reject" if ratio <= low else "open"
