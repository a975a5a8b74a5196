from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.guild.level_mix import Probed
from realm.guild.progress_share import learning_progress, moving_average, pick, retention_deficit, shares


def test_progress_is_the_distance_of_a_fast_and_a_slow_mean() -> None:
    assert moving_average([0.0, 1.0], 0.3) == pytest.approx(0.3)
    assert learning_progress([1.0, 0.0]) == pytest.approx(0.2)
    assert learning_progress([0.0, 1.0]) == pytest.approx(0.2)  # losing ground counts as well
    assert learning_progress([0.8] * 9) == learning_progress([]) == learning_progress([0.5]) == 0


def test_progress_rises_while_accuracy_climbs_and_dies_down_after() -> None:
    climbing = [k / 10 for k in range(10, -1, -1)]
    assert learning_progress(climbing) > 0.2
    assert learning_progress([1.0] * 40 + climbing) < 0.02


def test_what_was_forgotten_counts() -> None:
    assert retention_deficit({}) == 0
    assert retention_deficit({1: Probed(0.95), 2: Probed(0.52)}) == pytest.approx(0.2)


def test_a_fifth_is_shared_evenly_and_the_rest_by_progress() -> None:
    assert shares({"bin": 0.3, "sy": 0.1}) == pytest.approx({"bin": 0.7, "sy": 0.3})
    assert shares({"bin": 0.0, "sy": 0.0}) == pytest.approx({"bin": 0.5, "sy": 0.5})
    assert shares({"bin": 1.0, "sy": 0.0}) == pytest.approx({"bin": 0.8, "sy": 0.2})
    assert shares({"bin": 0.4}) == {"bin": 1.0}


@given(st.dictionaries(st.text("abcdefghijkl", min_size=1, max_size=3), st.floats(0, 1), min_size=1, max_size=14))
def test_every_skill_keeps_its_floor_and_shares_sum_to_one(progress: dict[str, float]) -> None:
    found = shares(progress)
    low, high = min(0.1, 1 / len(progress)), max(0.8, 1 / len(progress))
    assert sum(found.values()) == pytest.approx(1)
    assert all(low - 1e-9 <= share <= high + 1e-9 for share in found.values())
    order = sorted(progress, key=lambda name: progress[name])
    assert all(found[a] <= found[b] + 1e-9 for a, b in pairwise(order))


def test_draws_follow_the_shares() -> None:
    found = {"bin": 0.7, "sy": 0.3}
    drawn = [pick(found, k / 1000) for k in range(1000)]
    assert drawn.count("bin") == 700
    assert pick(found, 0.9999999999999999) == "sy"
