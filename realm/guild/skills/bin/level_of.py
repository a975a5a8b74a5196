"""The level a BIN problem belongs to, read from its prompt alone; what a file claims about itself plays no part.

Follows levels.py (a problem belongs to the lowest level that can pose it) from the tree that `reading` finds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from realm.guild.skills.bin.levels import FORM_LEVEL, LAST, LEVELS, OP_LEVEL, OPS_LEVEL, level_of_width
from realm.guild.skills.bin.reading import (
    ZERO,
    Assignment,
    Bits,
    Call,
    Choice,
    Equation,
    Name,
    Number,
    Program,
    Reading,
    Term,
    Unreadable,
)
from realm.guild.skills.bin.solver import solve_prompt

_FORMS = ("find", "judge", "first_wrong")
_LONG = 4  # assignments from which a program is a long one
_BY_WIDTH = {row.width: row.level for row in LEVELS.values()}


@dataclass(frozen=True)
class Content:
    """What a problem is, as far as a split is concerned: its level and its canonical key."""

    level: int
    key: str


def content_of(prompt: str) -> Content:
    """Return level and key of a prompt; raises Unreadable when it is not a BIN problem of any level."""
    solution = solve_prompt(prompt)
    return Content(level_of(solution.reading), solution.key)


def level_of(reading: Reading) -> int:
    """Return the level of a problem that was read; raises Unreadable when no level can pose it."""
    if reading.width is not None:
        if reading.width not in _BY_WIDTH:
            raise Unreadable(f"no level states a width of {reading.width} digits")
        return _BY_WIDTH[reading.width]
    form, asked = _form(reading.term)
    calls = [term for term in _walk(asked) if isinstance(term, Call)]
    unknown = [call.name for call in calls if call.name not in OP_LEVEL]
    if unknown:
        raise Unreadable(f"{unknown[0]} is not an operation of a level")
    count = 1 if isinstance(asked, Program) else OPS_LEVEL.get(max(len(calls), 1), LAST + 1)
    widest = max(map(_bits, _walk(asked)), default=0)
    names = [OP_LEVEL[call.name] for call in calls]
    found = max(level_of_width(widest), count, FORM_LEVEL.get(form, 1), *names, 1)
    if found > LAST:
        raise Unreadable("no level poses a problem of this size")
    return found


def _form(term: Term) -> tuple[str, Term]:
    """Return the form and the part of it that decides the level: of an equation the left side."""
    if isinstance(term, Call) and term.name in _FORMS and isinstance(term.args[0], Equation):
        return term.name, term.args[0].left
    if isinstance(term, Program):
        return _program_form(term), term
    return "expr", term


def _program_form(program: Program) -> str:
    if _unused(program):
        return "run_unused"
    if any(one.times > 1 for one in program.body):
        return "run_repeat"
    if any(isinstance(one.term, Choice) for one in program.body):
        return "run_if"
    return "run_long" if len(program.body) >= _LONG else "run_short"


def _unused(program: Program) -> bool:
    """Say whether an assignment is never read: not by a later one, and it is not the last."""
    read: set[str] = set()
    last = len(program.body) - 1
    for place in range(last, -1, -1):
        one = program.body[place]
        if place != last and one.name not in read:
            return True
        own = _names(one)
        if one.times == 1:
            read.discard(one.name)
        read |= own
    return False


def _names(one: Assignment) -> set[str]:
    return {term.name for term in _walk(one.term) if isinstance(term, Name)}


def _walk(term: Term) -> Iterator[Term]:
    yield term
    if isinstance(term, Call):
        inner: tuple[Term, ...] = term.args
    elif isinstance(term, Equation):
        inner = (term.left, term.right)
    elif isinstance(term, Choice):
        inner = (term.condition, term.yes, term.no)
    elif isinstance(term, Program):
        inner = tuple(one.term for one in term.body)
    else:
        inner = ()
    for part in inner:
        yield from _walk(part)


def _bits(term: Term) -> int:
    """Return the width of an operand as written: digits without leading zeros, or a decimal that is made binary."""
    if isinstance(term, Bits):
        return len(term.text.lstrip(ZERO))
    if isinstance(term, Call) and term.name == "tobinary" and isinstance(term.args[0], Number):
        return term.args[0].value.bit_length()
    return 0
