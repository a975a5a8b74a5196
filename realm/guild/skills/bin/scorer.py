"""The scorer: the last line must be `problem = value`, exactly, in the digits, order and width the prompt declares.

A value without its problem does not count: so a constant reply is wrong on every item, even where an answer has one
digit only. Space around the line, around `=` and runs of spaces inside the problem do not matter.
"""

from __future__ import annotations

from typing import Any

from realm.guild.skills.bin.equations import line_is_true
from realm.guild.skills.bin.solver import Solution, evaluate, solve_prompt
from realm.guild.skills.types import Score

MAX_TEXT = 100_000
MAX_WORK_LINES = 400


def score_text(prompt: str, text: object) -> Score:
    """Judge a reply to a prompt; total. An unreadable prompt scores 0 and says so in `reason`."""
    try:
        solution = solve_prompt(prompt)
    except ValueError as error:
        return Score(0, 0.0, "", None, f"the prompt is not a BIN problem: {error}", {"prompt_ok": False})
    if not isinstance(text, str):
        return _wrong(solution, None, "the reply is not a text")
    if len(text) > MAX_TEXT:
        return _wrong(solution, None, f"the reply is longer than {MAX_TEXT} characters")
    lines = [line.strip() for line in text.strip().split("\n")]
    head, sign, value = lines[-1].rpartition("=")
    if not sign:
        return _wrong(solution, None, "the last line is not 'problem = value'")
    if " ".join(head.split()) != solution.reading.body:
        return _wrong(solution, None, "the last line does not repeat the problem")
    return _judge(solution, value.strip(), lines[:-1])


def _judge(solution: Solution, value: str, work: list[str]) -> Score:
    right = value == solution.value
    parts: dict[str, Any] = {"format_ok": True, "trace_ok": _work_ok(solution, work), "work_lines": len(work)}
    if right:
        return Score(1, 1.0, solution.value, value, "correct", parts)
    if not value or not set(value) <= _alphabet(solution):
        return _wrong(solution, None, "the value is not written in the digits asked for", parts)
    if len(value) != len(solution.value):
        return Score(0, 0.2, solution.value, value, "the value has another number of digits", parts)
    same = sum(a == b for a, b in zip(value, solution.value, strict=True)) / len(value)
    return Score(0, round(0.2 + 0.7 * same, 4), solution.value, value, "the value is wrong", parts)


def _alphabet(solution: Solution) -> set[str]:
    if solution.value.isascii():
        return set("0123456789")
    return {solution.reading.zero, solution.reading.one}


def _wrong(solution: Solution, parsed: str | None, reason: str, parts: dict[str, Any] | None = None) -> Score:
    return Score(0, 0.0, solution.value, parsed, reason, parts or {"format_ok": False, "trace_ok": None})


def _work_ok(solution: Solution, work: list[str]) -> bool | None:
    """Say whether every line of work is true; None without any, or where the style asks for none."""
    if not work or solution.reading.lsb or solution.reading.padded or len(work) > MAX_WORK_LINES:
        return None
    reading = solution.reading
    goal = evaluate(reading.term, {}, reading.width)
    return all(line_is_true(line.translate(reading.to_plain), reading.width, goal) for line in work)
