"""The forms of a problem: a plain expression, a missing operand, an equation to judge, a wrong digit, a program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from realm.guild.skills.bin import draw
from realm.guild.skills.bin.build import DECIMAL, HOLE, LITERAL, VARIABLE, Builder, Node, walk
from realm.guild.skills.bin.levels import FORM_LEVEL, OP_LEVEL, OPS_LEVEL, Level, level_of_width
from realm.guild.skills.bin.ops import OPS

_NAMES = "abcdefghijklmnopqrstuvwxyz"
_HOLED = ("add", "subtract", "xor")


@dataclass(slots=True)
class Statement:
    """One statement of a program: `name = node`, with a condition and an else branch, or repeated `times`."""

    name: str
    node: Node
    condition: Node | None = None
    otherwise: Node | None = None
    times: int = 0

    def nodes(self) -> list[Node]:
        return [node for node in (self.condition, self.node, self.otherwise) if node is not None]


@dataclass(slots=True)
class Problem:
    """One problem before it is written down.

    `steps` are the operations as executed, with their values; `shown` is the right hand side of an equation form.
    """

    form: str
    answer: int
    fixed: bool = False
    decimal: bool = False
    expression: Node | None = None
    statements: list[Statement] = field(default_factory=list)
    shown: Node | None = None
    steps: list[Node] = field(default_factory=list)
    true: bool | None = None

    def nodes(self) -> list[Node]:
        """Return every node as written, leaves included."""
        roots = [self.expression] if self.expression else []
        roots += [node for statement in self.statements for node in statement.nodes()]
        return [node for root in roots for node in walk(root)]

    def ops(self) -> list[str]:
        return [node.op for node in self.nodes() if node.op in OPS]


@dataclass(frozen=True, slots=True)
class Slot:
    """What is decided for an item before its draw: whether it is novel, the truth of an equation to judge, its nesting.

    `chain` is a mark in [0, 1): below `nested`, the share of nested expressions, it is nested, and the mark says how deep.
    """

    novel: bool
    truth: bool
    chain: float
    nested: float


def level_needed(problem: Problem, row: Level) -> int:
    """Return the lowest level that can pose this problem (see levels.py)."""
    nodes = problem.nodes()
    ops = [OPS[node.op] for node in nodes if node.op in OPS]
    if any(op.fixed or op.signed for op in ops):
        return row.level  # the prompt states the level's width
    widest = max((node.value.bit_length() for node in nodes if node.op == LITERAL or _is_source(node)), default=0)
    count = OPS_LEVEL[len(ops)] if problem.expression else 1
    return max(level_of_width(widest), count, FORM_LEVEL.get(problem.form, 1), *(OP_LEVEL[op.name] for op in ops), 1)


def _is_source(node: Node) -> bool:
    return node.op == "tobinary" and node.args[0].op == DECIMAL


def _op_count(row: Level, slot: Slot, at_least: int) -> int:
    """Return the number of operators that a slot asks for: one, or where nested two to `max_ops` evenly."""
    mark = slot.chain
    if at_least < 2:
        if mark >= slot.nested:
            return 1
        mark /= slot.nested
    return 2 + int(mark * (row.max_ops - 1))


def _expression(rng: Random, row: Level, slot: Slot, *, root: bool) -> Node | None:
    builder = Builder(rng, row, novel=slot.novel, root=root)
    return builder.expression(_op_count(row, slot, 2 if builder.mix else 1))


def plain(rng: Random, row: Level, slot: Slot) -> Problem | None:
    """An expression whose value is asked."""
    node = _expression(rng, row, slot, root=True)
    if node is None:
        return None
    steps = [n for n in walk(node) if n.op in OPS]
    return Problem("expr", node.value, node.fixed, node.op == "todecimal", node, steps=steps)


def find(rng: Random, row: Level, slot: Slot) -> Problem | None:
    """An equation with a hole: the missing operand of an addition, a subtraction or an exclusive or."""
    op = OPS[_HOLED[int(rng.random() * 3)]]
    inner = int(rng.random() * row.max_ops)
    other = Builder(rng, row, novel=False, root=False).expression(inner) if inner else _literal(rng, row)
    if other is None:
        return None
    hole = Node(HOLE, draw.natural(rng, row.width))
    args = [hole, other] if rng.random() < 0.5 else [other, hole]
    if op.name == "subtract" and args[0].value < args[1].value:
        args.reverse()
    value = op.apply([arg.value for arg in args], row.width)
    if value is None:
        return None
    root = Node(op.name, value, tuple(args))
    steps = [n for n in walk(root) if n.op in OPS]
    return Problem("find", hole.value, expression=root, shown=Node(LITERAL, value), steps=steps)


def _literal(rng: Random, row: Level) -> Node:
    return Node(LITERAL, draw.natural(rng, row.width, True))


def judge(rng: Random, row: Level, slot: Slot) -> Problem | None:
    """An equation to be called true or false; a false one differs from the truth in one digit."""
    node = _expression(rng, row, replace(slot, novel=False), root=False)
    if node is None:
        return None
    shown = node.value if slot.truth else _spoil(rng, node, row, 1)
    if shown is None:
        return None
    steps = [n for n in walk(node) if n.op in OPS]
    right = Node(LITERAL, shown, fixed=node.fixed)
    return Problem("judge", int(slot.truth), expression=node, shown=right, steps=steps, true=slot.truth)


def first_wrong(rng: Random, row: Level, slot: Slot) -> Problem | None:
    """A false equation; asked is the place of its lowest wrong digit, counted from 1 at the least significant one."""
    node = _expression(rng, row, replace(slot, novel=False), root=False)
    if node is None or (node.value < 2 and not node.fixed):
        return None
    shown = _spoil(rng, node, row, 1 + int(rng.random() * 3))
    if shown is None:
        return None
    wrong = shown ^ node.value
    place = (wrong & -wrong).bit_length()
    steps = [n for n in walk(node) if n.op in OPS]
    right = Node(LITERAL, shown, fixed=node.fixed)
    return Problem("first_wrong", place, decimal=True, expression=node, shown=right, steps=steps)


def _spoil(rng: Random, node: Node, row: Level, flips: int) -> int | None:
    """Flip digits of a result without changing its number of digits."""
    length = row.width if node.fixed else max(1, node.value.bit_length())
    places = length if node.fixed or length == 1 else length - 1
    value = node.value
    for _ in range(flips):
        value ^= 1 << int(rng.random() * places)
    return value if value != node.value else None


class ProgramBuilder:
    """Builds a program whose statements each use the one before, so that its last value depends on all of them."""

    def __init__(self, rng: Random, row: Level) -> None:
        self.rng, self.row = rng, row
        self.builder = Builder(rng, row, novel=False, root=False)
        self.statements: list[Statement] = []
        self.steps: list[Node] = []
        self.last: Node | None = None

    def literal(self) -> None:
        """Add `name = digits`, for a program of more assignments than operators."""
        self._assign(_literal(self.rng, self.row), [])

    def _assign(self, node: Node, steps: list[Node]) -> None:
        name = _NAMES[len(self.statements)]
        self.statements.append(Statement(name, node))
        self._remember(name, node, steps)

    def _remember(self, name: str, node: Node, steps: list[Node]) -> None:
        self.steps += steps
        self.last = Node(VARIABLE, node.value, fixed=node.fixed, name=name)

    def call(self, first: Node | None) -> Node | None:
        """Return one operation on `first` (or a literal), without touching the program."""
        for _ in range(8):
            op = self.builder.choose(False, False)
            args = [first or self.builder.leaf(op, 0)]
            args += [self.builder.leaf(op, place) for place in range(1, op.arity)]
            if op.name == "subtract" and args[0].value < args[1].value:
                args.reverse()
            if node := self.builder.apply(op, *args):
                return node
        return None

    def operation(self) -> bool:
        """Add `name = op(..)` on the last variable, or on a literal when it is the first assignment."""
        node = self.call(self.last)
        if node is None:
            return False
        self._assign(node, [node])
        return True

    def branch(self) -> bool:
        """Add `name = if lessthan(x, y) then .. else ..`; one branch is an operation, the other the value as it is."""
        last = self.last
        if last is None:
            return False
        near = draw.natural(self.rng, self.row.width)
        pair = (last, Node(LITERAL, near)) if self.rng.random() < 0.5 else (Node(LITERAL, near), last)
        condition = self.builder.apply(OPS["lessthan"], *pair)
        then, other = self.call(last), self.call(last) if self.rng.random() < 0.5 else last
        if condition is None or then is None or other is None:
            return False
        name = _NAMES[len(self.statements)]
        self.statements.append(Statement(name, then, condition, other))
        taken = then if condition.value else other
        self._remember(name, taken, [condition, taken] if taken.op in OPS else [condition])
        return True

    def repeat(self) -> bool:
        """Add `repeat k: x = op(x)` on the last variable."""
        last, times = self.last, 2 + int(self.rng.random() * 7)
        if last is None or (node := self.call(last)) is None or node.args[0].op != VARIABLE:
            return False
        op, steps = OPS[node.op], [node]
        while len(steps) < times:
            before = steps[-1]
            again = Node(VARIABLE, before.value, fixed=before.fixed, name=last.name)
            result = self.builder.apply(op, again, *node.args[1:])
            if result is None:
                return False
            steps.append(result)
        self.statements.append(Statement(last.name, node, times=times))
        self._remember(last.name, steps[-1], steps)
        return True

    def unused(self, count: int) -> bool:
        """Slip in assignments that nothing reads, under names of their own."""
        names = list(_NAMES[len(self.statements) : len(self.statements) + count])
        for name in names:
            node = self.call(None)
            if node is None:
                return False
            self.statements.insert(int(self.rng.random() * len(self.statements)), Statement(name, node))
        return True

    def finish(self, form: str) -> Problem | None:
        """Return the program as a problem that asks for its last value."""
        last = self.last
        if last is None:
            return None
        return Problem(form, last.value, last.fixed, statements=self.statements, steps=self.steps)


# form -> fewest and most assignments, operators set aside for its special statement, assignments that statement takes
_PROGRAMS = {
    "run_short": (2, 3, 0, 0),
    "run_long": (4, 6, 0, 0),
    "run_if": (2, 4, 3, 1),
    "run_repeat": (2, 4, 1, 1),
    "run_unused": (2, 4, 2, 0),
}


def _add_special(program: ProgramBuilder, form: str) -> bool:
    if form == "run_if":
        return program.branch()
    if form == "run_repeat":
        return program.repeat()
    return form != "run_unused" or program.unused(1 + int(program.rng.random() * 2))


def _program(form: str) -> Callable[[Random, Level, Slot], Problem | None]:
    low, high, reserved, taken = _PROGRAMS[form]

    def build(rng: Random, row: Level, slot: Slot) -> Problem | None:
        program = ProgramBuilder(rng, row)
        count = low + int(rng.random() * (high - low + 1)) - taken
        if count > row.max_ops - reserved:
            program.literal()
        while len(program.statements) < count:
            if not program.operation():
                return None
        return program.finish(form) if _add_special(program, form) else None

    return build


FORMS: dict[str, Callable[[Random, Level, Slot], Problem | None]] = {
    "find": find,
    "judge": judge,
    "first_wrong": first_wrong,
    **{form: _program(form) for form in _PROGRAMS},
}


def pose(rng: Random, row: Level, slot: Slot) -> Problem | None:
    """Draw one problem of a level: its new form when the slot is novel, else an expression or an earlier form."""
    if slot.novel and row.new_form:
        return FORMS[row.new_form](rng, row, slot)
    earlier = row.forms[:-1] if row.new_form else row.forms
    if earlier and rng.random() < 0.5:
        return FORMS[earlier[int(rng.random() * len(earlier))]](rng, row, slot)
    return plain(rng, row, slot)
