"""What the data flow does once a day beside its work: a backup, the snapshot of the day; and every few minutes the journal."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from realm.core import events
from realm.core.clock import SYSTEM, Clock, parse_stamp
from realm.core.errors import RealmError
from realm.core.logs import get_logger
from realm.core.paths import Paths
from realm.core.store import open_facts, settle_journal, transaction
from realm.vault.keeping import archivist, snapshots
from realm.vault.keeping.archivist import Backup

log = get_logger("dailies")
DAY_S, AGAIN_S = 86_400.0, 3_600.0


class Dailies:
    """Looks whether the daily backup is due; a failure is told once an hour at most and tried again then.

    `run` runs the work: a thread of its own, for gigabytes of weights take longer than a heartbeat may be silent.
    """

    def __init__(
        self, paths: Paths, facts: sqlite3.Connection, hero: Path | None, clock: Clock = SYSTEM,
        run: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:  # fmt: skip
        self._paths, self._facts, self._hero, self._clock = paths, facts, hero, clock
        self._run = run or self._in_thread
        self._thread: threading.Thread | None = None
        self._rests_until = -1e9

    def _in_thread(self, work: Callable[[], None]) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=work, name="dailies", daemon=True)
            self._thread.start()

    def due(self) -> bool:
        """Say whether a day has passed since the last daily backup; one that a clock put into the future counts as old."""
        if self._clock.monotonic() < self._rests_until:
            return False
        made = [one.at for one in archivist.list_backups(self._paths) if isinstance(one, Backup) and one.why == "daily"]
        if not made:
            return self._facts.execute("SELECT 1 FROM checkpoints LIMIT 1").fetchone() is not None
        age = (self._clock.now() - parse_stamp(max(made))).total_seconds()
        return not 0 <= age < DAY_S

    def look(self) -> None:
        """Settle the journal; make what is due. A full disk or a damaged file stops nothing else, an event says so."""
        settle_journal(self._paths)
        if not self.due():
            return
        self._rests_until = self._clock.monotonic() + AGAIN_S
        self._run(self._make)

    def _make(self) -> None:
        try:
            archivist.make(self._paths, self._hero, "daily", self._clock)
            snapshots.keep_daily(self._paths, self._clock)
            archivist.prune(self._paths, clock=self._clock)
        except (RealmError, OSError) as error:
            log.error("no daily backup: %s", error)
            with closing(open_facts(self._paths)) as facts, transaction(facts):
                data = {"check": "backup", "reason": str(error)}
                events.append(facts, "patrol.failed", subject="backup", data=data, clock=self._clock)
