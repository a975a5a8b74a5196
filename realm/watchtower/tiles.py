"""Tiles of the loss curve: 100 steps each as (last step, min, max, last loss), kept in memory and only ever extended.

A chart over a million steps combines ten thousand tiles instead of a million rows. 32 bytes a tile.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterator

TILE = 100
# last step, smallest loss, largest loss, loss of the last step
Bar = tuple[int, float, float, float]
_FIELDS = 4

BARS = (
    "SELECT g.x, g.low, g.high, s.loss FROM (SELECT max(step) AS x, min(loss) AS low, max(loss) AS high "
    "FROM steps WHERE step BETWEEN ? AND ? GROUP BY step / ?) g JOIN steps s ON s.step = g.x ORDER BY g.x"
)


def read_bars(telemetry: sqlite3.Connection, first: int, last: int, width: int) -> Iterator[Bar]:
    """Yield one bar per `width` steps that holds a recorded one, in order, from the rows themselves.

    The last loss is fetched by its step: beside both min() and max() a bare column would come from an undefined row.
    """
    yield from telemetry.execute(BARS, (first, last, width))


class Tiles:
    """The complete tiles of one telemetry database; use it under the lock of its connection."""

    def __init__(self) -> None:
        self._values = array("d")
        self._anchor: tuple[int, str] | None = None

    def extend(self, telemetry: sqlite3.Connection) -> int:
        """Add the tiles that are complete by now and return the first step after them.

        When training went back to a checkpoint, rows were removed or written again with another time: all is read anew.
        """
        if self._anchor and self._time_of(telemetry, self._anchor[0]) != self._anchor[1]:
            self._values, self._anchor = array("d"), None
        newest = telemetry.execute("SELECT max(step) FROM steps").fetchone()[0]
        start, complete = self._end(), 0 if newest is None else newest // TILE * TILE
        for bar in read_bars(telemetry, start, complete - 1, TILE):
            self._values.extend(bar)
        if self._values:
            last = int(self._values[-_FIELDS])
            self._anchor = (last, self._time_of(telemetry, last) or "")
        return self._end()

    def between(self, first: int, last: int) -> Iterator[Bar]:
        """Yield the tiles that lie wholly between two steps; `first` and `last` + 1 are multiples of TILE."""
        for place in range(self._place(first), len(self._values), _FIELDS):
            x, low, high, loss = self._values[place : place + _FIELDS]
            if x > last:
                return
            yield int(x), low, high, loss

    def _place(self, step: int) -> int:
        # Halving over the last steps of the tiles, which rise.
        low, high = 0, len(self._values) // _FIELDS
        while low < high:
            middle = (low + high) // 2
            if self._values[middle * _FIELDS] < step:
                low = middle + 1
            else:
                high = middle
        return low * _FIELDS

    def _end(self) -> int:
        return 0 if not self._values else (int(self._values[-_FIELDS]) // TILE + 1) * TILE

    @staticmethod
    def _time_of(telemetry: sqlite3.Connection, step: int) -> str | None:
        row = telemetry.execute("SELECT at FROM steps WHERE step = ?", (step,)).fetchone()
        return str(row["at"]) if row else None
