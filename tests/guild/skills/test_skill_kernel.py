"""The kernel: items are JSON with a stable digest, the split is a function of content."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from realm.core.errors import BadInput
from realm.guild.skills.split import split_of
from realm.guild.skills.types import Item

ITEM = Item(
    id="x-1", skill="x", version="1", level=2, split="train", user_prompt="Compute: ①", assistant_response="① = ①",
    key="brief|-|①", tags=("a", "b"), meta={"n": 1},
)  # fmt: skip


def test_item_survives_json() -> None:
    assert Item.from_sample(json.loads(json.dumps(ITEM.sample()))) == ITEM


def test_item_digest_is_stable_and_sees_every_field() -> None:
    assert ITEM.sha256() == "b09dd5c233e59eb870c45c93b696e2c912d4cd5a4d159e5fc2ef05bdb5f05bd5"
    changed = [replace(ITEM, id="y"), replace(ITEM, level=3), replace(ITEM, tags=("a",)), replace(ITEM, meta={"n": 2})]
    assert len({ITEM.sha256(), *(item.sha256() for item in changed)}) == 5


@pytest.mark.parametrize(
    ("field", "value"),
    [("user_prompt", None), ("key", 3), ("level", "2"), ("level", True), ("tags", "a"), ("tags", [1]), ("id", None)],
)
def test_malformed_sample_names_the_field(field: str, value: object) -> None:
    with pytest.raises(BadInput, match=field):
        Item.from_sample({**ITEM.sample(), field: value})


def test_split_is_the_published_rule() -> None:
    for number in range(300):
        key = f"brief|-|{number}"
        digest = hashlib.blake2b(f"bin|3|{key}".encode(), digest_size=8).digest()
        expected = "eval" if int.from_bytes(digest, "big") % 20 in (0, 1) else "train"
        assert split_of("bin", 3, key) == expected


def test_split_is_a_tenth_and_depends_on_skill_and_level() -> None:
    keys = [f"k{number}" for number in range(20_000)]
    share = sum(split_of("bin", 1, key) == "eval" for key in keys) / len(keys)
    assert 0.09 < share < 0.11
    assert [split_of("bin", 1, key) for key in keys] != [split_of("bin", 2, key) for key in keys]
    assert [split_of("bin", 1, key) for key in keys] != [split_of("sy", 1, key) for key in keys]
