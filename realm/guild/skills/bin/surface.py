"""How a problem looks: digits, symbol keys, rules that hold for it, the prompt and its canonical key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from realm.guild.skills.bin.build import DECIMAL, HOLE, LITERAL, VARIABLE, Node
from realm.guild.skills.bin.forms import Problem, Statement
from realm.guild.skills.bin.levels import Level
from realm.guild.skills.bin.ops import OPS

ZERO, ONE = "⓪", "①"
# Single code points that are shown as pictures without a variation selector: 20 animals, 20 foods. Few enough that a
# small vocabulary can hold each as one token; a prompt needs at most 18.
SYMBOLS = tuple(chr(code) for start in (0x1F40C, 0x1F345) for code in range(start, start + 20))
_SIGNED = frozenset(name for name, op in OPS.items() if op.signed)
_SHIFTS = frozenset(("shift_left", "shift_right"))
_FIXED = frozenset(name for name, op in OPS.items() if op.fixed)
_FORM_RULES = {
    "find": "find gives the value of ?",
    "judge": f"judge gives {ONE} if the equation is true, else {ZERO}",
    "first_wrong": "first_wrong gives the place of the lowest wrong digit in decimal, the last digit is place 1",
}


@dataclass(slots=True)
class Surface:
    """The writing of one problem: digit pairs (two with two keys), names of operations, order and padding of digits."""

    pairs: tuple[tuple[str, str], ...] = ((ZERO, ONE),)
    names: dict[str, str] = field(default_factory=dict)
    width: int = 0
    lsb: bool = False
    padded: bool = False
    canonical: bool = False
    literals: int = 0

    def digits(self, value: int, fixed: bool = False, pair: int = 0) -> str:
        """Write a number in the digits of a key: natural, or padded to the width where the result is fixed."""
        wide = self.padded or (fixed and not self.canonical)
        text = f"{value:0{self.width}b}" if wide else f"{value:b}"
        zero, one = self.pairs[pair]
        text = text.replace("0", zero).replace("1", one)
        return text[::-1] if self.lsb else text

    def node(self, node: Node) -> str:
        """Write a tree; with two keys the literals take turns, the first in key A."""
        if node.op == LITERAL:
            pair = self.literals % len(self.pairs)
            self.literals += 1
            return self.digits(node.value, node.fixed, pair)
        if node.op == DECIMAL:
            return str(node.value)
        if node.op == VARIABLE:
            return node.name
        if node.op == HOLE:
            return "?"
        return f"{self.names.get(node.op, node.op)}({', '.join([self.node(arg) for arg in node.args])})"

    def statement(self, statement: Statement) -> str:
        """Write one statement of a program."""
        if statement.condition is not None and statement.otherwise is not None:
            condition, then = self.node(statement.condition), self.node(statement.node)
            return f"{statement.name} = if {condition} then {then} else {self.node(statement.otherwise)}"
        text = f"{statement.name} = {self.node(statement.node)}"
        return f"repeat {statement.times}: {text}" if statement.times else text

    def body(self, problem: Problem) -> str:
        """Write what is to be computed; the answer's last line repeats it."""
        self.literals = 0
        if problem.expression is None:
            return f"run({'; '.join([self.statement(s) for s in problem.statements])})"
        text = self.node(problem.expression)
        if problem.shown is None:
            return text
        return f"{problem.form}({text} = {self.node(problem.shown)})"

    def answer(self, problem: Problem) -> str:
        """Write the value asked for, in key A where there are two."""
        return str(problem.answer) if problem.decimal else self.digits(problem.answer, problem.fixed)


def plain_surface(row: Level) -> Surface:
    """The surface without a symbol key: circled digits and full names."""
    return Surface(width=row.width)


def draw_keys(rng: Random, row: Level, mode: str, used: Sequence[str], extra: int) -> tuple[Surface, list[str]]:
    """Draw a symbol key and return the surface with its prompt lines.

    Symbols are drawn without replacement across digits and operations, so none has two meanings. `mode` is "digits",
    "full" (operations too) or "two" (a key for each operand and one for operations); `extra` more operations are
    defined than used.
    """
    names = list(dict.fromkeys(used)) if mode != "digits" else []
    spare = [name for name in row.all_ops if name not in names]
    names += rng.sample(spare, min(extra, len(spare))) if names else []
    pairs = 2 if mode == "two" else 1
    symbols = rng.sample(SYMBOLS, 2 * pairs + len(names))
    digits = tuple((symbols[2 * i], symbols[2 * i + 1]) for i in range(pairs))
    alias = dict(zip(names, symbols[2 * pairs :], strict=True))
    shown = [[f"{zero}={ZERO}", f"{one}={ONE}"] for zero, one in digits]
    rows = [f"{symbol}={name}" for name, symbol in sorted(alias.items(), key=lambda pair: pair[1])]
    if pairs == 1:
        lines = [f"Symbol Key: {', '.join(shown[0] + rows)}"]
    else:
        lines = [f"Key A: {', '.join(shown[0] + rows)}", f"Key B: {', '.join(shown[1])}"]
    return Surface(pairs=digits, names=alias, width=row.width), lines


def rules(problem: Problem, row: Level, two_keys: bool) -> list[str]:
    """Return the rules that hold for this problem and cannot be read off it; none at the first five levels."""
    ops, width = set(problem.ops()), row.width
    found = [text for text in (_FORM_RULES.get(problem.form),) if text]
    if problem.statements:
        found.append("run gives the value of its last assignment")
    if ops & _SIGNED:
        found.append(f"signed operations use two's complement of {width} digits and wrap")
    if "not" in ops:
        found.append(f"not gives {width} digits")
    if ops & _SHIFTS:
        found.append(f"shifts give {width} digits and drop the rest")
    if "divide" in ops:
        found.append("divide rounds down")
    if ops & _FIXED and ops - _FIXED:
        found.append("other results have no leading zeros")
    if two_keys:
        found.append("answer in key A")
    return found


def states_width(problem: Problem, style: str) -> bool:
    """Say whether the meaning of the problem depends on the level's width."""
    return style == "fixed" or any(op in _SIGNED or op in _FIXED for op in problem.ops())


def canonical_key(problem: Problem, row: Level, style: str) -> str:
    """Return `style|width or -|body` in circled digits, full names and no leading zeros: the content alone."""
    width = str(row.width) if states_width(problem, style) else "-"
    return f"{style}|{width}|{Surface(width=row.width, canonical=True).body(problem)}"


TAGS: dict[str, Callable[[int], str]] = {
    "brief": lambda width: "",
    "verify": lambda width: " [verify]",
    "show-work": lambda width: " [show-work]",
    "trace": lambda width: " [trace]",
    "lsb": lambda width: " [lsb]",
    "fixed": lambda width: f" [fixed {width}]",
}


def prompt(body: str, key_lines: Sequence[str], rule_texts: Sequence[str], style: str, width: int) -> str:
    """Assemble the user turn: key lines, one line of rules where there are any, and the problem with its style tag."""
    lines = [*key_lines]
    if rule_texts:
        lines.append(f"Rules: {'; '.join(rule_texts)}.")
    return "\n".join([*lines, f"Compute: {body}{TAGS[style](width)}"])
