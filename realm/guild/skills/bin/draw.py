"""Drawing of operands: widths first, then values, and pairs whose carry or borrow runs through half of the width."""

from __future__ import annotations

from random import Random


def value_of_width(rng: Random, width: int) -> int:
    """Return a number of exactly `width` bits; one bit gives 0 or 1."""
    if width == 1:
        return rng.getrandbits(1)
    return 1 << (width - 1) | rng.getrandbits(width - 1)


def natural(rng: Random, width: int, wide: bool = False) -> int:
    """Return a number whose width is drawn from 1..width; with `wide` every second one has exactly `width` bits."""
    if wide and rng.random() < 0.5:
        return value_of_width(rng, width)
    return value_of_width(rng, 1 + int(rng.random() * width))


def pattern(rng: Random, width: int, wide: bool = False) -> int:
    """Return a two's complement pattern: a magnitude as in `natural`, one bit shorter, with either sign."""
    magnitude = natural(rng, width - 1, wide)
    return -magnitude & ((1 << width) - 1) if rng.random() < 0.5 else magnitude


def carry_pair(rng: Random, width: int) -> tuple[int, int]:
    """Return two numbers of at most `width` bits whose sum carries out of at least width/2 consecutive places."""
    run = rng.randint((width + 1) // 2, width)
    start = rng.randint(0, width - run)
    ones = rng.getrandbits(run) | 1
    other = (~ones & ((1 << run) - 1)) | 1
    high = width - start - run
    a = rng.getrandbits(start + 1) & ~(1 << start) | ones << start | rng.getrandbits(high + 1) >> 1 << (start + run)
    b = rng.getrandbits(start + 1) & ~(1 << start) | other << start | rng.getrandbits(high + 1) >> 1 << (start + run)
    return a, b


def borrow_pair(rng: Random, width: int) -> tuple[int, int]:
    """Return a >= b of at most `width` bits whose difference borrows through at least width/2 consecutive places.

    Needs width >= 3: the place above the run pays for the borrow.
    """
    run = rng.randint((width + 1) // 2, width - 1)
    start = rng.randint(0, width - 1 - run)
    same = rng.getrandbits(run)
    lower = same & ~1
    upper = same | 1
    high = width - start - run - 1
    tops = sorted((rng.getrandbits(high + 1) >> 1, rng.getrandbits(high + 1) >> 1))
    shift = start + run
    a = rng.getrandbits(start + 1) & ~(1 << start) | lower << start | 1 << shift | tops[1] << (shift + 1)
    b = rng.getrandbits(start + 1) & ~(1 << start) | upper << start | tops[0] << (shift + 1)
    return a, b


def overflowing_pair(rng: Random, width: int) -> tuple[int, int]:
    """Return two patterns of one sign whose signed sum leaves the width."""
    top = 1 << (width - 2)
    a, b = top | rng.getrandbits(width - 2) | 1, top | rng.getrandbits(width - 2) | 1
    mask = (1 << width) - 1
    return (a, b) if rng.random() < 0.5 else (-a & mask, -b & mask)
