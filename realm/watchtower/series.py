"""The loss curve in buckets: smallest, largest and last value of each, so that no spike is lost at any zoom."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, NamedTuple

from realm.core.errors import BadInput
from realm.watchtower.facts import event_of, read_transaction
from realm.watchtower.sentences import sentence

MOST_BUCKETS = 2000
MARKED = ("hero.level_up", "hero.champion", "skill.mastered", "battle.failed", "battle.loss_spike")
MOST_MARKERS = 200


class Span(NamedTuple):
    """Steps from `first` to `last`, cut into buckets of `width` steps."""

    first: int
    last: int
    width: int


def span_of(first: int, last: int, buckets: int) -> Span:
    """Return the narrowest equal buckets that are at most `buckets`; raises BadInput for a span that cannot be."""
    if first > last:
        raise BadInput(f"from {first} is after to {last}", hint="give from <= to, in steps")
    if not 1 <= buckets <= MOST_BUCKETS:
        raise BadInput(f"{buckets} buckets", hint=f"1 to {MOST_BUCKETS}")
    return Span(first, last, -(-(last - first + 1) // buckets))


def bucketed(rows: Iterable[tuple[int, float]], span: Span) -> list[dict[str, Any]]:
    """Return one point per bucket that holds a step: x = its last step, min, max and last of the loss. Pure.

    Rows are (step, loss) in the order of steps.
    """
    points: list[dict[str, Any]] = []
    bucket = -1
    for step, loss in rows:
        if (step - span.first) // span.width != bucket:
            bucket = (step - span.first) // span.width
            points.append({"x": step, "min": loss, "max": loss, "last": loss})
            continue
        point = points[-1]
        point["x"], point["last"] = step, loss
        point["min"], point["max"] = min(point["min"], loss), max(point["max"], loss)
    return points


def read_series(
    telemetry: sqlite3.Connection, first: int | None, last: int | None, buckets: int
) -> dict[str, Any]:  # fmt: skip
    """Return `{"from", "to", "points", "val"}` of the recorded steps; with nothing recorded, nulls with their reason."""
    with read_transaction(telemetry):
        low, high = telemetry.execute("SELECT min(step), max(step) FROM steps").fetchone()
        if low is None:
            why = "no step has been recorded yet"
            return {"from": None, "from_reason": why, "to": None, "to_reason": why, "points": [], "val": []}
        span = span_of(low if first is None else first, high if last is None else last, buckets)
        return {
            "from": span.first,
            "to": span.last,
            "points": _points(telemetry, span),
            "val": [{"x": x, "y": y} for x, y in _validation(telemetry, span)],
        }


def _points(telemetry: sqlite3.Connection, span: Span) -> list[dict[str, Any]]:
    where = "FROM steps WHERE step BETWEEN ? AND ?"
    if span.width == 1:
        rows = telemetry.execute(f"SELECT step, loss {where} ORDER BY step", (span.first, span.last))
        return bucketed(map(tuple, rows), span)
    # The extremes are aggregated in SQL; the last loss of a bucket is fetched by its step, so that no bare column is
    # taken from an undefined row.
    rows = telemetry.execute(
        "SELECT g.x, g.low, g.high, s.loss FROM (SELECT max(step) AS x, min(loss) AS low, max(loss) AS high "
        f"{where} GROUP BY (step - ?) / ?) g JOIN steps s ON s.step = g.x ORDER BY g.x",
        (span.first, span.last, span.first, span.width),
    )
    return [{"x": x, "min": low, "max": high, "last": loss} for x, low, high, loss in rows]


def _validation(telemetry: sqlite3.Connection, span: Span) -> list[tuple[int, float]]:
    rows = telemetry.execute(
        "SELECT max(step) AS x, loss FROM validation WHERE step BETWEEN ? AND ? GROUP BY (step - ?) / ? ORDER BY x",
        (span.first, span.last, span.first, span.width),
    )
    return [(x, y) for x, y in rows]


def read_markers(facts: sqlite3.Connection, first: int | None, last: int | None) -> list[dict[str, Any]]:
    """Return the newest events worth a mark on the curve, in the order of steps."""
    marks = ",".join("?" * len(MARKED))
    low, high = (0 if first is None else first), (2**62 if last is None else last)
    rows = facts.execute(
        f"SELECT * FROM events WHERE kind IN ({marks}) AND step BETWEEN ? AND ? ORDER BY seq DESC LIMIT ?",
        (*MARKED, low, high, MOST_MARKERS),
    )
    found = sorted((event_of(row) for row in rows), key=lambda event: (event["step"] or 0, event["seq"]))
    return [{"x": event["step"], "kind": event["kind"], "text": sentence(event)} for event in found]
