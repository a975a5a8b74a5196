"""Generator and reference solver, written apart, agree on every printed equation."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.guild.skills.bin import SKILL
from realm.guild.skills.bin.equations import line_is_true
from realm.guild.skills.bin.levels import LEVELS, STYLES
from realm.guild.skills.bin.reading import Unreadable
from realm.guild.skills.bin.solver import Value, evaluate, solve_prompt
from realm.guild.skills.types import Item

ALL_STYLES = dict.fromkeys(STYLES, 1.0)


def _agree(item: Item) -> None:
    solution = solve_prompt.__wrapped__(item.user_prompt)
    *work, last = item.assistant_response.split("\n")
    assert last == solution.line
    assert item.key == solution.key
    reading = solution.reading
    goal = evaluate(reading.term, {}, reading.width)
    for line in work:
        assert line_is_true(line.translate(reading.to_plain), reading.width, goal), f"{line!r} is false in {item.user_prompt!r}"


@pytest.mark.parametrize("level", LEVELS)
def test_generator_and_solver_agree(level: int) -> None:
    for item in SKILL.generate(level, 100, seed=21) + SKILL.generate(level, 60, seed=22, styles=ALL_STYLES):
        _agree(item)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("level", LEVELS)
def test_generator_and_solver_agree_on_many(level: int) -> None:
    for seed in range(4):
        for item in SKILL.generate(level, 850, seed=100 + seed, styles=ALL_STYLES if seed % 2 else None):
            _agree(item)


@pytest.mark.parametrize(
    ("prompt", "value"),
    [
        ("Compute: add(①①, ①⓪⓪)", "①①①"),
        ("Compute: decrement(increment(⓪))", "⓪"),
        ("Compute: divide_by_2(①①①)", "①①"),
        ("Compute: todecimal(①⓪⓪①)", "9"),
        ("Compute: tobinary(10)", "①⓪①⓪"),
        ("Rules: not gives 4 digits.\nCompute: not(①)", "①①①⓪"),
        ("Rules: shifts give 4 digits and drop the rest.\nCompute: shift_left(①⓪①①, 2)", "①①⓪⓪"),
        ("Rules: shifts give 4 digits and drop the rest.\nCompute: shift_right(①⓪①①, 3)", "⓪⓪⓪①"),
        ("Rules: signed operations use two's complement of 4 digits and wrap.\nCompute: negate(①)", "①①①①"),
        ("Rules: signed operations use two's complement of 4 digits and wrap.\nCompute: add_signed(①①①, ①)", "①⓪⓪⓪"),
        ("Rules: signed operations use two's complement of 4 digits and wrap.\nCompute: absolute_value(①⓪⓪⓪)", "①⓪⓪⓪"),
        ("Rules: signed operations use two's complement of 4 digits and wrap.\nCompute: overflow(①①①, ①)", "①"),
        ("Rules: signed operations use two's complement of 4 digits and wrap.\nCompute: overflow(①①⓪, ①)", "⓪"),
        ("Compute: modulo(①①①, ①①)", "①"),
        ("Compute: find(add(?, ①) = ①⓪)", "①"),
        ("Compute: find(subtract(?, ①) = ①⓪)", "①①"),
        ("Compute: find(subtract(①①①, ?) = ①⓪)", "①⓪①"),
        ("Compute: judge(add(①, ①) = ①⓪)", "①"),
        ("Compute: judge(add(①, ①) = ①①)", "⓪"),
        ("Compute: first_wrong(add(①①, ①⓪⓪) = ①⓪①)", "2"),
        ("Compute: run(a = add(①, ①); repeat 3: a = multiply_by_2(a))", "①⓪⓪⓪⓪"),
        ("Compute: run(a = ①; b = if lessthan(a, ①⓪) then increment(a) else a)", "①⓪"),
        ("Compute: run(a = ①①; b = if lessthan(a, ①⓪) then increment(a) else a)", "①①"),
        ("Compute: add(①①, ①⓪⓪) [verify]", "①①①"),
        ("Compute: add(①, ⓪①) [lsb]", "①①"),
        ("Compute: add(⓪⓪⓪①, ⓪⓪①⓪) [fixed 4]", "⓪⓪①①"),
        ("Symbol Key: 🐝=⓪, 🐞=①, 🍅=add\nCompute: 🍅(🐞, 🐞)", "🐞🐝"),
        ("Key A: 🐝=⓪, 🐞=①\nKey B: 🍎=⓪, 🍏=①\nRules: answer in key A.\nCompute: add(🐞, 🍏)", "🐞🐝"),
    ],
)
def test_worked_by_hand(prompt: str, value: str) -> None:
    assert solve_prompt(prompt).value == value


@pytest.mark.parametrize(
    "prompt",
    [
        "", "Compute:", "Compute: ", "add(①, ①)", "Compute: add(①)", "Compute: add(①, ①", "Compute: add(①, ①))",
        "Compute: add(①, 3)", "Compute: tobinary(①)", "Compute: decrement(⓪)", "Compute: subtract(①, ①①)",
        "Compute: divide(①, ⓪)", "Compute: modulo(①, ⓪)", "Compute: not(①)", "Compute: add_signed(①, ①)",
        "Rules: not gives 4 digits.\nCompute: not(①⓪⓪⓪⓪)", "Rules: 4 digits; 5 digits.\nCompute: not(①)",
        "Compute: a", "Compute: ?", "Compute: add(?, ①)", "Compute: find(add(?, ?) = ①)", "Compute: find(add(?, ①①) = ①)",
        "Compute: find(maximum(?, ①) = ①)", "Compute: find(add(①, ①) = ①⓪)", "Compute: first_wrong(add(①, ①) = ①⓪)",
        "Compute: run(a = b)", "Compute: run()", "Compute: run(repeat 65: a = ①)", "Compute: run(repeat ①: a = ①)",
        "Compute: launch(①)", "Compute: add(①, ①) [poem]", "Compute: add(⓪⓪①①, ⓪⓪⓪①) [fixed 1]",
        "Compute: increment(⓪①①) [fixed 2]",
        "Compute: add(2, 3)", "Compute: (①)", "Compute: " + "increment(" * 80 + "①" + ")" * 80,
        "Symbol Key: 🐝=⓪, 🐝=①\nCompute: add(🐝, 🐝)", "Symbol Key: 🐝🐞=⓪\nCompute: add(①, ①)",
        "Compute: " + "①" * 30_000, "Compute: add(①, ①) and more",
    ],
)  # fmt: skip
def test_what_is_no_problem_is_unreadable(prompt: str) -> None:
    with pytest.raises(Unreadable):
        solve_prompt(prompt)


FRAGMENTS = st.sampled_from(
    ["Compute: ", "Rules: ", "4 digits", "\n", "add(", "not(", "run(", "judge(", "find(", "first_wrong(", "if ", "then ",
     "else ", "repeat 3: ", "a", " = ", "; ", ", ", ")", "①", "⓪", "①⓪", "?", "7", " [lsb]", " [fixed 4]", "🐝=⓪", "🐝",
     "Symbol Key: ", "shift_left(", "multiply(", "9999999999", "subtract_signed(", "todecimal(", "\x00", "٣", "²"]
)  # fmt: skip


@given(st.lists(FRAGMENTS, max_size=25))
@settings(max_examples=400, deadline=None)
def test_reading_anything_ends_in_an_answer_or_unreadable(parts: list[str]) -> None:
    try:
        solve_prompt("Compute: " + "".join(parts))
    except Unreadable:
        return
    try:
        solve_prompt("".join(parts))
    except Unreadable:
        return


@given(st.integers(0, 2**12), st.integers(1, 2**12), st.sampled_from(["add", "maximum", "xor", "multiply", "modulo"]))
@settings(max_examples=100, deadline=None)
def test_solver_against_python(a: int, b: int, name: str) -> None:
    expected = {"add": a + b, "maximum": max(a, b), "xor": a ^ b, "multiply": a * b, "modulo": a % b}[name]

    def circled(value: int) -> str:
        return f"{value:b}".replace("0", "⓪").replace("1", "①")

    assert solve_prompt(f"Compute: {name}({circled(a)}, {circled(b)})").value == circled(expected)


@pytest.mark.parametrize(
    ("line", "true"),
    [
        ("①+①+⓪=①⓪", True), ("①+①+⓪=①①", False), ("①⓪-①-⓪=①", True), ("①⓪①&⓪=①⓪①⓪", True), ("①*①①+①⓪=①⓪①", True),
        ("less(⓪, ①, ⓪)=①", True), ("less(①, ①, ①)=⓪", False), ("same(①, ①, ①)=①", True), ("flip(①)=⓪", True),
        ("check: add(3, 4) = 7", True), ("check: add(3, 4) = 8", False), ("check: 4 + 2 = 6", True),
        ("check: add_signed(-3, 1) = -2", True), ("check: add_signed(7, 1) = -8", True), ("check: negate(3) = 3", False),
        ("step: add(①, ①) = ①⓪", True), ("step: add(①, ①) = ①①", False), ("2*3+1=7", True), ("", False), ("=", False),
        ("check: shift_left(3, -1) = 1", False), ("check: divide(3, 0) = 0", False), ("check: nothing", False),
        ("step: = ①", False), ("①+①", False), ("++=①", False), ("①**①=①", False), ("x" * 5000, False),
    ],
)  # fmt: skip
def test_lines_of_work(line: str, true: bool) -> None:
    assert line_is_true(line, 4) is true


@pytest.mark.parametrize(
    ("line", "true"),
    [
        ("= add(①, ①⓪)", True), ("= add(decrement(①⓪), ①⓪)", True), ("= ①①", True), ("= add(①, ①)", False),
        ("= todecimal(①①)", False), ("= 3", False), ("= add(①", False), ("= ", False), ("=", False),
    ],
)  # fmt: skip
def test_an_expression_with_results_put_in_must_have_the_value_of_the_problem(line: str, true: bool) -> None:
    assert line_is_true(line, 4, Value(3)) is true
    assert line_is_true(line, 4) is False  # nothing to compare with


def test_a_traced_answer_puts_each_result_into_the_expression() -> None:
    items = SKILL.generate(6, 60, 5, "train", {"trace": 1.0})
    deep = next(item for item in items if len(item.meta["ops"]) == 3)
    states = [line for line in deep.assistant_response.split("\n") if line.startswith("= ")]
    assert [state.count("(") for state in states] == [2, 1]  # one operation less each time; the last one is worked out below
    assert not any("check" in item.assistant_response for item in items)


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_lines_of_work_never_raise(text: str) -> None:
    for line in (text, f"check: {text}", f"step: {text}", f"{text}=①"):
        assert line_is_true(line, None) in (True, False)
    assert line_is_true(f"= {text}", None, Value(1)) in (True, False)
