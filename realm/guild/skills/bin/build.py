"""Building of expressions: a tree of operations with the values already worked out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from random import Random

from realm.guild.skills.bin import draw
from realm.guild.skills.bin.levels import CARRY_SHARE, LEVELS, MIXED_FROM, NEW_SHARE, OP_LEVEL, Level
from realm.guild.skills.bin.ops import OPS, Op

LITERAL, DECIMAL, VARIABLE, HOLE = "", "#", "$", "?"
_LEAVES = (LITERAL, DECIMAL, VARIABLE, HOLE)
_EQUAL_SHARE = 0.5


@dataclass(slots=True)
class Node:
    """One node: `op` names an operation, or is "" (digits), "#" (decimal), "$" (variable) or "?" (the hole).

    `fixed` says that the value is shown with the stated width.
    """

    op: str
    value: int
    args: tuple[Node, ...] = ()
    fixed: bool = False
    name: str = ""

    @property
    def is_leaf(self) -> bool:
        return self.op in _LEAVES


@dataclass(frozen=True, slots=True)
class Pools:
    """Operations to choose from: `new` of the level, `known` of lower ones."""

    new: tuple[str, ...]
    known: tuple[str, ...]


@cache
def pools(level: int, family: str, lowest: bool, root: bool) -> Pools:
    """Return the operations allowed at a place of the tree.

    `tobinary` reads a decimal literal, so it stands lowest; `todecimal` gives a decimal, so it stands at the root.
    """

    def allowed(name: str) -> bool:
        op = OPS[name]
        right_family = family == "any" or op.signed == (family == "signed")
        return right_family and (lowest or op.decimal != "in") and (root or op.decimal != "out")

    row = LEVELS[level]
    return Pools(tuple(filter(allowed, row.new_ops)), tuple(filter(allowed, row.known_ops)))


class Builder:
    """Builds one expression; `novel` says whether it must use a new operation of the level."""

    def __init__(self, rng: Random, row: Level, *, novel: bool, root: bool = True) -> None:
        self.rng, self.row, self.root = rng, row, root
        self.novel = novel and bool(row.new_ops)
        self.wide = not self.novel
        self.mix = novel and row.level == MIXED_FROM
        self.forced = -1
        self.placed = 0
        self.family = "any"

    def expression(self, ops: int) -> Node | None:
        """Return a tree of `ops` operations, or None when the draw ran into an operation that may not be asked."""
        self.forced = int(self.rng.random() * ops) if self.novel or self.mix else -1
        if self.row.level < MIXED_FROM and self.row.level >= OP_LEVEL["negate"]:
            self.family = self._draw_family()
        return self._tree(ops, self.root)

    def _draw_family(self) -> str:
        if self.novel:
            return "signed" if OPS[self.row.new_ops[0]].signed else "unsigned"
        known = self.row.known_ops
        return "signed" if OPS[known[int(self.rng.random() * len(known))]].signed else "unsigned"

    def choose(self, lowest: bool, root: bool) -> Op:
        """Draw the operation of the next place; one place of a novel tree takes a new operation for certain."""
        rng, here = self.rng, self.placed == self.forced
        self.placed += 1
        if self.mix:
            pool = pools(self.row.level, "signed" if here else "unsigned", lowest, root)
            names = pool.known
        else:
            pool = pools(self.row.level, self.family, lowest, root)
            fresh = here or (self.novel and rng.random() < NEW_SHARE)
            names = (pool.new if fresh else pool.known) or pool.new or pool.known
        return OPS[names[int(rng.random() * len(names))]]

    def _tree(self, ops: int, root: bool) -> Node | None:
        op = self.choose(ops == 1, root)
        if op.decimal == "in":
            value = draw.natural(self.rng, self.row.width, self.wide)
            return Node(op.name, value, (Node(DECIMAL, value),))
        counts = self._shares(op, ops - 1)
        if op.arity == 2 and counts == (0, 0) and (pair := self._special_pair(op)):
            return self.apply(op, Node(LITERAL, pair[0]), Node(LITERAL, pair[1]))
        args = []
        for place, count in enumerate(counts):
            arg = self._tree(count, False) if count else self.leaf(op, place)
            if arg is None:
                return None
            args.append(arg)
        return self._settle(op, args)

    def _shares(self, op: Op, ops: int) -> tuple[int, ...]:
        """Deal the remaining operations to the arguments."""
        if op.arity == 1:
            return (ops,)
        if op.count:
            return (ops, 0)
        left = int(self.rng.random() * (ops + 1))
        return (left, ops - left)

    def leaf(self, op: Op, place: int) -> Node:
        """Draw the literal for one argument place of an operation."""
        rng, width = self.rng, self.row.width
        if op.count and place == 1:
            return Node(DECIMAL, 1 + int(rng.random() * min(8, width - 1)))
        if op.signed:
            return Node(LITERAL, draw.pattern(rng, width, self.wide))
        if op.half and place == 1:
            return Node(LITERAL, max(1, draw.natural(rng, width // 2)))
        return Node(LITERAL, draw.natural(rng, width, self.wide))

    def _special_pair(self, op: Op) -> tuple[int, int] | None:
        """Return a pair of literals with a long carry, a long borrow or an overflow, as often as the table says."""
        rng, width, name = self.rng, self.row.width, op.name
        if name == "overflow":
            return draw.overflowing_pair(rng, width) if rng.random() < _EQUAL_SHARE else None
        if name in ("add", "add_signed") and rng.random() < CARRY_SHARE:
            return draw.carry_pair(rng, width)
        if name in ("subtract", "subtract_signed") and rng.random() < CARRY_SHARE:
            return draw.borrow_pair(rng, width)
        return None

    def _settle(self, op: Op, args: list[Node]) -> Node | None:
        """Balance comparisons, order the operands of a difference, and apply."""
        if op.name == "equals":
            self._make_equal(args)
        elif (op.name == "subtract" and args[0].value < args[1].value) or (
            op.half and args[1].value.bit_length() > args[0].value.bit_length()
        ):
            args.reverse()
        return self.apply(op, *args)

    def _make_equal(self, args: list[Node]) -> None:
        """Make half of the equalities true where one side is a literal, which chance would almost never do."""
        sides = [i for i in (0, 1) if args[i].op == LITERAL and args[1 - i].value.bit_length() <= self.row.width]
        if sides and self.rng.random() < _EQUAL_SHARE:
            args[sides[0]] = Node(LITERAL, args[1 - sides[0]].value)

    def apply(self, op: Op, *args: Node) -> Node | None:
        """Return the node of an operation, or None when it may not be asked or its result is too long to show."""
        value = op.apply([arg.value for arg in args], self.row.width)
        if value is None or value.bit_length() > 2 * self.row.width:
            return None
        return Node(op.name, value, args, op.fixed)


def walk(node: Node) -> list[Node]:
    """Return the nodes of a tree in the order in which they are worked out (arguments before their operation)."""
    found: list[Node] = []
    for arg in node.args:
        found += walk(arg)
    found.append(node)
    return found
