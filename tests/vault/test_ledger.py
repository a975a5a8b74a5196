"""The ledger: exact steps, best by what was recorded, names that are numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from realm.core import manifest
from realm.core.clock import FakeClock
from realm.core.errors import BadInput, Corrupt, Unknown
from realm.core.paths import Paths
from realm.core.store import open_facts, transaction
from realm.vault import ledger
from realm.vault.ledger import Ledger, Record


def make(paths: Paths, step: int, when: str = "20260101-0000", **more: Any) -> Path:
    """Write a checkpoint folder with a record, unknown to the index."""
    folder = paths.current_model / f"checkpoint-{step}-{when}"
    folder.mkdir(parents=True)
    (folder / manifest.WEIGHTS).write_bytes(f"weights {step}".encode())
    told = {"canonical_name": folder.name, "step": step, "timestamp": "2026-01-01T00:00:00.000Z", "hero": "dio",
            "train_loss": 1.0, "val_loss": None, "learning_rate": 0.1, "epoch": 1.0, "skill_name": None, "skill_level": None,
            "training_file": None, "parent": None, "generation": 1, "weights_sha256": "x", "template_hash": "x", "tokens": 1,
            "trained_tokens": 1, "seconds": 1.0, "quests": [], **more}  # fmt: skip
    (folder / ledger.SIDECAR).write_text(json.dumps(told))
    manifest.write_manifest(folder, step, folder.name)
    return folder


@pytest.fixture
def facts(empty_home: Paths) -> Iterator[Any]:
    with closing(open_facts(empty_home)) as connection:
        yield connection


def test_steps_are_numbers_and_exact(empty_home: Paths, facts: Any) -> None:
    for step in (9, 10, 99_000, 100_000, 1):
        make(empty_home, step)
    assert len(ledger.adopt(empty_home, facts)) == 5
    book = Ledger(facts)
    assert [record.step for record in book.list_all()] == [100_000, 99_000, 10, 9, 1]
    assert [record.step for record in book.list_all(2)] == [100_000, 99_000]
    latest = book.get_latest()
    assert latest is not None
    assert latest.step == 100_000
    assert book.get(1).step == 1
    with pytest.raises(Unknown, match=r"11.*known: 1, 10, 100000, 9, 99000"):
        book.get(11)
    assert [ledger.extract_step(folder.name) for folder in ledger.folders(empty_home)] == [1, 9, 10, 99_000, 100_000]


def test_best_is_by_what_was_recorded_and_the_later_one_of_equals(empty_home: Paths, facts: Any) -> None:
    for step, train, val in ((1, 3.0, None), (2, 1.0, 2.0), (3, 1.0, 0.5), (4, None, None), (5, 2.0, 0.5)):
        make(empty_home, step, train_loss=train, val_loss=val)
    ledger.adopt(empty_home, facts)
    book = Ledger(facts)
    best = {metric: book.get_best(metric) for metric in ("train_loss", "val_loss")}
    assert {metric: record.step for metric, record in best.items() if record} == {"train_loss": 3, "val_loss": 5}
    assert book.summary()["best"] == {"train_loss": 3, "val_loss": 5}
    with pytest.raises(Unknown, match="luck"):
        book.get_best("luck")
    with transaction(facts):
        ledger.drop_from_index(facts, book.get(3), "test")
    again = book.get_best("train_loss")
    assert again is not None
    assert again.step == 2


def test_an_empty_ledger(facts: Any) -> None:
    book = Ledger(facts)
    assert (book.get_latest(), book.get_best(), book.list_all()) == (None, None, [])
    assert book.summary()["count"] == 0
    with pytest.raises(Unknown):
        book.get(0)


@pytest.mark.parametrize("name", ["checkpoint-1", "checkpoint-1-20260101", "checkpoint--1-20260101-0000", "x", "",
                                  "checkpoint-1-20260101-0000\n", "checkpoint-01-20260101-0000", "checkpoint-١-20260101-0000",
                                  "checkpoint-1-20260101-0000-copy", "checkpoint-1e3-20260101-0000",
                                  f"checkpoint-{'9' * 5000}-20260101-0000"])  # fmt: skip
def test_only_canonical_names_are_checkpoints(empty_home: Paths, name: str) -> None:
    with pytest.raises(BadInput):
        ledger.extract_step(name)
    if 0 < len(name) < 200:
        (empty_home.current_model / name).mkdir(exist_ok=True)
        assert ledger.folders(empty_home) == []


def test_canonical_name() -> None:
    name = ledger.canonical_name(1234, FakeClock())
    assert name == "checkpoint-1234-20260101-0000"
    assert ledger.extract_step(f"/somewhere/{name}") == 1234


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_sidecar_that_is_none_is_corrupt(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(Corrupt):
        ledger.read_record(tmp_path / "missing")
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(Corrupt):
        ledger.read_record(tmp_path / "x")


def test_a_record_survives_its_checkpoint(empty_home: Paths, facts: Any) -> None:
    folder = make(empty_home, 5, val_loss=0.25)
    ledger.adopt(empty_home, facts)
    record = ledger.read_record(folder / ledger.SIDECAR)
    ledger.keep_sidecar(empty_home, record)
    assert list(ledger.dropped_records(empty_home)) == [record]
    assert ledger.indexed(facts, folder.name) == record
    with pytest.raises(Unknown):
        ledger.indexed(facts, "checkpoint-6-20260101-0000")


def test_adopting_twice_changes_nothing(empty_home: Paths, facts: Any) -> None:
    make(empty_home, 5)
    assert ledger.adopt(empty_home, facts) == ["checkpoint-5-20260101-0000"]
    assert ledger.adopt(empty_home, facts) == []


def test_unknown_fields_of_a_record_are_an_error() -> None:
    with pytest.raises(ValueError, match="extra"):
        Record.model_validate({"colour": "red"})


def test_a_quest_called_like_a_school_is_no_school() -> None:
    assert ledger.by_school("school: champion, bin level 1", [])
    assert not ledger.by_school("school: champion, bin level 1", [{"quest": "x"}])
    assert not ledger.by_school("train.jsonl", [])
    assert not ledger.by_school(None, [])
