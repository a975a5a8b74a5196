"""Checks the lines of work above an answer: each must be a true equation. Reported, never gating.

Reads the plain text (symbols already replaced by circled digits and names); independent of the code that writes it.
"""

from __future__ import annotations

import re

from realm.guild.skills.bin.reading import ONE, ZERO, Parser, Unreadable
from realm.guild.skills.bin.solver import Value, evaluate, operate

MAX_LINE = 2_000
_BITS = re.compile(rf"[{ZERO}{ONE}]+")
_CHECK_CALL = re.compile(r"([a-z][a-z0-9_]*)\((-?\d+)(?:, (-?\d+))?\) = (-?\d+)")
_CELL = re.compile(rf"(same|less|more|flip|and|or|xor)\(([{ZERO}{ONE}, ]+)\)=([{ZERO}{ONE}])")
_SIGNED = ("negate", "absolute_value", "add_signed", "subtract_signed", "overflow")


def line_is_true(line: str, width: int | None, goal: Value | None = None) -> bool:
    """Say whether one line of work is a true equation; a line that is none is not true. Never raises.

    `goal` is the value of the problem: a line `= expression` must have it.
    """
    try:
        return len(line) <= MAX_LINE and _true(line.strip(), width, goal)
    except (Unreadable, ValueError):
        return False


def _true(line: str, width: int | None, goal: Value | None) -> bool:
    if line.startswith("= "):
        found = evaluate(Parser(line.removeprefix("= "), lsb=False).whole(), {}, width)
        return goal is not None and (found.number, found.decimal) == (goal.number, goal.decimal)
    if line.startswith("check: "):
        return _check(line.removeprefix("check: "), width)
    if line.startswith("step: "):
        return _step(line.removeprefix("step: "), width)
    if cell := _CELL.fullmatch(line):
        return _cell(cell[1], [_number(text) for text in cell[2].split(", ")]) == _number(cell[3])
    left, sign, right = line.partition("=")
    return bool(sign) and _sum(left) == _number(right)


def _check(text: str, width: int | None) -> bool:
    """A decimal call such as `add(3, 4) = 7`, signed where the operation is, or a sum of places `4 + 1 = 5`."""
    call = _CHECK_CALL.fullmatch(text)
    if call is None:
        left, _, right = text.partition(" = ")
        return sum(int(part) for part in left.split(" + ")) == int(right)
    name, args, stated = call[1], [int(part) for part in call.groups()[1:3] if part is not None], int(call[4])
    if name not in _SIGNED:
        return operate(name, args, width).number == stated
    if width is None:
        return False
    result = operate(name, [arg % 2**width for arg in args], width).number
    return result == (stated if name == "overflow" else stated % 2**width)


def _step(text: str, width: int | None) -> bool:
    """A call on values, `add(①, ①⓪) = ①①`, in the problem's digits."""
    left, _, right = text.rpartition(" = ")
    found: Value = evaluate(Parser(left, lsb=False).whole(), {}, width)
    if found.decimal:
        return str(found.number) == right
    return bool(_BITS.fullmatch(right)) and _number(right) == found.number and len(right) >= found.places


def _cell(name: str, bits: list[int]) -> int | None:
    """One-digit functions of a position; the last argument of same, less and more is the state from below."""
    if name == "flip" and len(bits) == 1:
        return 1 - bits[0]
    if name in ("and", "or", "xor") and len(bits) == 2:
        return {"and": min(bits), "or": max(bits), "xor": int(bits[0] != bits[1])}[name]
    if name in ("same", "less", "more") and len(bits) == 3:
        x, y, state = bits
        if x == y:
            return state
        return {"same": 0, "less": int(x < y), "more": int(x > y)}[name]
    return None


def _sum(text: str) -> int:
    """A sum or difference of products; `&` joins digits before anything else."""
    total = 0
    for sign, part in re.findall(r"([+-]?)([^+-]+)", text):
        product = 1
        for factor in part.split("*"):
            product *= _number(factor.replace("&", ""))
        total += -product if sign == "-" else product
    return total


def _number(text: str) -> int:
    text = text.strip()
    if _BITS.fullmatch(text):
        return int(text.replace(ZERO, "0").replace(ONE, "1"), 2)
    if text.isascii() and text.isdecimal() and len(text) <= 40:
        return int(text)
    raise Unreadable(f"{text[:20]!r} is not a number")
