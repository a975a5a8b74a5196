"""Packing: packed equals alone, rows come back, and the mask that leaks is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from realm.arena.formation.packing import pack_rows, plan_packs, refuse_leak, unpack
from realm.arena.formation.rows import EncodedRow, NothingTrained, form_quest
from realm.armory.hero_loading import LoadedHero
from realm.core.errors import BadInput


@pytest.fixture(scope="module")
def rows(loaded: LoadedHero, conversations: list[Any]) -> list[EncodedRow]:
    return form_quest(conversations[:6], loaded.template, 256).rows


def logits(loaded: LoadedHero, **inputs: Any) -> torch.Tensor:
    with torch.no_grad():
        return loaded.model(use_cache=False, **inputs).logits[0]


def alone(loaded: LoadedHero, rows: list[EncodedRow]) -> torch.Tensor:
    return torch.cat([logits(loaded, input_ids=torch.tensor([row.ids])) for row in rows])


@pytest.mark.parametrize("explicit", [True, False])
def test_packed_equals_alone(loaded: LoadedHero, rows: list[EncodedRow], explicit: bool):
    batch = pack_rows(rows, explicit=explicit)
    packed = logits(loaded, input_ids=batch.ids, position_ids=batch.positions, attention_mask=batch.mask)
    assert float((packed - alone(loaded, rows)).abs().max()) <= 2e-5


def test_an_all_ones_mask_leaks_and_is_refused(loaded: LoadedHero, rows: list[EncodedRow]):
    batch = pack_rows(rows, explicit=False)
    ones = torch.ones_like(batch.ids)
    leaked = logits(loaded, input_ids=batch.ids, position_ids=batch.positions, attention_mask=ones)
    assert float((leaked - alone(loaded, rows)).abs().max()) > 1e-2
    with pytest.raises(BadInput, match="see each other"):
        refuse_leak(batch.positions, ones, "sdpa")


def test_an_attention_that_is_not_tested_is_refused(rows: list[EncodedRow]):
    batch = pack_rows(rows)
    refuse_leak(batch.positions, batch.mask, "sdpa")
    refuse_leak(batch.positions, None, "sdpa")
    refuse_leak(None, None, "eager")
    with pytest.raises(BadInput, match="eager"):
        refuse_leak(batch.positions, batch.mask, "eager")


def test_packing_then_unpacking_returns_each_row(rows: list[EncodedRow]):
    assert unpack(pack_rows(rows)) == [row.ids for row in rows]


def test_trained_positions_of_a_pack_are_those_of_its_rows(rows: list[EncodedRow]):
    batch = pack_rows(rows)
    assert batch.targets.tolist() == [i for row in rows for i, t in zip(row.ids, row.trained, strict=True) if t]
    assert (batch.ids[0][batch.at + 1] == batch.targets).all()


def test_a_first_token_is_never_predicted_from_another_row():
    rows = [EncodedRow([1, 2], [False, True], 0), EncodedRow([3, 4], [True, True], 1)]
    assert pack_rows(rows).at.tolist() == [0, 2]
    with pytest.raises(NothingTrained):
        pack_rows([EncodedRow([3], [True], 1)])


@given(st.lists(st.integers(1, 64), max_size=150))
def test_packs_hold_every_row_once_within_capacity(lengths: list[int]):
    packs = plan_packs(lengths, 64)
    assert sorted(row for pack in packs for row in pack) == list(range(len(lengths)))
    fill = [sum(lengths[row] for row in pack) for pack in packs]
    assert all(total <= 64 for total in fill)
    # Best fit leaves at most one pack at half or less, or two of them would have been one.
    assert sum(total <= 32 for total in fill) <= 1


@given(st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=9), min_size=1, max_size=8))
def test_rows_of_any_ids_come_back(ids: list[list[int]]):
    rows = [EncodedRow([0, *row], [False, *[True] * len(row)], n) for n, row in enumerate(ids)]
    assert unpack(pack_rows(rows)) == [row.ids for row in rows]


def test_a_row_longer_than_a_pack_is_refused():
    with pytest.raises(BadInput, match="row 1"):
        plan_packs([3, 9], 8)
