"""The reference solver: works a problem out from the prompt text alone, in Python integers.

Independent of the generator on purpose: operations are defined here a second time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from realm.guild.skills.bin.reading import (
    ONE,
    ZERO,
    Bits,
    Call,
    Choice,
    Equation,
    Hole,
    Name,
    Number,
    Program,
    Reading,
    Term,
    Unreadable,
    read_prompt,
)

MAX_BITS = 4096
_FIXED = ("not", "shift_left", "shift_right", "negate", "absolute_value", "add_signed", "subtract_signed")
_SIGNED = ("negate", "absolute_value", "add_signed", "subtract_signed", "overflow")


@dataclass(frozen=True)
class Value:
    """A value worked out: `places` digits wide where the rules fix it, `decimal` where it is written in decimal."""

    number: int
    places: int = 0
    decimal: bool = False


@dataclass(frozen=True)
class Solution:
    """What a right answer says: the value as text, the whole last line, and the canonical key."""

    value: str
    line: str
    key: str
    reading: Reading


_TWO: dict[str, Callable[[int, int], int]] = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "equals": lambda x, y: 1 if x == y else 0,
    "lessthan": lambda x, y: 1 if x < y else 0,
    "greaterthan": lambda x, y: 1 if x > y else 0,
    "maximum": max,
    "minimum": min,
    "and": lambda x, y: x & y,
    "or": lambda x, y: x | y,
    "xor": lambda x, y: x ^ y,
    "divide": lambda x, y: x // y,
    "modulo": lambda x, y: x % y,
    "shift_left": lambda x, y: x * 2**y,
    "shift_right": lambda x, y: x // 2**y,
    "add_signed": lambda x, y: x + y,
    "subtract_signed": lambda x, y: x - y,
}
_ONE: dict[str, Callable[[int], int]] = {
    "increment": lambda x: x + 1,
    "decrement": lambda x: x - 1,
    "multiply_by_2": lambda x: x * 2,
    "divide_by_2": lambda x: x // 2,
    "not": lambda x: -1 - x,
    "count_ones": lambda x: bin(x).count("1"),
    "parity": lambda x: bin(x).count("1") % 2,
    "negate": lambda x: -x,
    "absolute_value": abs,
    "tobinary": lambda x: x,
    "todecimal": lambda x: x,
}
OPERATIONS = (*_ONE, *_TWO, "overflow")


def operate(name: str, args: list[int], width: int | None) -> Value:
    """Return the value of one operation on natural numbers; raises Unreadable where the rules give it no value."""
    if name not in OPERATIONS or len(args) != (1 if name in _ONE else 2):
        raise Unreadable(f"{name} with {len(args)} operands is not an operation")
    if name in ("divide", "modulo") and args[1] == 0:
        raise Unreadable("division by zero")
    if name.startswith("shift") and args[1] > MAX_BITS:
        raise Unreadable("a shift is too long")
    places = 0
    if name in _FIXED or name in _SIGNED:
        args, places = _at_width(name, args, width)
    if name == "overflow":
        total = args[0] + args[1]
        return Value(0 if -(2 ** (places - 1)) <= total < 2 ** (places - 1) else 1)
    result = _ONE[name](args[0]) if name in _ONE else _TWO[name](args[0], args[1])
    if places:
        return Value(result % 2**places, places)
    if result < 0 or result.bit_length() > MAX_BITS:
        raise Unreadable(f"{name} gives a value that cannot be written")
    return Value(result, decimal=name == "todecimal")


def _at_width(name: str, args: list[int], width: int | None) -> tuple[list[int], int]:
    """Check that operands fit the stated width; read signed ones as two's complement."""
    if width is None:
        raise Unreadable(f"{name} needs a stated width")
    patterns = args[:1] if name.startswith("shift") else args
    if any(value >= 2**width for value in patterns):
        raise Unreadable(f"an operand of {name} does not fit {width} digits")
    if name in _SIGNED:
        args = [value - 2**width if value >= 2 ** (width - 1) else value for value in args]
    return args, width


def evaluate(term: Term, names: dict[str, Value], width: int | None) -> Value:
    """Return the value of a tree; raises Unreadable."""
    if isinstance(term, Bits):
        number = int(term.text.replace(ZERO, "0").replace(ONE, "1"), 2)
        return Value(number, 0)
    if isinstance(term, Number):
        return Value(term.value, decimal=True)
    if isinstance(term, Name):
        if term.name not in names:
            raise Unreadable(f"variable {term.name} has no value")
        return names[term.name]
    if isinstance(term, Choice):
        condition = evaluate(term.condition, names, width)
        return evaluate(term.yes if condition.number else term.no, names, width)
    if isinstance(term, Program):
        return _run(term, names, width)
    if isinstance(term, Call):
        return _call(term, names, width)
    raise Unreadable("a hole or an equation has no value by itself")


def _run(program: Program, names: dict[str, Value], width: int | None) -> Value:
    last = Value(0)
    for statement in program.body:
        for _ in range(statement.times):
            last = names[statement.name] = evaluate(statement.term, names, width)
    return last


def _call(term: Call, names: dict[str, Value], width: int | None) -> Value:
    first = term.args[0]
    if isinstance(first, Equation):
        return _equation(term.name, first, width)
    values = [evaluate(arg, names, width) for arg in term.args]
    wanted = [_takes_decimal(term.name, place) for place in range(len(values))]
    if [value.decimal for value in values] != wanted:
        raise Unreadable(f"{term.name} mixes decimal and binary operands")
    return operate(term.name, [value.number for value in values], width)


def _takes_decimal(name: str, place: int) -> bool:
    return name == "tobinary" or (name.startswith("shift") and place == 1)


def _equation(name: str, equation: Equation, width: int | None) -> Value:
    if name == "find":
        return _missing(equation, width)
    left, right = evaluate(equation.left, {}, width), evaluate(equation.right, {}, width)
    if name == "judge":
        return Value(1 if left.number == right.number else 0)
    for place, (a, b) in enumerate(zip(_backwards(left.number), _backwards(right.number), strict=False), start=1):
        if a != b:
            return Value(place, decimal=True)
    raise Unreadable("no digit is wrong")


def _backwards(number: int) -> str:
    return f"{number:0{MAX_BITS}b}"[::-1]


def _missing(equation: Equation, width: int | None) -> Value:
    """Solve add, subtract or xor for the one hole."""
    call, total = equation.left, evaluate(equation.right, {}, width).number
    if not isinstance(call, Call) or len(call.args) != 2 or [isinstance(a, Hole) for a in call.args].count(True) != 1:
        raise Unreadable("find needs one hole as an operand")
    hole_first = isinstance(call.args[0], Hole)
    known = evaluate(call.args[1] if hole_first else call.args[0], {}, width).number
    if call.name == "add":
        answer = total - known
    elif call.name == "xor":
        answer = total ^ known
    elif call.name == "subtract":
        answer = total + known if hole_first else known - total
    else:
        raise Unreadable(f"find does not solve {call.name}")
    if answer < 0:
        raise Unreadable("no operand fits")
    return Value(answer)


def show(value: Value, reading: Reading) -> str:
    """Write a value as the prompt wants it: its digits, order and width; raises Unreadable where it does not fit."""
    if value.decimal:
        return str(value.number)
    text = format(value.number, "b")
    places = reading.padded or value.places
    if places and len(text) > places:
        raise Unreadable("the answer does not fit the width")
    text = text.rjust(places, "0")
    text = text[::-1] if reading.lsb else text
    return text.translate({48: reading.zero, 49: reading.one})


def _key(reading: Reading, uses_width: bool) -> str:
    """The canonical key: `style|width or -|body` in circled digits, natural order, no leading zeros."""
    return f"{reading.style}|{reading.width if uses_width else '-'}|{_natural(reading.plain_body, reading.lsb)}"


def _natural(body: str, lsb: bool) -> str:
    out, run = [], ""
    for char in body + " ":
        if char in (ZERO, ONE):
            run += char
            continue
        if run:
            run = run[::-1] if lsb else run
            out.append(run.lstrip(ZERO) or ZERO)
            run = ""
        out.append(char)
    return "".join(out)[:-1]


@lru_cache(maxsize=512)
def solve_prompt(prompt: str) -> Solution:
    """Work out a prompt; raises Unreadable when it is not a BIN problem with exactly one answer."""
    reading = read_prompt(prompt)
    value = show(evaluate(reading.term, {}, reading.width), reading)
    return Solution(value, f"{reading.body} = {value}", _key(reading, reading.width is not None), reading)
