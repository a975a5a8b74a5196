"""The whole space of a finite level, listed: for a call that uses a level up."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from realm.guild.skills.bin.build import LITERAL, Node, walk
from realm.guild.skills.bin.forms import Problem, level_needed
from realm.guild.skills.bin.levels import LEVELS, Level
from realm.guild.skills.bin.ops import OPS


def every_expression(row: Level) -> list[list[Node]]:
    """Return all expressions of a level by number of operators, operands up to its width (binary operations alone)."""
    unary = [OPS[name] for name in row.all_ops if OPS[name].arity == 1]
    binary = [OPS[name] for name in row.all_ops if OPS[name].arity == 2]
    by_count = [[Node(LITERAL, value) for value in range(1 << row.width)]]
    for ops in range(1, row.max_ops + 1):
        args = [(arg,) for arg in by_count[ops - 1]]
        found = [_apply(op.name, arg, op.apply, row.width) for op in unary for arg in args]
        for left in range(ops):
            pairs = [(a, b) for a in by_count[left] for b in by_count[ops - 1 - left]]
            found += [_apply(op.name, pair, op.apply, row.width) for op in binary for pair in pairs]
        by_count.append([node for node in found if node is not None])
    return by_count


def _apply(name: str, args: tuple[Node, ...], apply: Callable[[list[int], int], int | None], width: int) -> Node | None:
    value = apply([arg.value for arg in args], width)
    return None if value is None else Node(name, value, args)


@lru_cache(maxsize=2)
def every_problem(level: int) -> tuple[Problem, ...]:
    """Return the problems that belong to a finite level, in a fixed order; level 2 takes about half a second."""
    row = LEVELS[level]
    roots = [node for nodes in every_expression(row)[1:] for node in nodes]
    problems = [Problem("expr", n.value, expression=n, steps=[s for s in walk(n) if s.op in OPS]) for n in roots]
    return tuple(problem for problem in problems if level_needed(problem, row) == level)
