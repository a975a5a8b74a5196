from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.guild.intervals import standard_error, wilson


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    # worked out by hand from the formula
    [(48, 60, 0.6822, 0.8817), (10, 10, 0.7225, 1.0), (0, 20, 0.0, 0.1611), (13, 20, 0.4329, 0.8188), (1, 2, 0.0945, 0.9055)],
)
def test_known_intervals(correct: int, n: int, low: float, high: float) -> None:
    assert wilson(correct, n) == pytest.approx((low, high), abs=2e-4)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_holds_the_share_and_stays_in_range(counts: tuple[int, int]) -> None:
    correct, n = counts
    low, high = wilson(correct, n)
    assert 0 <= low <= correct / n <= high <= 1
    wider = wilson(correct, n, 3.0)
    assert wider[0] <= low
    assert high <= wider[1]


def test_more_right_answers_never_lower_the_bound() -> None:
    bounds = [wilson(correct, 60)[0] for correct in range(61)]
    assert bounds == sorted(bounds)


def test_nothing_asked_and_impossible_counts() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert standard_error(0, 0) is None
    assert standard_error(50, 100) == pytest.approx(0.05)
    with pytest.raises(ValueError, match="impossible"):
        wilson(3, 2)
