"""Generation: pure in its address, disjoint in its splits, one solution to every puzzle, no clue that tells."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from itertools import combinations

import pytest

from realm.core.errors import BadInput
from realm.guild.skills.split import split_of
from realm.guild.skills.sy import SKILL
from realm.guild.skills.sy.generator import FINITE_LEVELS
from realm.guild.skills.sy.levels import LEVELS
from realm.guild.skills.sy.solver import solve_prompt
from realm.guild.skills.sy.space import every_puzzle
from realm.guild.skills.sy.words import by_text, is_held_out
from realm.guild.skills.types import Item

# sha256 over 3 items of some levels, seed 2024. A change here is a new version of the skill.
GOLDEN = "77ec63509aaa16709612ac469cbf2de217d67fa74076b8c7b3d1411210a11818"
STATIC = "0cf5e91fecd7443538b73956ed6f6e2c929ae9f628055ba967df1b69f5baaed2"
SOME = (1, 2, 5, 9, 14, 20, 27, 33, 39, 44, 50)
SCRIPT = f"""
import hashlib
from realm.guild.skills.sy import SKILL
digest = hashlib.sha256()
for level in {SOME}:
    for item in SKILL.generate(level, 3, 2024):
        digest.update(item.sha256().encode())
print(digest.hexdigest())
"""


def count(level: int) -> int:
    return 10 if level < 30 else 3


def words(item: Item) -> list[str]:
    return [line.split(" = ")[1].lower() for line in item.assistant_response.split("\n") if " = " in line]


def test_same_items_in_every_process() -> None:
    digest = hashlib.sha256()
    for level in SOME:
        for item in SKILL.generate(level, 3, 2024):
            digest.update(item.sha256().encode())
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    other = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env=environment)
    assert other.stdout.strip() == digest.hexdigest() == GOLDEN


def test_static_sets_are_fixed_and_of_the_eval_partition() -> None:
    digest = hashlib.sha256("".join(i.id for level in SOME for i in SKILL.static_eval(level)).encode()).hexdigest()
    assert digest == STATIC
    for level in SOME:
        static = SKILL.static_eval(level)
        assert len({item.key for item in static}) == 5
        assert all(split_of("sy", level, item.key) == "eval" for item in static)
        fresh = SKILL.generate(level, 6, 1, "eval")
        assert not {item.key for item in static} & {item.key for item in fresh}


@pytest.mark.parametrize("level", [1, 3, 12, 25, 40])
def test_a_longer_call_starts_the_same(level: int) -> None:
    assert SKILL.generate(level, 9, 3)[:4] == SKILL.generate(level, 4, 3)
    assert SKILL.generate(level, 4, 3) != SKILL.generate(level, 4, 4)
    assert SKILL.generate(level, 0, 3) == []


@pytest.mark.parametrize("level", LEVELS)
def test_golden_answers_are_the_solvers_and_the_only_ones(level: int) -> None:
    for item in SKILL.generate(level, count(level), 7):
        solved = solve_prompt(item.user_prompt)
        assert len(solved.solutions) == 1
        assert SKILL.solve(item) == item.assistant_response
        assert SKILL.canonical_key(item) == item.key
        assert split_of("sy", level, item.key) == "train"


@pytest.mark.parametrize("level", LEVELS)
def test_no_clue_tells_and_no_answers_share_a_synset(level: int) -> None:
    for item in SKILL.generate(level, count(level), 7):
        rows = [by_text()[text] for text in words(item)]
        texts = [line.partition(". ")[2] for line in item.user_prompt.split("\n") if line[0].isdigit()]
        shown = "\n".join(text.partition(") ")[2] if text.startswith("(") else text for text in texts).lower()
        for row in rows:
            assert row.text not in shown
            assert row.text[: max(4, len(row.text) - 3)] not in shown
            assert not any(len(tile) >= 4 and tile in shown for tile in row.tiles)
        for one, other in combinations(rows, 2):
            assert one.synsets[0] not in other.synsets
            assert other.synsets[0] not in one.synsets


@pytest.mark.parametrize("level", [1, 8, 20, 35, 50])
def test_splits_are_disjoint_and_follow_the_rule(level: int) -> None:
    held = [item for split in ("eval", "gate", "probe") for item in SKILL.generate(level, 4, 1, split)]  # type: ignore[arg-type]
    train = SKILL.generate(level, 30 if level < 50 else 8, 1)
    assert all(split_of("sy", level, item.key) == "train" for item in train)
    assert all(split_of("sy", level, item.key) == "eval" for item in held)
    assert len({item.key for item in train}) == len(train)
    assert {item.split for item in held} == {"eval", "gate", "probe"}


@pytest.mark.parametrize("level", [1, 6, 15, 30, 50])
def test_one_word_in_ten_is_never_an_answer_in_training(level: int) -> None:
    """An eval in `brief` has words that training has and puzzles it has not; `unseen` has only words held out."""
    for split in ("train", "eval"):
        assert not any(is_held_out(w) for i in SKILL.generate(level, 10, 2, split) for w in words(i))  # type: ignore[arg-type]
    unseen = SKILL.generate(level, 3, 2, "probe", {"unseen": 1})
    assert all(is_held_out(word) for item in unseen for word in words(item))
    assert all("unseen" in item.tags and split_of("sy", level, item.key) == "eval" for item in unseen)
    share = sum(is_held_out(word) for word in by_text()) / len(by_text())
    assert 0.09 < share < 0.11


def test_a_mix_of_styles_is_dealt() -> None:
    found = SKILL.generate(5, 60, 1, "eval", {"brief": 1, "unseen": 1, "trace": 3})
    assert 20 < sum("unseen" in item.tags for item in found) < 40


@pytest.mark.parametrize(
    "call",
    [
        {"level": 0}, {"level": 51}, {"split": "test"}, {"count": -1}, {"styles": {"poem": 1}}, {"styles": {"brief": -1}},
        {"styles": {"brief": float("nan")}}, {"styles": {}}, {"styles": {"unseen": 1}},
    ],
)  # fmt: skip
def test_wrong_calls_are_errors(call: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        SKILL.generate(**{"level": 1, "count": 1, "seed": 0, **call})  # type: ignore[arg-type]


def test_styles_of_other_skills_take_no_part() -> None:
    assert SKILL.generate(4, 3, 1, styles={"brief": 0.4, "trace": 0.6}) == SKILL.generate(4, 3, 1)
    # Evals ask every skill in the one style that a hero is fed most of BIN.
    assert SKILL.generate(4, 3, 1, "eval", styles={"trace": 1.0}) == SKILL.generate(4, 3, 1, "eval")


@pytest.mark.slow
def test_the_size_of_the_finite_levels_is_counted() -> None:
    keys = {puzzle.key() for puzzle in every_puzzle(1)}
    assert len(keys) == FINITE_LEVELS[1] == FINITE_LEVELS[2] == SKILL.info.levels[0].distinct
    drawn = SKILL.generate(1, 300, 9)
    assert {item.key for item in drawn} <= keys
    assert SKILL.info.levels[2].distinct is None


def test_neighbouring_levels_do_not_share_a_prompt() -> None:
    seen: dict[str, int] = {}
    for level in range(1, 13):
        for item in SKILL.generate(level, 60, 6):
            assert seen.setdefault(item.user_prompt, level) == level


def test_an_exhausted_space_repeats_and_says_so() -> None:
    found = SKILL.generate(1, 45, 1, "eval", {"unseen": 1})
    assert any("repeat" in item.tags for item in found)
    fresh = [item for item in found if "repeat" not in item.tags]
    assert len({item.key for item in fresh}) == len(fresh) >= 10
