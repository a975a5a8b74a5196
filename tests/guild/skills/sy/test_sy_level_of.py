from __future__ import annotations

import pytest

from realm.guild.skills.sy import SKILL
from realm.guild.skills.sy.level_of import content_of, puzzles_in
from realm.guild.skills.sy.levels import LEVELS


@pytest.mark.parametrize("level", sorted(LEVELS))
def test_level_and_key_are_read_off_the_prompt(level: int) -> None:
    for item in SKILL.generate(level, 2, 11) + SKILL.generate(level, 1, 11, "eval", {"unseen": 1.0}):
        keys = content_of(item.user_prompt).keys
        assert keys[level] == item.key, item.user_prompt
        assert len(keys) <= 4
        assert max(keys) - min(keys) <= 3


@pytest.mark.slow
def test_few_levels_can_pose_the_same_puzzle() -> None:
    alone = [len(content_of(item.user_prompt).keys) == 1 for level in LEVELS for item in SKILL.generate(level, 2, 12)]
    assert sum(alone) >= 0.6 * len(alone)


def test_a_puzzle_is_found_in_other_text() -> None:
    one, two = SKILL.generate(5, 1, 1)[0].user_prompt, SKILL.generate(40, 1, 1)[0].user_prompt
    assert list(puzzles_in(f"Hear this: {one} and so\n{two}\nAnswer: x")) == [one, two]
    assert list(puzzles_in("Syllacrostic. and nothing more")) == []
