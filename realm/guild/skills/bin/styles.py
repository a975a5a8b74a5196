"""Answers in each style; the last line is always `problem = value`, whatever stands above it."""

from __future__ import annotations

from dataclasses import replace

from realm.guild.skills.bin.build import DECIMAL, LITERAL, Node
from realm.guild.skills.bin.forms import Problem
from realm.guild.skills.bin.ops import OPS, to_signed
from realm.guild.skills.bin.surface import Surface
from realm.guild.skills.bin.trace import trace_lines


def response(problem: Problem, surface: Surface, body: str, style: str) -> str:
    """Return the golden answer: lines of work as the style asks, then the last line."""
    last = f"{body} = {surface.answer(problem)}"
    if style == "verify":
        return "\n".join([*(check_line(step, surface.width) for step in problem.steps), last])
    if style == "show-work":
        return "\n".join([*work_lines(problem, surface), *final_check(problem, surface.width), last])
    if style == "trace":
        return "\n".join([*traced(problem, surface), last])
    return last


def check_line(step: Node, width: int) -> str:
    """Return one operation in decimal, as a true equation; signed operations show signed values."""
    op = OPS[step.op]
    if op.decimal:
        places = [1 << i for i in reversed(range(step.value.bit_length())) if step.value >> i & 1] or [0]
        return f"check: {' + '.join(map(str, places))} = {step.value}"
    args = [arg.value for arg in step.args]
    value = step.value
    if op.signed:
        args = [to_signed(arg, width) for arg in args]
        value = value if op.digit else to_signed(value, width)
    return f"check: {step.op}({', '.join(map(str, args))}) = {value}"


def final_check(problem: Problem, width: int) -> list[str]:
    """Return the check of the last operation executed; none when nothing was executed."""
    return [check_line(problem.steps[-1], width)] if problem.steps else []


def step_line(step: Node, surface: Surface) -> str:
    """Return one operation on values: `step: add(①, ①⓪) = ①①`."""
    args = [str(arg.value) if arg.op == DECIMAL else surface.digits(arg.value, arg.fixed) for arg in step.args]
    value = str(step.value) if OPS[step.op].decimal == "out" else surface.digits(step.value, step.fixed)
    return f"step: {surface.names.get(step.op, step.op)}({', '.join(args)}) = {value}"


def _is_single(problem: Problem) -> bool:
    """A one-operation expression needs no step line: it would repeat the last line."""
    return problem.form == "expr" and len(problem.steps) == 1


def work_lines(problem: Problem, surface: Surface) -> list[str]:
    """Return one step line per executed operation, in order."""
    return [] if _is_single(problem) else [step_line(step, surface) for step in problem.steps]


def traced(problem: Problem, surface: Surface) -> list[str]:
    """Return the position lines of every operation; between two operations stands the expression with the results put in.

    So each operation is worked out on a call that stands right above its lines, and the next one is always the call that
    closes first: nothing has to be found in the nesting of the prompt.
    """
    lines: list[str] = []
    done: set[int] = set()
    for step in problem.steps:
        lines += trace_lines(step.op, [arg.value for arg in step.args], surface.width, surface.digits)
        done.add(id(step))
        if problem.expression is not None and step is not problem.steps[-1]:
            lines.append(f"= {surface.node(with_results(problem.expression, done))}")
    return lines


def with_results(node: Node, done: set[int]) -> Node:
    """Return a tree in which the operations whose `id` is in `done` are replaced by their values."""
    if id(node) in done:
        return Node(DECIMAL if OPS[node.op].decimal == "out" else LITERAL, node.value, fixed=node.fixed)
    return node if node.is_leaf else replace(node, args=tuple(with_results(arg, done) for arg in node.args))
