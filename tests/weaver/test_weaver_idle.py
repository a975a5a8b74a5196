from __future__ import annotations

from realm.core.paths import Paths
from realm.core.store import open_facts, transaction
from realm.weaver.idle import QUIET_S, UNTAKEN_S, Quiet, Work, settle, work_left

QUEST = """INSERT INTO quests(id, name, file, sha256, size, state, priority, arrived_at, changed_at)
    VALUES (?, 'q', 'q', '', 0, ?, 'normal', '', '')"""
EVAL = """INSERT INTO evals(id, checkpoint, step, skill, level, kind, state, queued_at)
    VALUES ('e', 'c', 1, 'bin', 1, 'static', 'queued', '')"""


def test_waiting_and_running_quests_queued_evals_and_inbox_files_are_work(tmp_path):
    paths = Paths(tmp_path).ensure()
    assert work_left(paths) == Work()
    connection = open_facts(paths)
    with transaction(connection):
        for state in ("queued", "processing", "completed", "failed", "rejected", "skipped", "deleted"):
            connection.execute(QUEST, (state, state))
        connection.execute(EVAL)
    connection.close()
    (paths.inbox / "new.jsonl").write_text("{}")
    (paths.inbox / "half.part").write_text("{}")
    assert work_left(paths) == Work(quests=2, evals=1, files=("new.jsonl",))


def test_nothing_must_be_left_for_a_while():
    quiet, over = settle(Quiet(), Work(), 10)
    assert not over
    quiet, over = settle(quiet, Work(evals=1), 12)
    assert not over
    quiet, over = settle(quiet, Work(), 13)
    quiet, over = settle(quiet, Work(), 13 + QUIET_S - 0.1)
    assert not over
    assert settle(quiet, Work(), 13 + QUIET_S)[1]


def test_files_that_nobody_takes_do_not_hold_the_realm_for_ever():
    odd = Work(files=("odd",))
    quiet, over = settle(Quiet(), odd, 0)
    quiet, over = settle(quiet, odd, UNTAKEN_S - 1)
    assert not over
    quiet, over = settle(quiet, Work(files=("odd", "new")), UNTAKEN_S)
    assert not over
    quiet, over = settle(quiet, odd, UNTAKEN_S + 1)
    assert not over
    assert settle(quiet, odd, 2 * UNTAKEN_S + 1)[1]
