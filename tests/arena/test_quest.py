"""Names, folders and moves of a quest, as pure functions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.arena.quests.quest import MOVES, check_priority, file_name, folder_of, id_of_file, skill_in_name
from realm.core.errors import Unknown
from realm.core.ids import new_ulid
from realm.core.paths import Paths


@given(st.text(max_size=300))
def test_any_label_gives_one_harmless_file_name(label: str) -> None:
    quest = new_ulid()
    name = file_name(quest, label)
    assert "/" not in name
    assert name.isascii()
    assert len(name) < 160
    assert id_of_file(name) == quest


@pytest.mark.parametrize("name", ["x.jsonl", "01m81kyem4tvraem8h33n4fn96.txt", "01m81kyem4tvraem8h33n4fn96\n.jsonl", ".jsonl"])
def test_a_file_put_there_by_hand_has_no_id(name: str) -> None:
    assert id_of_file(name) is None


def test_every_state_has_a_folder_and_known_targets(tmp_path: object) -> None:
    for state, targets in MOVES.items():
        folder_of(Paths(tmp_path), state, "normal")  # type: ignore[arg-type]
        assert targets <= set(MOVES)
        assert state not in targets


def test_nothing_becomes_completed_but_by_the_arena() -> None:
    assert [state for state, targets in MOVES.items() if "completed" in targets] == ["processing", "deleted"]


def test_skill_in_name() -> None:
    assert skill_in_name("train_bin_level3_4000_x.jsonl") == ("bin", 3)
    assert skill_in_name("sparring_sy_L12_x.jsonl") == ("sy", 12)
    assert skill_in_name("mine.jsonl") == (None, None)


def test_unknown_priority() -> None:
    with pytest.raises(Unknown, match="urgent"):
        check_priority("urgent")
