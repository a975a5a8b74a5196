"""From nothing to a mastered level, seen from outside: quest, battle, checkpoint, eval, level-up, oracle."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import httpx
import pytest

from realm.armory.hero_presets import get_preset
from realm.gate.founding import answer_styles
from tests.e2e.conftest import Running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# Generous: what is tested is that it happens and is true; how fast is measured by bench/first_light.py.
LONG_S = 600


def _bin(realm: Running) -> dict[str, object]:
    found: dict[str, object] = realm.snapshot()["skills"]["bin"]
    return found


def test_bin_level_1_is_mastered_and_the_claim_is_true(realm: Running) -> None:
    realm.until(lambda: (_bin(realm)["mastered"] or 0) >= 1, LONG_S, "BIN level 1 mastered")
    with sqlite3.connect(realm.home / "store" / "realm.db") as facts:
        facts.row_factory = sqlite3.Row
        mastery = facts.execute("SELECT * FROM masteries WHERE skill = 'bin' AND level = 1").fetchone()
        evals = facts.execute("SELECT * FROM evals WHERE level = 1 AND state = 'done'").fetchall()
    evidence = json.loads(mastery["evidence"])

    # The evidence is made of recorded evals of different checkpoints, each answered by that checkpoint's weights.
    used = {row["id"]: row for row in evals if row["id"] in {entry["id"] for entry in evidence["evals"]}}
    assert len(used) >= 3
    assert len({row["checkpoint"] for row in used.values()}) == len(used)
    assert sum(row["correct"] for row in used.values()) >= 0.8 * sum(row["n"] for row in used.values())

    # 210 problems of the eval partition, drawn as evals draw them, answered by the newest checkpoint through the oracle.
    # 200 drawn at once would be nearly all of three operators: the level has few others that no training row contains.
    with httpx.Client(timeout=60) as client:
        style = answer_styles(get_preset("tiny")).examined(1)
        asking = {"level": 1, "count": 15, "split": "eval", "styles": {style: 1.0}}
        draws = [{**asking, "seed": 987654321 + number} for number in range(14)]
        drawn = [client.post(f"{realm.url('skill_bin')}/generate", json=one).json()["samples"] for one in draws]
        asked = [item for samples in drawn for item in samples]
        step = realm.snapshot()["checkpoints"]["latest"]
        client.post(f"{realm.url('inference')}/models/load", json={"step": step}).raise_for_status()
        answers = client.post(
            f"{realm.url('inference')}/generate",
            json={"step": step, "prompts": [item["user_prompt"] for item in asked], "max_new_tokens": 400},
        ).json()
        right = 0
        for item, answer in zip(asked, answers["answers"], strict=True):
            body = {"problem": item, "answer": answer["text"]}
            right += client.post(f"{realm.url('skill_bin')}/grade", json=body).json()["correct"]
    assert len(asked) == 210
    assert right >= 158, f"{right} of 210"


def test_status_snapshot_and_database_tell_the_same(realm: Running) -> None:
    realm.until(lambda: realm.snapshot()["checkpoints"]["count"], LONG_S, "a checkpoint")
    httpx.post(f"{realm.url()}/api/training/control", json={"action": "pause"}).raise_for_status()
    realm.until(lambda: realm.snapshot()["battle"]["state"] == "paused", 120, "paused")
    seen, told = realm.snapshot(), realm.status()
    with sqlite3.connect(realm.home / "store" / "realm.db") as facts:
        completed = facts.execute("SELECT count(*) FROM quests WHERE state = 'completed'").fetchone()[0]
        latest = facts.execute("SELECT max(step) FROM checkpoints WHERE state = 'present'").fetchone()[0]
    httpx.post(f"{realm.url()}/api/training/control", json={"action": "resume"}).raise_for_status()

    assert seen["hero"]["step"] == told["hero"]["step"] == latest
    assert seen["hero"]["gold"] == told["hero"]["gold"] == completed * 100
    assert seen["checkpoints"]["latest"] == latest
    assert seen["hero"]["level"] == latest // 1000
    assert set(told) >= {"hero", "battle", "skills", "queue", "checkpoints", "services"}
    for field in ("name", "model", "level", "step", "xp", "atk", "def", "acc", "gold"):
        assert told["hero"][field] is not None or told["hero"][f"{field}_reason"], field


def test_a_dropped_file_trains_and_a_bad_one_says_why(realm: Running, tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "Compute: add(①, ①)"}, {"role": "assistant", "content": "add(①, ①) = ①⓪"}]}
    (realm.home / "inbox" / "high").mkdir(exist_ok=True)
    (realm.home / "inbox" / "high" / "mine.jsonl").write_text((json.dumps(row) + "\n") * 64)
    (realm.home / "inbox" / "bad.jsonl").write_text('{"messages": [{"role": "wizard", "content": "x"}]}\n')

    def shelf(name: str) -> dict[str, dict[str, object]]:
        rows = httpx.get(f"{realm.url()}/api/quests", params={"state": name, "limit": 100}).json()["rows"]
        return {found["name"]: found for found in rows}

    realm.until(lambda: "mine.jsonl" in shelf("completed"), 120, "the dropped file is trained")
    refused = realm.until(lambda: shelf("failed").get("bad.jsonl"), 60, "the bad file is refused")
    assert "wizard" in str(refused["reason"])
    assert shelf("completed")["mine.jsonl"]["rows_done"] == 64


def test_chat_answers_with_the_checkpoint_it_was_asked_for(realm: Running) -> None:
    realm.until(lambda: realm.snapshot()["checkpoints"]["count"], LONG_S, "a checkpoint")
    step = realm.snapshot()["checkpoints"]["latest"]
    assert httpx.post(f"{realm.url()}/oracle/load", json={"step": step, "host": "local"}, timeout=60).status_code == 200

    body = {"message": "Compute: increment(①)", "host": "local", "step": step}
    answer = httpx.post(f"{realm.url()}/oracle/chat", json=body, timeout=60).json()
    base = httpx.post(f"{realm.url()}/oracle/chat", json={**body, "step": 999_999}, timeout=60)

    with sqlite3.connect(realm.home / "store" / "realm.db") as facts:
        digest = facts.execute("SELECT weights_sha256 FROM checkpoints WHERE step = ?", (step,)).fetchone()[0]
    assert answer["success"] is True
    assert answer["step"] == step
    assert answer["weights_sha256"] == digest
    assert base.status_code == 404
    assert base.json()["success"] is False


@pytest.mark.parametrize("cheat", ["learning rate 0", "shuffled answers"])
def test_a_hero_that_cannot_learn_never_levels_up(fresh_realm: Running, cheat: str) -> None:
    if cheat == "learning rate 0":
        for key in ("training.learning_rate", "training.muon_learning_rate"):
            assert fresh_realm.realm("config", "set", key, "0").returncode == 0
    else:
        _shuffle_answers(fresh_realm)
    fresh_realm.up()

    def looked() -> bool:
        with sqlite3.connect(fresh_realm.home / "store" / "realm.db") as facts:
            return int(facts.execute("SELECT count(*) FROM evals WHERE kind = 'gate' AND state = 'done'").fetchone()[0]) >= 6

    fresh_realm.until(looked, LONG_S, "six evals")
    assert _bin(fresh_realm)["mastered"] == 0


def _shuffle_answers(realm: Running) -> None:
    """Replace the data flow by many dropped quests whose answers belong to other problems."""
    import random

    from realm.guild.skills.server import builtin_skill

    (realm.home / "config" / "schedule.yaml").write_text(
        "strategy: equal\nskills:\n  bin: {enabled: true}\nboard: {low: 0}\n"
    )
    items = [item for seed in range(4) for item in builtin_skill("bin").generate(1, 2000, seed, "train", {"brief": 1.0})]
    source = random.Random(0)
    for number in range(6):
        answers = [item.assistant_response for item in items]
        source.shuffle(answers)
        rows = [
            {"messages": [{"role": "user", "content": i.user_prompt}, {"role": "assistant", "content": a}]}
            for i, a in zip(items, answers, strict=True)
        ]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (realm.home / "inbox" / f"shuffled{number}.jsonl").write_text(lines)
