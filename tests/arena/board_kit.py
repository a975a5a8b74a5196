"""A home with a board, a fake clock and a yardstick that counts characters, for tests that need no hero."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from quest_files import as_bytes, rows

from realm.arena.quests import board, intake
from realm.arena.quests.quest import Quest, from_row, get_quest
from realm.arena.quests.yardstick import Yardstick
from realm.core.clock import FakeClock
from realm.core.paths import Paths
from realm.core.store import open_facts


def count_characters(batch: Sequence[Sequence[dict[str, str]]]) -> list[int]:
    return [sum(len(message["content"]) for message in row) for row in batch]


YARDSTICK = Yardstick(count_characters, 500)


@dataclass
class Kit:
    paths: Paths
    facts: sqlite3.Connection
    clock: FakeClock = field(default_factory=FakeClock)
    settling: intake.Settling = field(default_factory=intake.Settling)

    def sweep(self) -> list[str]:
        return intake.sweep(self.paths, self.facts, clock=self.clock, settling=self.settling, yardstick=YARDSTICK)

    def take_in(self) -> list[Quest]:
        """Look, let the files settle, look again."""
        found = self.sweep()
        self.clock.advance(intake.SETTLE_S)
        return [get_quest(self.facts, quest) for quest in found + self.sweep()]

    def drop(self, name: str, data: bytes) -> Path:
        path = self.paths.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def add(self, count: int = 3, priority: str = "normal", name: str = "q.jsonl", start: int = 0) -> Quest:
        spool = self.paths.home / "queue" / ".given"
        spool.write_bytes(as_bytes(rows(count, start)))
        quest = intake.accept_spool(self.paths, self.facts, spool, name=name, priority=priority, yardstick=YARDSTICK)
        spool.unlink()
        return get_quest(self.facts, quest)

    def get(self, quest: Quest) -> Quest:
        return get_quest(self.facts, quest.id)

    def quests(self) -> list[Quest]:
        return [from_row(row) for row in self.facts.execute("SELECT * FROM quests ORDER BY id")]

    def events(self) -> list[str]:
        return [row["kind"] for row in self.facts.execute("SELECT kind FROM events ORDER BY seq")]

    def claim(self) -> Quest:
        quest = board.claim(self.paths, self.facts, step=0)
        assert quest is not None
        return quest


def make_kit(paths: Paths) -> Kit:
    return Kit(paths, open_facts(paths))
