"""Getting an eval done for someone who waits: by the evaluator that runs, else here and now."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing

from realm.arena.evals.evaluator import Evaluator, open_evaluator
from realm.core.daemon import lock_holder, single_instance
from realm.core.errors import Conflict, Unavailable
from realm.core.paths import Paths
from realm.core.store import open_facts

LOOK_S = 0.2


def finished(connection: sqlite3.Connection, eval_id: str) -> sqlite3.Row | None:
    """Return the row of a finished eval, None while it waits; raises Conflict when it was dropped."""
    row: sqlite3.Row = connection.execute("SELECT * FROM evals WHERE id = ?", (eval_id,)).fetchone()
    if row["state"] == "dropped":
        raise Conflict(f"the eval was dropped: {row['reason']}")
    return row if row["state"] == "done" else None


def see_through(
    paths: Paths,
    connection: sqlite3.Connection,
    eval_id: str,
    patience: float,
    make: Callable[[Paths, sqlite3.Connection], Evaluator] = open_evaluator,
) -> sqlite3.Row:
    """Return the finished eval; raises Unavailable with its reason when it is not done after `patience` seconds."""
    row = finished(connection, eval_id)
    if row is None and lock_holder(paths, "evaluator") is None:
        with single_instance(paths, "evaluator"), closing(open_facts(paths)) as own:
            make(paths, own).work(eval_id)
        row = finished(connection, eval_id)
        patience = 0.0
    until = time.monotonic() + patience
    while row is None and time.monotonic() < until:
        time.sleep(LOOK_S)
        row = finished(connection, eval_id)
    if row is None:
        why = connection.execute("SELECT state, reason FROM evals WHERE id = ?", (eval_id,)).fetchone()
        raise Unavailable(f"the eval has no result yet: {why['reason'] or why['state']}",
                          hint="the oracle and the skill's server must run: realm up")  # fmt: skip
    return row
