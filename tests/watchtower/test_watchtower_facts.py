from __future__ import annotations

import json
import os
import sqlite3

import pytest
import realm_facts as write
from hypothesis import given
from hypothesis import strategies as st

from realm.core.clock import FakeClock
from realm.core.durable import write_json, write_json_fast
from realm.core.errors import BadInput
from realm.core.paths import Paths
from realm.watchtower import Watchtower
from realm.watchtower.facts import read_seen, write_seen
from realm.watchtower.gather import process_alive, read_hero
from realm.watchtower.json_text import to_json


def test_the_snapshot_equals_the_database_after_scripted_facts(
    tower: Watchtower, paths: Paths, db: sqlite3.Connection, telemetry: sqlite3.Connection, alive: set[int]
) -> None:
    write_json(paths.config, {"hero": "dio"})
    folder = paths.base_hero("dio")
    folder.mkdir()
    write_json(folder / "hero.json", {"id": "dio", "name": "DIO", "model": "tiny", "preset": "tiny"})
    for number, state in enumerate(["queued", "queued", "completed", "completed", "failed", "deleted"]):
        write.add_quest(db, f"q{number}", state, "high" if number == 0 else "normal")
    write.add_checkpoint(db, 1000, size=10, loss=0.9)
    write.add_checkpoint(db, 1100, size=11, loss=0.5)
    write.add_checkpoint(db, 1200, size=12, state="dropped", loss=0.1)
    write.add_mastery(db, "bin", 1, 900)
    for step, correct in ((1000, 12), (1100, 19)):
        write.add_eval(db, step, "bin", 2, correct, 20)
    write.add_eval(db, 1200, "bin", 2, 0, 20, state="no_contest")
    write.add_eval(db, 1100, "sy", 1, 3, 20, state="queued")
    write.add_service(db, "tavern", pid=5, created=1.0, port=8888)
    write.add_service(db, "oracle", pid=6, created=1.0, port=8765)
    alive.add(5)
    telemetry.execute("INSERT INTO validation VALUES (1050, 't', 0.8, 10), (1300, 't', 0.2, 10)")
    for number in range(60):
        write.happen(db, "queue.low", subject=str(number))

    seen = tower.snapshot()
    assert seen["cursor"] == 60
    assert [event["subject"] for event in seen["log"]] == [str(n) for n in range(59, 9, -1)]
    hero = seen["hero"]
    assert (hero["name"], hero["step"], hero["level"], hero["gold"]) == ("DIO", 1100, 1, 200)
    assert hero["atk"] == pytest.approx(2.0)
    # The validation of step 1300 belongs to a future that was lost with its checkpoint.
    assert (hero["val_loss"], hero["val_loss_step"]) == (0.8, 1050)
    assert (hero["acc_correct"], hero["acc_n"], hero["acc_level"]) == (19, 20, 2)
    card = seen["skills"]["bin"]
    assert (card["mastered"], card["training"], card["correct"], card["n"]) == (1, 2, 19, 20)
    assert card["passes"] == 1
    assert [(row["step"], row["correct"]) for row in card["last_evals"]] == [(1100, 19), (1000, 12)]
    assert seen["skills"]["sy"]["acc"] is None
    assert seen["battle"]["evals_waiting"] == 1
    queue = seen["queue"]
    assert (queue["high"], queue["normal"], queue["low"]) == (1, 1, 0)
    assert (queue["completed"], queue["failed"], queue["deleted"]) == (2, 1, 1)
    kept = seen["checkpoints"]
    assert (kept["count"], kept["latest"], kept["size_bytes"]) == (2, 1100, 21)
    assert seen["services"]["tavern"]["state"] == "up"
    assert seen["services"]["oracle"]["state"] == "down"


def test_the_log_leaves_out_what_the_catalogue_repeats_of_a_checkpoint(tower: Watchtower, db: sqlite3.Connection) -> None:
    write.happen(db, "checkpoint.saved", subject="checkpoint-5-20260101-0000")
    write.happen(db, "asset.registered", subject="checkpoint_5")
    write.happen(db, "asset.registered", subject="model_dio")
    write.happen(db, "asset.dropped", subject="checkpoint_5")
    seen = tower.snapshot()
    assert [event["subject"] for event in seen["log"]] == ["model_dio", "checkpoint-5-20260101-0000"]
    assert seen["cursor"] == 4


def test_a_level_is_rusty_after_two_flagged_probes(tower: Watchtower, db: sqlite3.Connection) -> None:
    write.add_mastery(db, "bin", 1, 100)
    write.add_mastery(db, "bin", 2, 200)
    for step, level, correct in ((300, 1, 13), (300, 2, 13), (400, 1, 10), (400, 2, 19)):
        write.add_eval(db, step, "bin", level, correct, 20, kind="probe")
    assert tower.snapshot()["skills"]["bin"]["rusty"] == [1]


def test_a_commit_is_seen_by_the_next_look(tower: Watchtower, db: sqlite3.Connection) -> None:
    assert tower.snapshot()["queue"]["high"] == 0
    assert tower.fresh_json() is None
    assert tower.snapshot_json() == tower.fresh_json()
    write.add_quest(db, "q1", priority="high")
    assert tower.fresh_json() is None
    assert tower.snapshot()["queue"]["high"] == 1


def test_a_new_status_file_is_seen_by_the_next_look(
    tower: Watchtower, paths: Paths, clock: FakeClock, alive: set[int]
) -> None:
    alive.add(7)
    assert tower.snapshot()["battle"]["state"] == "offline"
    beat = {"pid": 7, "instance": "", "monotonic": clock.monotonic()}
    write_json_fast(paths.run / "arena.heartbeat", beat)
    assert tower.snapshot()["battle"]["state"] == "starting"
    write_json_fast(paths.status / "training_status.json", {"state": "training", "step": 3, "loss": 2.0, **beat})
    seen = tower.snapshot()
    assert (seen["battle"]["state"], seen["hero"]["step"], seen["hero"]["atk"]) == ("training", 3, 0.5)
    vision = tower.pool.gaze()
    assert (vision.battle_state, vision.step) == ("training", 3)


def test_a_broken_status_file_is_a_reason_not_a_crash(tower: Watchtower, paths: Paths, alive: set[int]) -> None:
    alive.add(7)
    (paths.status / "training_status.json").write_text('{"state": "trai')
    (paths.run / "arena.heartbeat").write_text("[]")
    battle = tower.snapshot()["battle"]
    assert battle["state"] == "offline"
    assert "not JSON" in battle["state_reason"]


def test_a_replaced_database_is_noticed(tower: Watchtower, paths: Paths, db: sqlite3.Connection) -> None:
    from realm.core.store import open_facts

    write.add_quest(db, "q1")
    assert tower.snapshot()["queue"]["normal"] == 1
    db.close()
    for path in paths.store.glob("realm.db*"):
        path.unlink()
    open_facts(paths).close()
    assert tower.snapshot()["queue"]["normal"] == 0


def test_the_hero_is_the_one_config_names(paths: Paths) -> None:
    assert "no hero yet" in read_hero(paths)[1]
    write_json(paths.config, {"hero": "../../etc"})
    hero, why = read_hero(paths)
    assert hero is None
    assert "not an id" in why
    write_json(paths.config, {"hero": "dio"})
    assert "models/dio/hero.json is missing" in read_hero(paths)[1]


def test_the_digest_of_a_step_is_the_ledgers_or_the_base_heros(
    tower: Watchtower, paths: Paths, db: sqlite3.Connection
) -> None:
    write.add_checkpoint(db, 100)
    assert tower.digest_of(100) == f"{100:064x}"
    assert tower.digest_of(0) is None
    write_json(paths.config, {"hero": "dio"})
    paths.base_hero("dio").mkdir()
    write_json(paths.base_hero("dio") / "manifest.json", {"weights_sha256": "ab"})
    assert tower.digest_of(0) == "ab"
    assert tower.digest_of(7) is None


def test_an_acknowledgement_never_goes_back_or_ahead(db: sqlite3.Connection, clock: FakeClock) -> None:
    for _ in range(5):
        write.happen(db, "queue.low")
    assert read_seen(db) == (0, None)
    assert write_seen(db, 4, clock.now()).cursor == 4
    assert write_seen(db, 2, clock.now()).cursor == 4
    with pytest.raises(BadInput, match="ahead of the newest event 5"):
        write_seen(db, 6, clock.now())


def test_a_process_is_known_by_number_and_birth() -> None:
    assert process_alive(os.getpid())
    assert not process_alive(os.getpid(), created=1.0)
    assert not process_alive(2**22 + 1, created=1.0)


def test_hostile_text_and_numbers_leave_as_plain_json() -> None:
    name = '<img src=x onerror=alert(1)>\x1b[2J\u202e"\\\n\ud800'
    data = to_json({"name": name, "loss": float("nan"), "list": [float("-inf")]})
    assert b"\n" not in data
    assert json.loads(data) == {"name": name, "loss": "NaN", "list": ["-Infinity"]}


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10,
))  # fmt: skip
def test_json_survives_the_way(value: object) -> None:
    assert json.loads(to_json(value)) == value
