"""`realm ledger` as typed: pin, promote, verify, delete with its step, undelete, plan."""

from __future__ import annotations

import json
from contextlib import closing

import pytest
from test_ledger import make

from realm.cli import run
from realm.core.paths import Paths
from realm.core.store import open_facts, read_facts
from realm.vault import ledger


@pytest.fixture
def saved(home: Paths, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """Three checkpoints of a real home, the newest at step 30."""
    monkeypatch.setenv("REALM_HOME", str(home.home))
    for step in (10, 20, 30):
        make(home, step, train_loss=1 / step)
    with closing(open_facts(home)) as facts:
        ledger.adopt(home, facts)
    return home


def present(paths: Paths) -> dict[int, bool]:
    with closing(read_facts(paths)) as facts:
        return {row["step"]: bool(row["pinned"]) for row in facts.execute("SELECT * FROM checkpoints WHERE state = 'present'")}


def test_pin_delete_and_undelete(saved: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ledger", "pin", "10"]) == 0
    assert present(saved)[10]
    assert run(["ledger", "delete", "10", "--confirm", "10"]) == 3
    assert run(["ledger", "unpin", "checkpoint-10-20260101-0000"]) == 0
    assert run(["ledger", "delete", "10", "--confirm", "11"]) == 2
    assert run(["ledger", "delete", "30", "--confirm", "30"]) == 3
    assert sorted(present(saved)) == [10, 20, 30]
    assert run(["ledger", "delete", "10", "--confirm", "10"]) == 0
    assert sorted(present(saved)) == [20, 30]
    told = json.loads((saved.status / "checkpoint_ledger.json").read_text())["checkpoints"]
    assert [entry["step"] for entry in told] == [30, 20]
    assert run(["ledger", "undelete", "10"]) == 0
    assert sorted(present(saved)) == [10, 20, 30]
    assert "latest" in capsys.readouterr().err


def test_promote_and_automatic(saved: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ledger", "promote"]) == 2
    assert run(["ledger", "promote", "20"]) == 0
    assert run(["ledger", "promote", "--automatic"]) == 0
    assert run(["ledger", "promote", "--automatic"]) == 0
    said = capsys.readouterr().out
    assert "checkpoint-20-20260101-0000 is champion by hand" in said
    assert "automatic already" in said


def test_verify_and_plan(saved: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ledger", "verify", "20"]) == 0
    (saved.current_model / "checkpoint-20-20260101-0000" / "model.safetensors").write_bytes(b"weightz 20")
    assert run(["ledger", "verify", "20"]) == 6
    assert run(["ledger", "verify", "21"]) == 2
    capsys.readouterr()
    assert run(["ledger", "plan", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kept"] == 3
