"""`realm doctor --rebuild`: the store made anew from folders and sidecars agrees with the one before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from fight_kit import put

from realm.arena.battle import enter, fight, leave
from realm.core import events
from realm.core.daemon import StopFlag, single_instance
from realm.core.errors import Conflict
from realm.core.paths import Paths
from realm.core.store import open_facts, read_facts, transaction
from realm.gate import Realm
from realm.gate.patrol import rebuild

CHECKPOINTS = (
    "SELECT name, step, state, parent, generation, weights_sha256, manifest_sha256, size, record FROM checkpoints ORDER BY step"
)
QUESTS = (
    "SELECT id, name, file, sha256, size, state, priority, rows, rows_done, steps, tokens, skill, level, kind"
    " FROM quests ORDER BY id"
)


@pytest.fixture
def played(home: Paths) -> Paths:
    """A home in which two quests were trained, one was refused and one waits."""
    put(home, "a.jsonl", 30)
    put(home, "b.jsonl", 30)
    arena = enter(home, Realm(home).enqueue_evals)
    fight(arena, StopFlag(), until_idle=True)
    leave(arena)
    put(home, "waits.jsonl", 8)
    return home


def table(home: Paths, sql: str) -> list[tuple[Any, ...]]:
    with closing(read_facts(home)) as facts:
        return [tuple(row) for row in facts.execute(sql)]


def forget(home: Paths) -> None:
    shutil.rmtree(home.store)
    home.ensure()


@pytest.mark.parametrize("lose", [lambda _home: None, forget], ids=["store kept", "store deleted"])
def test_ledger_and_board_are_equal(played: Paths, lose: Callable[[Paths], None]) -> None:
    before = table(played, CHECKPOINTS), table(played, QUESTS)
    assert before[0]
    assert {row[5] for row in before[1]} == {"completed", "queued"}
    lose(played)

    rebuild(played)

    assert table(played, CHECKPOINTS) == before[0]
    assert table(played, QUESTS) == before[1]
    assert Realm(played).sentinels.inspector.full_patrol().findings == ()


def test_what_only_the_store_knew_is_taken_over(played: Paths) -> None:
    told = table(played, "SELECT seq, kind, subject, data FROM events ORDER BY seq")
    with closing(open_facts(played)) as facts, transaction(facts):
        facts.execute("UPDATE checkpoints SET pinned = 1")

    made = rebuild(played)

    assert made["events"] == len(told)
    assert table(played, "SELECT seq, kind, subject, data FROM events ORDER BY seq") == told
    assert table(played, "SELECT min(pinned) FROM checkpoints") == [(1,)]
    with closing(open_facts(played)) as facts, transaction(facts):
        assert events.append(facts, "queue.empty") > told[-1][0], "numbers go on after the old ones"


def test_a_damaged_store_is_not_trusted(played: Paths) -> None:
    before = table(played, CHECKPOINTS)
    played.facts_db.write_bytes(b"not a database" * 1000)
    for end in ("-wal", "-shm"):
        played.facts_db.with_name(played.facts_db.name + end).unlink(missing_ok=True)

    made = rebuild(played)

    assert "events" not in made
    assert table(played, CHECKPOINTS) == before
    assert list(played.store.glob("before-rebuild-*/realm.db")), "the old one is kept"


def test_a_running_arena_is_not_rebuilt_under(played: Paths) -> None:
    with single_instance(played, "arena"), pytest.raises(Conflict, match="arena runs"):
        rebuild(played)
    assert json.loads((played.status / "training_status.json").read_text())["state"] == "idle"
