"""Encoded rows, the order of rows, and padded batches."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.arena.formation.batching import LONG_ROW, plan_batches, split_micro
from realm.arena.formation.rows import EncodedRow, NothingTrained, form_quest, refuse_too_long
from realm.arena.formation.tensors import pad_rows
from realm.armory.hero_loading import LoadedHero
from realm.core.errors import BadInput

lengths = st.lists(st.integers(2, 300), min_size=1, max_size=200)


def test_rows_keep_their_line_and_long_ones_are_reported(loaded: LoadedHero, conversations: list[Any]):
    long = [{"role": "user", "content": "①" * 500}, {"role": "assistant", "content": "①"}]
    quest = form_quest([*conversations[:3], long, *conversations[3:6]], loaded.template, 128)
    assert [row.index for row in quest.rows] == [0, 1, 2, 4, 5, 6]
    assert [index for index, _ in quest.too_long] == [3]
    assert quest.too_long[0][1] > 500
    with pytest.raises(BadInput, match=r"row 3 \(5"):
        refuse_too_long(quest, 128, "q.jsonl")


def test_a_row_without_an_answer_is_an_error_naming_it(loaded: LoadedHero, conversations: list[Any]):
    with pytest.raises(NothingTrained, match=r"q\.jsonl, row 1"):
        form_quest([conversations[0], conversations[1][:1]], loaded.template, 128, name="q.jsonl")


@given(lengths, st.integers(1, 40), st.integers(0, 2**64 - 1))
def test_every_row_is_trained_exactly_once_in_a_seeded_order(lengths: list[int], rows: int, seed: int):
    steps = plan_batches(lengths, rows, seed)
    assert sorted(n for step in steps for n in step) == list(range(len(lengths)))
    assert all(len(step) == rows for step in steps[:-1])
    assert steps == plan_batches(lengths, rows, seed)


def test_seeds_differ():
    assert plan_batches([5] * 100, 10, 1) != plan_batches([5] * 100, 10, 2)


@given(lengths, st.integers(1, 40))
def test_micro_batches_partition_the_step_and_sort_by_length(lengths: list[int], size: int):
    cuts = split_micro(lengths, size)
    assert sorted(n for cut in cuts for n in cut) == list(range(len(lengths)))
    assert max(map(len, cuts)) <= size
    flat = [lengths[n] for cut in cuts for n in cut]
    assert flat == sorted(flat)


def test_rows_of_equal_length_stay_together_and_long_ones_are_parted():
    assert split_micro([26] * 16, 16) == [list(range(16))]
    assert split_micro([400, 20, 20, 380, 20], 16) == [[1, 2, 4], [3, 0]]
    assert split_micro([400, 20, 20, 380, 20], 16, start_cost=1e6) == [[1, 2, 4, 3, 0]]


@given(st.lists(st.integers(1, 200), min_size=1, max_size=9), st.integers(1, 9), st.floats(0, 500))
def test_no_other_cut_of_the_sorted_rows_costs_less(lengths: list[int], size: int, cost: float):
    def price(cut: list[list[int]]) -> float:
        widths = [max(lengths[n] for n in part) for part in cut]
        return sum(cost + len(part) * width * (1 + width / LONG_ROW) for part, width in zip(cut, widths, strict=True))

    order = sorted(range(len(lengths)), key=lambda n: lengths[n])
    found = price(split_micro(lengths, size, cost))
    for borders in itertools.product([False, True], repeat=len(order) - 1):
        parts = [[order[0]]]
        for n, border in zip(order[1:], borders, strict=True):
            parts.append([n]) if border else parts[-1].append(n)
        if max(map(len, parts)) <= size:
            assert found <= price(parts) * (1 + 1e-12)


def test_targets_are_the_trained_tokens_and_positions_stand_before_them(loaded: LoadedHero, conversations: list[Any]):
    rows = form_quest(conversations[:7], loaded.template, 128).rows
    batch = pad_rows(rows, loaded.template.pad_id)
    wanted = [i for row in rows for i, t in zip(row.ids, row.trained, strict=True) if t]
    assert batch.targets.tolist() == wanted
    flat = [row.ids[place - 1] for row in rows for place, t in enumerate(row.trained) if t]
    assert batch.ids.flatten()[batch.at].tolist() == flat
    assert batch.tokens == sum(len(row) for row in rows)
    assert batch.indices == tuple(range(7))


def test_a_batch_without_a_trained_token_is_an_error():
    with pytest.raises(NothingTrained, match="rows 4"):
        pad_rows([EncodedRow([1, 2, 3], [False] * 3, 4)], 0)
