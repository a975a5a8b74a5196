"""The daily backup: made once a day, not before there is anything, tried again after a failure."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from realm.core import events
from realm.core.clock import FakeClock
from realm.core.errors import NoSpace
from realm.core.paths import Paths
from realm.core.store import open_facts, transaction
from realm.vault.keeping import archivist
from realm.weaver.dailies import AGAIN_S, DAY_S, Dailies


def test_once_a_day_and_again_after_a_failure(empty_home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    with closing(open_facts(empty_home)) as facts:
        dailies = Dailies(empty_home, facts, None, clock, run=lambda work: work())
        dailies.look()
        assert not empty_home.backups.exists() or not list(empty_home.backups.iterdir())
        with transaction(facts):
            facts.execute("INSERT INTO checkpoints VALUES ('checkpoint-1-20260101-0000', 1, 'dropped', 0, NULL, 1, '', '', 0, '',"
                          " '{}')")  # fmt: skip

        def full(*_: object) -> None:
            raise NoSpace("no space left")

        with monkeypatch.context() as patch:
            patch.setattr(archivist, "make", full)
            dailies.look()
            dailies.look()
        assert [event["data"]["check"] for event in events.latest(facts, 9, "patrol.failed")] == ["backup"]
        clock.advance(AGAIN_S)
        dailies.look()
        made = list(Path(empty_home.backups).iterdir())
        assert len(made) == 1
        clock.advance(DAY_S / 2)
        dailies.look()
        assert list(empty_home.backups.iterdir()) == made
        clock.advance(DAY_S / 2)
        dailies.look()
        assert len(list(empty_home.backups.iterdir())) == 2
        assert facts.execute("SELECT count(*) FROM changes").fetchone()[0] <= 2, "the journal was settled"
