from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.core.errors import BadInput
from realm.oracle.batching import Completion, Sampling, plan_batches


@given(st.lists(st.integers(1, 3000), max_size=200), st.integers(1, 64), st.integers(1, 5000), st.integers(1, 32))
def test_every_prompt_is_in_exactly_one_batch_within_the_limits(lengths: list[int], new: int, slots: int, rows: int) -> None:
    batches = plan_batches(lengths, new, slots=slots, rows=rows)
    assert sorted(n for batch in batches for n in batch) == list(range(len(lengths)))
    for batch in batches:
        longest, shortest = max(lengths[n] for n in batch), min(lengths[n] for n in batch)
        assert len(batch) <= rows
        assert len(batch) == 1 or len(batch) * (longest + new) <= slots
        assert longest <= 1.5 * shortest + 16


def test_a_hundred_short_prompts_are_one_batch() -> None:
    assert len(plan_batches([15] * 60 + [22] * 40, 24, slots=100_000)) == 1


def test_tokens_count_the_end_mark() -> None:
    assert Completion([5, 6], "stop").tokens == 3
    assert Completion([5, 6], "length").tokens == 2


@pytest.mark.parametrize("bad", [{"temperature": -1}, {"temperature": 9}, {"top_p": 0}, {"top_p": 1.1}])
def test_sampling_outside_its_range_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(BadInput):
        Sampling(**bad)  # type: ignore[arg-type]
