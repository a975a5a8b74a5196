"""Lines of a `[trace]` answer: every position of one operation, least significant first, each line a true equation.

`+ - *` are arithmetic, `&` joins digits, names such as `less(a, b, state)` are one-digit functions with a carried state.
The equations module reads these lines back and checks them without this code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Digits = Callable[[int], str]
Lines = list[str]


def _sum(a: int, b: int, show: Digits) -> Lines:
    lines, carry = [], 0
    for i in range(max(a.bit_length(), b.bit_length(), 1)):
        x, y = a >> i & 1, b >> i & 1
        total = x + y + carry
        lines.append(f"{show(x)}+{show(y)}+{show(carry)}={show(total >> 1)}{show(total & 1)}")
        carry = total >> 1
    return lines


def _difference(a: int, b: int, show: Digits) -> Lines:
    """A borrow shows as a ten before the digit: `①⓪-①-⓪=①`."""
    lines, borrow = [], 0
    for i in range(max(a.bit_length(), 1)):
        x, y = a >> i & 1, b >> i & 1
        lent = x - y - borrow < 0
        lines.append(f"{show(x + 2 * lent)}-{show(y)}-{show(borrow)}={show(x + 2 * lent - y - borrow)}")
        borrow = int(lent)
    return lines


def _fold(name: str, start: int, step: Callable[[int, int, int], int]) -> Callable[[int, int, Digits], Lines]:
    def lines_of(a: int, b: int, show: Digits) -> Lines:
        lines, state = [], start
        for i in range(max(a.bit_length(), b.bit_length(), 1)):
            x, y = a >> i & 1, b >> i & 1
            after = step(x, y, state)
            lines.append(f"{name}({show(x)}, {show(y)}, {show(state)})={show(after)}")
            state = after
        return lines

    return lines_of


_same = _fold("same", 1, lambda x, y, s: s & (x == y))
_less = _fold("less", 0, lambda x, y, s: s if x == y else int(x < y))
_more = _fold("more", 0, lambda x, y, s: s if x == y else int(x > y))


def _bitwise(name: str, step: Callable[[int, int], int]) -> Callable[[int, int, Digits], Lines]:
    def lines_of(a: int, b: int, show: Digits) -> Lines:
        places = range(max(a.bit_length(), b.bit_length(), 1))
        pairs = [(a >> i & 1, b >> i & 1) for i in places]
        return [f"{name}({show(x)}, {show(y)})={show(step(x, y))}" for x, y in pairs]

    return lines_of


def _product(a: int, b: int, show: Digits) -> Lines:
    lines, total = [], 0
    for i in range(max(b.bit_length(), 1)):
        part = (a << i) * (b >> i & 1)
        lines.append(f"{show(total)}+{show(part)}={show(total + part)}")
        total += part
    return lines


def _long_division(a: int, b: int, show: Digits) -> Lines:
    """Most significant first, as division has to be: quotient digit, divisor, remainder."""
    lines, rest = [], 0
    for i in reversed(range(max(a.bit_length(), 1))):
        current = rest << 1 | (a >> i & 1)
        digit = int(current >= b)
        rest = current - digit * b
        lines.append(f"{show(digit)}*{show(b)}+{show(rest)}={show(current)}")
    return lines


def _count(a: int, show: Digits) -> Lines:
    lines, count = [], 0
    for i in range(max(a.bit_length(), 1)):
        digit = a >> i & 1
        lines.append(f"{show(digit)}+{show(count)}={show(count + digit)}")
        count += digit
    return lines


def _parity(a: int, show: Digits) -> Lines:
    lines, state = [], 0
    for i in range(max(a.bit_length(), 1)):
        digit = a >> i & 1
        lines.append(f"xor({show(digit)}, {show(state)})={show(digit ^ state)}")
        state ^= digit
    return lines


def _halvings(a: int) -> Lines:
    lines = [f"2*{a // 2}+{a % 2}={a}"]
    while a := a // 2:
        lines.append(f"2*{a // 2}+{a % 2}={a}")
    return lines


def _places(a: int) -> Lines:
    lines, total = [], 0
    for i in range(max(a.bit_length(), 1)):
        digit = a >> i & 1
        lines.append(f"{total}+{digit}*{1 << i}={total + (digit << i)}")
        total += digit << i
    return lines


def _shift_left(a: int, places: int, show: Digits) -> Lines:
    zeros = show(0) * places
    return [f"{show(a)}&{zeros}={show(a)}{zeros}"]


def _shift_right(a: int, places: int, show: Digits) -> Lines:
    gone = "".join(show(a >> i & 1) for i in reversed(range(places)))
    return [f"{show(a >> places)}&{gone}={show(a)}"]


def _not(a: int, width: int, show: Digits) -> Lines:
    return [f"flip({show(a >> i & 1)})={show(1 - (a >> i & 1))}" for i in range(width)]


_BINARY: dict[str, Callable[[int, int, Digits], Lines]] = {
    "add": _sum, "subtract": _difference, "equals": _same, "lessthan": _less, "greaterthan": _more,
    "maximum": _less, "minimum": _less, "and": _bitwise("and", lambda x, y: x & y),
    "or": _bitwise("or", lambda x, y: x | y), "xor": _bitwise("xor", lambda x, y: x ^ y),
    "shift_left": _shift_left, "shift_right": _shift_right, "multiply": _product,
    "divide": _long_division, "modulo": _long_division,
}  # fmt: skip
_UNARY: dict[str, Callable[[int, Digits], Lines]] = {
    "increment": lambda a, show: _sum(a, 1, show),
    "decrement": lambda a, show: _difference(a, 1, show),
    "multiply_by_2": lambda a, show: _shift_left(a, 1, show),
    "divide_by_2": lambda a, show: _shift_right(a, 1, show),
    "tobinary": lambda a, show: _halvings(a),
    "todecimal": lambda a, show: _places(a),
    "count_ones": _count,
    "parity": _parity,
}
TRACED = frozenset((*_BINARY, *_UNARY, "not"))


def trace_lines(op: str, args: Sequence[int], width: int, show: Digits) -> list[str]:
    """Return the position lines of one operation; `show` writes a number in the digits of the problem."""
    if op == "not":
        return _not(args[0], width, show)
    if op in _UNARY:
        return _UNARY[op](args[0], show)
    return _BINARY[op](args[0], args[1], show)
