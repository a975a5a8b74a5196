"""Reads a BIN prompt back from its text: keys, width, style, and the problem as a tree.

Independent of the generator: nothing here imports the modules that draw, compute or write problems.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

ZERO, ONE = "⓪", "①"
MAX_PROMPT = 20_000
MAX_DEPTH = 60

_HEAD = re.compile(r"Compute: (?P<body>.+?)(?: \[(?P<style>verify|show-work|trace|lsb|fixed (?P<pad>\d{1,3}))\])?")
_WIDTH = re.compile(r"(\d{1,3}) digits")
_TOKEN = re.compile(
    rf"\s*(?:(?P<bits>[{ZERO}{ONE}]+)|(?P<number>\d{{1,40}})|(?P<name>[a-z][a-z0-9_]*)|(?P<sign>[(),=;:?]))"
)
_KEY_LINE = re.compile(r"(?:Symbol Key|Key [AB]): (.+)")


class Unreadable(ValueError):
    """The text is not a BIN problem; the message says where reading stopped."""


@dataclass(frozen=True)
class Call:
    """`name(args)`."""

    name: str
    args: tuple[Term, ...]


@dataclass(frozen=True)
class Bits:
    """A run of digits; its text is kept, least significant digit last."""

    text: str


@dataclass(frozen=True)
class Number:
    """A decimal number."""

    value: int


@dataclass(frozen=True)
class Name:
    """A variable of a program."""

    name: str


@dataclass(frozen=True)
class Hole:
    """The missing operand."""


@dataclass(frozen=True)
class Equation:
    """`left = right`, the argument of judge, find and first_wrong."""

    left: Term
    right: Term


@dataclass(frozen=True)
class Choice:
    """`if condition then yes else no`."""

    condition: Term
    yes: Term
    no: Term


@dataclass(frozen=True)
class Assignment:
    """`name = term`, repeated `times` (1 without a repeat)."""

    name: str
    term: Term
    times: int


@dataclass(frozen=True)
class Program:
    """`run(a; b; c)`."""

    body: tuple[Assignment, ...]


Term = Call | Bits | Number | Name | Hole | Equation | Choice | Program


@dataclass(frozen=True)
class Reading:
    """A prompt, understood: the tree, the body as written, digits to answer with, stated width, style."""

    term: Term
    body: str
    plain_body: str
    zero: str
    one: str
    to_plain: dict[int, str]
    width: int | None
    padded: int | None
    lsb: bool
    style: str


@lru_cache(maxsize=512)
def read_prompt(text: str) -> Reading:
    """Read the user turn of a BIN item; raises Unreadable."""
    if len(text) > MAX_PROMPT:
        raise Unreadable("the prompt is too long")
    lines = [line.strip() for line in text.strip().split("\n")]
    head = _HEAD.fullmatch(lines[-1])
    if head is None:
        raise Unreadable("no 'Compute:' on the last line")
    to_plain, zero, one = _keys([line for line in lines[:-1] if "Key" in line])
    rules = " ".join(line for line in lines[:-1] if line.startswith("Rules:"))
    stated = {int(width) for width in _WIDTH.findall(rules)}
    if len(stated) > 1 or any(width < 2 or width > 256 for width in stated):
        raise Unreadable("the rules state contradicting widths")
    style = (head["style"] or "brief").split()[0]
    body = head["body"]
    plain = body.translate(to_plain)
    lsb = style == "lsb"
    padded = int(head["pad"]) if head["pad"] else None
    return Reading(
        term=Parser(plain, lsb).whole(), body=body, plain_body=plain, zero=zero, one=one, to_plain=to_plain,
        width=next(iter(stated), padded), padded=padded, lsb=lsb, style=style,
    )  # fmt: skip


def _keys(lines: list[str]) -> tuple[dict[int, str], str, str]:
    """Read the key lines; the first line's digits are those of the answer. No symbol may have two meanings."""
    table: dict[int, str] = {}
    answer: dict[str, str] = {}
    for line in lines:
        match = _KEY_LINE.fullmatch(line)
        if match is None:
            raise Unreadable("a key line is malformed")
        digits: dict[str, str] = {}
        for pair in match[1].split(", "):
            symbol, _, meaning = pair.partition("=")
            if len(symbol) != 1 or not meaning or ord(symbol) in table:
                raise Unreadable("a key symbol is not one character or has two meanings")
            table[ord(symbol)] = meaning
            digits[meaning] = symbol
        answer = answer or digits
    return table, answer.get(ZERO, ZERO), answer.get(ONE, ONE)


class Parser:
    """Recursive descent over the plain body; `lsb` means that digits are written least significant first."""

    def __init__(self, text: str, lsb: bool) -> None:
        self.tokens = self._tokens(text)
        self.place, self.lsb, self.depth = 0, lsb, 0

    @staticmethod
    def _tokens(text: str) -> list[tuple[str, str]]:
        found, at = [], 0
        text = text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                raise Unreadable(f"unknown sign at {at}")
            found.append((match.lastgroup, match[match.lastgroup]))
            at = match.end()
        return found

    def _peek(self) -> tuple[str, str]:
        return self.tokens[self.place] if self.place < len(self.tokens) else ("end", "")

    def _take(self, *wanted: str) -> str:
        kind, text = self._peek()
        if wanted and text not in wanted:
            raise Unreadable(f"found {text!r} where {' or '.join(wanted)} was due")
        if kind == "end":
            raise Unreadable("the problem ends too early")
        self.place += 1
        return text

    def whole(self) -> Term:
        """Return the tree of the whole body; raises Unreadable on anything left over."""
        name = self._peek()[1]
        if name == "run":
            term: Term = self._program()
        elif name in ("judge", "find", "first_wrong"):
            term = self._equation(name)
        else:
            term = self._term()
        if self.place < len(self.tokens):
            raise Unreadable("something follows the problem")
        return term

    def _equation(self, name: str) -> Call:
        self._take()
        self._take("(")
        left = self._term()
        self._take("=")
        right = self._term()
        self._take(")")
        return Call(name, (Equation(left, right),))

    def _program(self) -> Program:
        self._take()
        self._take("(")
        body = [self._assignment()]
        while self._take(";", ")") == ";":
            body.append(self._assignment())
        return Program(tuple(body))

    def _assignment(self) -> Assignment:
        times = 1
        if self._peek()[1] == "repeat":
            self._take()
            kind, count = self._peek()
            times = int(self._take()) if kind == "number" else 0
            if not 1 <= times <= 64:
                raise Unreadable(f"repeat {count!r} is not a number from 1 to 64")
            self._take(":")
        kind, name = self._peek()
        if kind != "name":
            raise Unreadable(f"found {name!r} where a variable was due")
        self._take()
        self._take("=")
        return Assignment(name, self._term(), times)

    def _term(self) -> Term:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("the problem is nested too deeply")
        kind, text = self._peek()
        self._take()
        term = self._after(kind, text)
        self.depth -= 1
        return term

    def _after(self, kind: str, text: str) -> Term:
        if kind == "bits":
            return Bits(text[::-1] if self.lsb else text)
        if kind == "number":
            return Number(int(text))
        if text == "?":
            return Hole()
        if text == "if":
            condition = self._term()
            self._take("then")
            yes = self._term()
            self._take("else")
            return Choice(condition, yes, self._term())
        if kind != "name":
            raise Unreadable(f"found {text!r} where a value was due")
        if self._peek()[1] != "(":
            return Name(text)
        self._take("(")
        args = [self._term()]
        while self._take(",", ")") == ",":
            args.append(self._term())
        return Call(text, tuple(args))
