"""The trial before battle: passes untouched, is not repeated, and a failed check starts nothing and says what to do."""

from __future__ import annotations

import asyncio
import json
import shutil
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import torch
from fight_kit import battle, kinds, put, quest_named
from quest_files import configure, digests, leftovers
from safetensors import SafetensorError

from realm.arena import trial as module
from realm.arena.training_routes import training_router
from realm.arena.trial import CHECKS, TrialFailed, trial_digest
from realm.arena.trial_record import list_trials
from realm.cli import run
from realm.core.errors import NoSpace
from realm.core.paths import Paths
from realm.core.web import make_app
from realm.vault import ledger


@pytest.fixture
def ground(home: Paths) -> Paths:
    configure(home, threads=1)
    put(home, "a.jsonl", 20)
    return home


@pytest.mark.parametrize("batching", ["buckets", "packing"])
def test_a_trial_passes_once_and_changes_no_bit(ground: Paths, batching: str, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(ground, training={"batching": batching})
    with battle(ground) as one:
        rng = torch.get_rng_state()
        one.fight(max_steps=1)
    (found,) = list_trials(ground)
    assert found.passed
    assert [(check.name, check.passed) for check in found.checks] == [(name, True) for name in CHECKS]
    assert torch.equal(rng, torch.get_rng_state())
    assert leftovers(ground) == []

    with battle(ground) as two:
        monkeypatch.setattr(module, "run_trial", lambda *_: pytest.fail("a trial that passed is not repeated"))
        two.fight()
    monkeypatch.undo()
    assert quest_named(ground, "a.jsonl").state == "completed"


def test_with_and_without_a_trial_the_weights_are_the_same(ground: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ground.home, ground.home.parent / "twin")
    twin = Paths(ground.home.parent / "twin")
    with battle(ground) as one:
        one.fight()
    monkeypatch.setattr("realm.arena.battle.before_battle", lambda *_: None)
    with battle(twin) as two:
        two.fight()
    assert len(list_trials(ground)) == 1
    assert list_trials(twin) == []
    assert digests(ledger.folders(ground)[-1]) == digests(ledger.folders(twin)[-1])


def test_what_changes_the_digest(ground: Paths) -> None:
    found = set()
    for change in ({}, {"training": {"batching": "packing"}}, {"training": {"batch_size": 8}}, {"profile": "regime3"}):
        configure(ground, **change)
        with battle(ground) as one:
            found.add(trial_digest(one.arena, "dropped"))
            found.add(trial_digest(one.arena, "generated"))
    assert len(found) == 8
    configure(ground, training={"learning_rate": 0.5, "save_steps": 7})
    with battle(ground) as one:
        assert trial_digest(one.arena, "dropped") in found


def leaking(stepper: Any) -> None:
    real = stepper.hidden
    stepper.hidden = lambda micro: real(micro) + 1e-2 * micro.ids.shape[0]


def losing(stepper: Any) -> None:
    real = stepper.backward_of
    stepper.backward_of = lambda micro, trained: real(micro, len(micro.targets))


@pytest.mark.parametrize(("spoil", "check"), [(leaking, "packed_equals_alone"), (losing, "accumulation")])
def test_a_failed_check_starts_nothing_and_says_what_to_do(
    ground: Paths, spoil: Any, check: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with battle(ground) as one:
        spoil(one.arena.stepper)
        with pytest.raises(TrialFailed, match=check) as caught:
            one.fight()
        assert one.arena.step == 0
        status = json.loads((ground.status / "training_status.json").read_text())
    assert caught.value.hint
    assert (status["state"], check in status["state_reason"]) == ("error", True)
    quest = quest_named(ground, "a.jsonl")
    assert (quest.state, quest.attempts) == ("processing", 1)
    assert "battle.failed" in kinds(ground)
    assert list_trials(ground)[0].passed is False
    assert list_trials(ground)[0].checks[-1].name == check
    run(["--home", str(ground.home), "arena", "trial"])
    assert "FAILED" in capsys.readouterr().out
    with battle(ground) as two:
        two.fight()
    assert quest_named(ground, "a.jsonl").state == "completed"
    assert [one.passed for one in list_trials(ground)] == [True]


def test_a_batch_that_does_not_fit_is_not_computed(ground: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "free_bytes", lambda arena: 1000)
    with battle(ground) as one, pytest.raises(TrialFailed, match=r"memory: 4 x \d+ tokens need about"):
        one.fight()


def test_saved_bits_that_come_back_different_are_named(ground: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.read_weights

    def damaged(folder: Any) -> Any:
        found = real(folder)
        served = {name: tensor.clone() for name, tensor in found.served.items()}
        served["model.norm.weight"][0] += 1e-6
        return module.Weights(served, found.raw, found.optimiser)

    monkeypatch.setattr(module, "read_weights", damaged)
    with battle(ground) as one, pytest.raises(TrialFailed, match=r"round_trip: model\.norm\.weight"):
        one.fight()
    assert leftovers(ground) == []


def test_a_disk_that_refuses_the_round_trip_is_told_and_stops_nothing(ground: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise SafetensorError("I/O error: File too large (os error 27)")

    monkeypatch.setattr(module, "write_tensors", refuse)
    with battle(ground) as one:
        one.fight()
    found = next(check for check in list_trials(ground)[0].checks if check.name == "round_trip")
    assert (found.passed, "File too large" in found.found) == (None, True)


def test_a_disk_without_room_is_waited_for(ground: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=10_000))
    with battle(ground) as one, pytest.raises(NoSpace, match="disk: 0 MB free"):
        one.fight()


def test_what_no_time_is_left_for_is_said(ground: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SECONDS", -1.0)
    with battle(ground) as one:
        one.fight(max_steps=1)
    assert {check.passed for check in list_trials(ground)[0].checks} == {None}


def test_trials_over_http(ground: Paths) -> None:
    app = make_app("test", [training_router(ground)], port=21888)

    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:21888") as client:
            return await client.get("/api/training/trial")

    assert asyncio.run(get()).json() == {"trials": []}
    with battle(ground) as one:
        one.fight(max_steps=1)
    (found,) = asyncio.run(get()).json()["trials"]
    assert (found["passed"], len(found["checks"])) == (True, 6)


def test_a_trial_copies_no_whole_state(ground: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hero that fits in memory once does not fit twice; the save of a small one does copy."""
    with battle(ground) as one:
        asked: list[bool] = []
        real = one.arena.stepper.state_tensors

        def noted(*, live: bool = False) -> Any:
            asked.append(live)
            return real(live=live)

        monkeypatch.setattr(one.arena.stepper, "state_tensors", noted)
        one.fight(max_steps=1)
    assert asked == [True, True, True, False]
