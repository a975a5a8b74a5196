"""What happened between two cursors, as counts and sentences taken from recorded events only."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from realm.core import events
from realm.core.clock import parse_stamp, span, stamp
from realm.core.errors import BadInput
from realm.core.events import Event
from realm.watchtower.facts import read_seen, read_transaction
from realm.watchtower.sentences import sentence

# Kinds that begin and end training; what lies between an end and the next beginning is idle time.
BEGINS = ("battle.started", "battle.resumed", "queue.claimed")
ENDS = ("battle.paused", "battle.stopped", "battle.failed", "queue.completed", "queue.failed", "queue.skipped")
# An arena that was ended writes no turn of its own; that it comes up again tells that nothing was trained since its last word.
_LAST_WORD = """
SELECT last.seq, last.at FROM (
    SELECT (SELECT max(seq) FROM events WHERE seq < up.seq AND (
        kind LIKE 'battle.%' OR kind IN ('checkpoint.saved', 'queue.claimed', 'queue.completed', 'hero.level_up'))) AS seq
    FROM events up WHERE up.seq > ? AND up.kind IN ('service.up', 'service.mended') AND up.subject = 'arena') found
JOIN events last ON last.seq = found.seq"""
RECENT_TURNS = 8  # read before an absence: enough to know which quest was being fought
COUNTED = {
    "levels": ("hero.level_up",),
    "quests": ("queue.completed",),
    "evals": ("checkpoint.evaluated",),
    "masteries": ("skill.mastered",),
    "champions": ("hero.champion",),
    "checkpoints": ("checkpoint.saved",),
    "achievements": ("achievement.unlocked",),
    "errors": ("battle.failed", "queue.failed", "service.fallen", "patrol.failed"),
}
TOLD = ("masteries", "champions", "errors")
LONGEST_LIST = 20
_WORDS = {
    "steps": ("step trained", "steps trained"),
    "levels": ("level gained", "levels gained"),
    "quests": ("quest completed", "quests completed"),
    "evals": ("eval finished", "evals finished"),
    "masteries": ("skill level mastered", "skill levels mastered"),
    "champions": ("new champion", "new champions"),
    "checkpoints": ("checkpoint saved", "checkpoints saved"),
    "achievements": ("achievement unlocked", "achievements unlocked"),
    "errors": ("error", "errors"),
}


@dataclass(frozen=True)
class Turn:
    """An event that begins or ends training: its time stamp, kind and quest ("" where it names none)."""

    at: str
    kind: str
    quest: str = ""


@dataclass(frozen=True)
class Fight:
    """Whether a hero trains, and which quest he fights or fought last."""

    on: bool = False
    quest: str = ""


@dataclass(frozen=True)
class AwayInputs:
    """The events of one absence: counts by kind, the newest of those that are told, the turns of the battle."""

    start: int
    end: int
    started_at: str
    ended_at: str
    step_before: int | None
    step_after: int | None
    counts: Mapping[str, int] = field(default_factory=dict)
    told: Mapping[str, Sequence[Event]] = field(default_factory=dict)
    turns: Sequence[Turn] = ()
    turns_before: Sequence[Turn] = ()


def summarise(found: AwayInputs) -> dict[str, Any]:
    """Return the object of `GET /api/away`. Pure."""
    begin, end = parse_stamp(found.started_at), parse_stamp(found.ended_at)
    seconds = max(0.0, (end - begin).total_seconds())
    counts = {name: sum(found.counts.get(kind, 0) for kind in kinds) for name, kinds in COUNTED.items()}
    idle = idle_seconds(found.turns, found.turns_before, begin, end)
    summary: dict[str, Any] = {
        "from": found.start,
        "to": found.end,
        "from_at": found.started_at,
        "to_at": found.ended_at,
        "seconds": round(seconds, 1),
        "events": sum(found.counts.values()),
        "idle_s": round(idle, 1),
        **_steps(found),
        **counts,
        "told": {name: [_line(event) for event in found.told.get(name, ())] for name in TOLD},
    }
    summary["text_facts"] = _text_facts(summary)
    return summary


def _steps(found: AwayInputs) -> dict[str, Any]:
    if found.step_after is None:
        return {"steps": None, "steps_reason": "no step has been recorded"}
    gained = found.step_after - (found.step_before or 0)
    # After a crash the hero goes back to its last checkpoint: that is no gain, and no negative one either.
    return {"steps": max(0, gained), "step_before": found.step_before or 0, "step_after": found.step_after}


def _line(event: Event) -> dict[str, Any]:
    return {"seq": event["seq"], "at": event["at"], "step": event["step"], "text": sentence(event)}


def after_turn(fight: Fight, turn: Turn) -> Fight:
    """Return how the fight stands after a turn; a quest is closed while the next one is fought already, which ends nothing."""
    if turn.kind in BEGINS:
        return Fight(True, turn.quest or fight.quest)
    closed_behind = turn.kind.startswith("queue.") and fight.quest not in ("", turn.quest)
    return fight if closed_behind else replace(fight, on=False)


def idle_seconds(turns: Iterable[Turn], before: Iterable[Turn], begin: datetime, end: datetime) -> float:
    """Return the seconds between `begin` and `end` in which nothing was trained; turns of that time and before, in order."""
    idle, mark, fight = 0.0, begin, Fight()
    for turn in before:
        fight = after_turn(fight, turn)
    for turn in turns:
        now = min(max(parse_stamp(turn.at), mark), end)
        if not fight.on:
            idle += (now - mark).total_seconds()
        mark, fight = now, after_turn(fight, turn)
    return idle if fight.on else idle + max(0.0, (end - mark).total_seconds())


def _text_facts(summary: Mapping[str, Any]) -> list[str]:
    facts = []
    for name, (one, many) in _WORDS.items():
        if n := summary[name]:
            facts.append(f"{n:,} {one if n == 1 else many}")
    facts += [line["text"] for name in TOLD for line in summary["told"][name]]
    if summary["idle_s"] >= 60:
        facts.append(f"idle for {span(summary['idle_s'])}")
    return facts


def read_away(
    connection: sqlite3.Connection, after: int | None, now: datetime, step_now: int | None = None
) -> AwayInputs:
    """Read one absence in one transaction; `after` None means since the acknowledged cursor.

    `step_now` is the hero's present step when it is ahead of the last event. Raises BadInput for a cursor that is ahead
    of the log.
    """
    with read_transaction(connection):
        seen, end = read_seen(connection), events.cursor(connection)
        start = seen.cursor if after is None else after
        if start > end:
            raise BadInput(f"cursor {start} is ahead of the newest event {end}", hint="take a new snapshot")
        before = _turns(connection, f"seq <= ? ORDER BY seq DESC LIMIT {RECENT_TURNS}", start)[::-1]
        counts = connection.execute("SELECT kind, count(*) AS n FROM events WHERE seq > ? GROUP BY kind", (start,))
        return AwayInputs(
            start=start,
            end=end,
            started_at=(seen.at if start == seen.cursor else None) or _time_of(connection, start) or stamp(now),
            ended_at=stamp(now),
            step_before=_step_at(connection, start),
            step_after=_step_at(connection, end) if step_now is None else step_now,
            counts={row["kind"]: row["n"] for row in counts},
            told={name: _newest(connection, start, COUNTED[name]) for name in TOLD},
            turns=_with_falls(connection, start, _turns(connection, "seq > ? ORDER BY seq", start)),
            turns_before=[turn for _, turn in before],
        )


def _time_of(connection: sqlite3.Connection, seq: int) -> str | None:
    row = connection.execute("SELECT at FROM events WHERE seq >= ? ORDER BY seq LIMIT 1", (max(seq, 1),)).fetchone()
    return row["at"] if row else None


def _step_at(connection: sqlite3.Connection, seq: int) -> int | None:
    row = connection.execute(
        "SELECT step FROM events WHERE seq <= ? AND step IS NOT NULL ORDER BY seq DESC LIMIT 1", (seq,)
    ).fetchone()
    return row["step"] if row else None


def _turns(connection: sqlite3.Connection, where: str, start: int) -> list[tuple[int, Turn]]:
    kinds = (*BEGINS, *ENDS)
    marks = ",".join("?" * len(kinds))
    found = connection.execute(f"SELECT seq, at, kind, subject FROM events WHERE kind IN ({marks}) AND {where}", (*kinds, start))
    return [(row["seq"], Turn(row["at"], row["kind"], row["subject"] or "")) for row in found]


def _with_falls(connection: sqlite3.Connection, start: int, turns: list[tuple[int, Turn]]) -> list[Turn]:
    """Return the turns with the ends of arenas that came up again later, each right after its last word."""
    falls = [(row["seq"], Turn(row["at"], "service.down")) for row in connection.execute(_LAST_WORD, (start,))]
    return [turn for _, turn in sorted([*turns, *falls], key=lambda one: one[0])]


def _newest(connection: sqlite3.Connection, start: int, kinds: Sequence[str]) -> list[Event]:
    found = [event for kind in kinds for event in events.latest(connection, LONGEST_LIST, kind) if event["seq"] > start]
    return sorted(found, key=lambda event: event["seq"], reverse=True)[:LONGEST_LIST]
