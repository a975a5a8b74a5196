"""The thirty levels of BIN as data: width, new operations or form, operators, symbol keys, answer styles.

Reading of the table where a column leaves room:
- Operand width is drawn from 1..width; results may be longer, at most twice the level's width.
- A problem belongs to the lowest level that can pose it: it uses the level's new operation or form, states the level's
  width, or has an operand of exactly the level's width. So no two levels share a prompt and the split is global.
- Chains are 15 % of levels 3-5 and 25 % of 6-11; what is new at level 12 is that half of its expressions are nested.
  Levels 1 and 2 have only 23 and 72 problems of one operator, too few for evals: they nest more. Training items of
  every level nest at least 40 %. A nested expression has two to `max_ops` operators, evenly. A program has one operator
  per assignment, `max_ops` in all.
- Signed and unsigned operations are mixed in one problem from level 20 on.
- L28 gives 60 % two keys and 15 % one key, which is its 75 % of keyed prompts; L29 gives 60 % unused variables, and more
  definitions in its keys than are used.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST, LAST = 1, 30
NEW_SHARE = 0.6  # share of problems that use what is new at their level
CARRY_SHARE = 0.3  # share of additions and subtractions of literals with a carry through width/2 places
MIXED_FROM = 20  # first level that mixes signed and unsigned operations in one problem
NESTED_SHARES = {1: 2 / 3, 2: 1 / 2, 3: 0.15, 6: 0.25, 12: 0.5}  # first level -> share of expressions that are nested
NESTED_TRAINED = 0.4  # least share of nested expressions among training items: at 15 % a small hero hardly learns to nest
EXPERIMENT_STYLES = ("lsb", "fixed")  # offered everywhere, drawn only when asked for
STYLES = ("brief", "verify", "show-work", "trace", *EXPERIMENT_STYLES)

_A, _B, _C = (15, 15, 10, 60), (35, 20, 15, 30), (50, 20, 15, 15)
_D, _E, _F = (70, 20, 10, 0), (80, 15, 5, 0), (90, 10, 0, 0)

# level, width, new operations, new form, operators, key %, mode of the key, style %
_ROWS: tuple[tuple[int, int, str, str, int, int, str, tuple[int, int, int, int]], ...] = (
    (1, 2, "increment decrement add", "", 3, 0, "", _A),
    (2, 3, "multiply_by_2 divide_by_2", "", 3, 0, "", _A),
    (3, 4, "subtract", "", 3, 0, "", _A),
    (4, 5, "equals lessthan greaterthan", "", 3, 0, "", _A),
    (5, 6, "maximum minimum", "", 3, 0, "", _A),
    (6, 7, "and or xor", "", 3, 0, "", _B),
    (7, 8, "not tobinary todecimal", "", 3, 0, "", _B),
    (8, 9, "", "", 3, 25, "digits", _B),
    (9, 10, "", "", 3, 50, "full", _B),
    (10, 11, "shift_left shift_right", "", 3, 50, "full", _B),
    (11, 12, "multiply", "", 3, 75, "full", _C),
    (12, 13, "", "", 3, 75, "full", _C),
    (13, 14, "count_ones parity", "", 3, 75, "full", _C),
    (14, 15, "divide modulo", "", 3, 75, "full", _C),
    (15, 16, "", "", 3, 75, "full", _D),
    (16, 17, "negate absolute_value", "", 3, 75, "full", _D),
    (17, 18, "add_signed", "", 3, 75, "full", _D),
    (18, 19, "subtract_signed", "", 3, 75, "full", _D),
    (19, 20, "overflow", "", 3, 75, "full", _D),
    (20, 21, "", "", 4, 75, "full", _D),
    (21, 22, "", "find", 4, 75, "full", _E),
    (22, 23, "", "judge", 4, 75, "full", _E),
    (23, 24, "", "first_wrong", 4, 75, "full", _E),
    (24, 25, "", "run_short", 5, 75, "full", _E),
    (25, 26, "", "run_long", 5, 75, "full", _E),
    (26, 27, "", "run_if", 5, 75, "full", _F),
    (27, 28, "", "run_repeat", 5, 75, "full", _F),
    (28, 29, "", "", 5, 75, "two", _F),
    (29, 30, "", "run_unused", 5, 75, "full", _F),
    (30, 32, "", "", 6, 75, "full", _F),
)
_TITLES = {
    8: "symbol keys for digits", 9: "symbol keys for digits and operations", 12: "half of the problems nested",
    15: "all unsigned operations", 20: "signed and unsigned mixed", 21: "find the missing operand",
    22: "judge an equation", 23: "position of the first wrong digit", 24: "programs of 2-3 assignments",
    25: "programs of 4-6 assignments", 26: "if .. then .. else", 27: "repeat up to 8 times", 28: "two keys in one prompt",
    29: "definitions and variables that are not used", 30: "all of it, up to 6 operators",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Level:
    """One row: `known` are the operations of lower levels, `forms` all forms up to here, `styles` the default shares."""

    level: int
    width: int
    new_ops: tuple[str, ...]
    known_ops: tuple[str, ...]
    new_form: str
    forms: tuple[str, ...]
    max_ops: int
    key_share: float
    key_mode: str
    styles: dict[str, float]
    title: str

    @property
    def all_ops(self) -> tuple[str, ...]:
        return self.known_ops + self.new_ops

    @property
    def nested_share(self) -> float:
        """Share of expressions with more than one operator, in [0, 1]."""
        return next(share for first, share in reversed(NESTED_SHARES.items()) if first <= self.level)

    def nested_in(self, split: str) -> float:
        """Share of nested expressions among the items of a split; training items nest at least `NESTED_TRAINED`."""
        return max(self.nested_share, NESTED_TRAINED) if split == "train" else self.nested_share

    @property
    def offered(self) -> tuple[str, ...]:
        """Styles that may be asked for at this level."""
        return (*self.styles, *EXPERIMENT_STYLES)


def _build() -> dict[int, Level]:
    table: dict[int, Level] = {}
    ops: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()
    for level, width, new, form, max_ops, key, mode, shares in _ROWS:
        new_ops = tuple(new.split())
        forms = (*forms, form) if form else forms
        styles = {name: share / 100 for name, share in zip(STYLES, shares, strict=False) if share}
        title = _TITLES.get(level) or ", ".join(new_ops)
        table[level] = Level(level, width, new_ops, ops, form, forms, max_ops, key / 100, mode, styles, title)
        ops += new_ops
    return table


LEVELS: dict[int, Level] = _build()
OP_LEVEL: dict[str, int] = {name: row.level for row in LEVELS.values() for name in row.new_ops}
FORM_LEVEL: dict[str, int] = {row.new_form: row.level for row in LEVELS.values() if row.new_form}
OPS_LEVEL: dict[int, int] = {
    n: min(row.level for row in LEVELS.values() if row.max_ops >= n) for n in range(1, LEVELS[LAST].max_ops + 1)
}


def level_of_width(width: int) -> int:
    """Return the lowest level whose operands may be this wide (bits); 31 and 32 bits need level 30."""
    return min((row.level for row in LEVELS.values() if row.width >= width), default=LAST + 1)
