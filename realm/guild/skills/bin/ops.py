"""The operations as the generator computes them: on natural numbers, or bit patterns of the level's width.

`apply(args, width)` gives the result, or None where the operation is not to be asked (a negative result, a division by
zero, an operand that does not fit). The reference solver has its own evaluation and imports nothing from here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Apply = Callable[[Sequence[int], int], int | None]


@dataclass(frozen=True, slots=True)
class Op:
    """One operation. `fixed`: the result is shown with exactly the stated width; `digit`: the result is one digit.

    `signed`: operands are two's complement patterns; `half`: the second operand has at most width/2 bits;
    `count`: the second argument is a decimal number of places; `decimal`: which side is decimal ("in", "out" or "").
    """

    name: str
    arity: int
    apply: Apply
    fixed: bool = False
    digit: bool = False
    signed: bool = False
    half: bool = False
    count: bool = False
    decimal: str = ""


def to_signed(pattern: int, width: int) -> int:
    """Return the two's complement value of a pattern of `width` bits."""
    return pattern - (1 << width) if pattern >> (width - 1) else pattern


def _fits(args: Sequence[int], width: int) -> bool:
    return all(value >> width == 0 for value in args)


def _signed(compute: Callable[[list[int]], int]) -> Apply:
    def apply(args: Sequence[int], width: int) -> int | None:
        if not _fits(args, width):
            return None
        return compute([to_signed(value, width) for value in args]) & ((1 << width) - 1)

    return apply


def _overflow(args: Sequence[int], width: int) -> int | None:
    if not _fits(args, width):
        return None
    exact = to_signed(args[0], width) + to_signed(args[1], width)
    return int(not -(1 << (width - 1)) <= exact < 1 << (width - 1))


def _half(compute: Callable[[int, int], int], *, divisor: bool) -> Apply:
    def apply(args: Sequence[int], width: int) -> int | None:
        a, b = args
        if b.bit_length() > width // 2 or a.bit_length() > width or (divisor and b == 0):
            return None
        return compute(a, b)

    return apply


def _within(compute: Callable[[Sequence[int], int], int]) -> Apply:
    """For operations on exactly `width` digits: the first operand must fit."""
    return lambda args, width: compute(args, (1 << width) - 1) if args[0] >> width == 0 else None


_LIST = (
    Op("increment", 1, lambda a, w: a[0] + 1),
    Op("decrement", 1, lambda a, w: a[0] - 1 if a[0] else None),
    Op("add", 2, lambda a, w: a[0] + a[1]),
    Op("multiply_by_2", 1, lambda a, w: a[0] << 1),
    Op("divide_by_2", 1, lambda a, w: a[0] >> 1),
    Op("subtract", 2, lambda a, w: a[0] - a[1] if a[0] >= a[1] else None),
    Op("equals", 2, lambda a, w: int(a[0] == a[1]), digit=True),
    Op("lessthan", 2, lambda a, w: int(a[0] < a[1]), digit=True),
    Op("greaterthan", 2, lambda a, w: int(a[0] > a[1]), digit=True),
    Op("maximum", 2, lambda a, w: max(a)),
    Op("minimum", 2, lambda a, w: min(a)),
    Op("and", 2, lambda a, w: a[0] & a[1]),
    Op("or", 2, lambda a, w: a[0] | a[1]),
    Op("xor", 2, lambda a, w: a[0] ^ a[1]),
    Op("not", 1, _within(lambda a, mask: mask ^ a[0]), fixed=True),
    Op("tobinary", 1, lambda a, w: a[0], decimal="in"),
    Op("todecimal", 1, lambda a, w: a[0], decimal="out"),
    Op("shift_left", 2, _within(lambda a, mask: (a[0] << a[1]) & mask), fixed=True, count=True),
    Op("shift_right", 2, _within(lambda a, mask: a[0] >> a[1]), fixed=True, count=True),
    Op("multiply", 2, _half(lambda a, b: a * b, divisor=False), half=True),
    Op("count_ones", 1, lambda a, w: a[0].bit_count()),
    Op("parity", 1, lambda a, w: a[0].bit_count() & 1, digit=True),
    Op("divide", 2, _half(lambda a, b: a // b, divisor=True), half=True),
    Op("modulo", 2, _half(lambda a, b: a % b, divisor=True), half=True),
    Op("negate", 1, _signed(lambda a: -a[0]), fixed=True, signed=True),
    Op("absolute_value", 1, _signed(lambda a: abs(a[0])), fixed=True, signed=True),
    Op("add_signed", 2, _signed(lambda a: a[0] + a[1]), fixed=True, signed=True),
    Op("subtract_signed", 2, _signed(lambda a: a[0] - a[1]), fixed=True, signed=True),
    Op("overflow", 2, _overflow, digit=True, signed=True),
)
OPS: dict[str, Op] = {op.name: op for op in _LIST}
