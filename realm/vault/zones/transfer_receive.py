"""Receiving an asset: manifest first, then chunk by chunk, each verified; listed only when every byte is right.

Source of the idea: resumable pulls by HTTP Range (RFC 9110 section 14). A cut costs at most the chunk under way: only one
is ever asked for, and what was verified before it is kept.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from realm.core import durable
from realm.core.clock import SYSTEM, Clock
from realm.core.errors import Conflict, Corrupt, RealmError, Unavailable
from realm.core.logs import get_logger
from realm.core.paths import Paths
from realm.core.store import transaction
from realm.vault.keeper.assets import AssetManifest
from realm.vault.ledger_index import project
from realm.vault.zones import transfer_landing as landing_of
from realm.vault.zones import transfer_rows as rows
from realm.vault.zones.transfer_incoming import FOLDER, Incoming, Part, open_incoming, remove_incoming
from realm.vault.zones.transfer_landing import Landing
from realm.vault.zones.transfer_rows import Transfer
from realm.vault.zones.transfer_source import Offer, Source

log = get_logger("transfer")
T = TypeVar("T")
# Tries in a row that brought no new chunk before a transfer gives up; it can be asked for again.
TRIES = 8
LONGEST_PAUSE_S = 10.0
SHOW_EVERY_S = 0.5


class Stopped(Unavailable):
    """The process that runs the transfer was told to end."""


@dataclass
class Progress:
    """How far a transfer is, in bytes: of the asset, verified here, and moved over the wire by this run."""

    total: int = 0
    done: int = 0
    moved: int = 0
    file: str = ""


def sleep(seconds: float) -> bool:
    """Wait, without anybody who could end it; returns False."""
    if seconds > 0:
        time.sleep(seconds)
    return False


@dataclass
class Pace:
    """What a run depends on from outside: clock, waiting (returns True when told to end), who is told, MB/s."""

    clock: Clock = SYSTEM
    wait: Callable[[float], bool] = field(default_factory=lambda: sleep)
    tell: Callable[[Progress], None] = field(default=lambda progress: None)
    limit_mb_s: float | None = None


def pause_for(moved: int, seconds: float, limit_mb_s: float | None) -> float:
    """Return how long to wait so that `moved` bytes in `seconds` keep to the limit. Pure."""
    return 0.0 if limit_mb_s is None else max(0.0, moved / (limit_mb_s * 1e6) - seconds)


class Receiver:
    """One run of one transfer."""

    def __init__(self, paths: Paths, connection: sqlite3.Connection, transfer: Transfer, source: Source, pace: Pace) -> None:
        self._paths, self._db, self._transfer, self._source, self._pace = paths, connection, transfer, source, pace
        self.progress = Progress()
        self._begun = self._shown = pace.clock.monotonic()
        self._before = transfer.bytes_moved

    def run(self) -> AssetManifest:
        """Fetch, verify, commit and list the asset; returns its manifest. Raises the RealmError that ended it."""
        try:
            return self._run()
        except (RealmError, OSError):
            # On a full disk the figures stay the older ones; the error that goes up says why.
            with suppress(RealmError):
                self._show(force=True)
            raise

    def _run(self) -> AssetManifest:
        offer = self._retry(lambda: self._source.offer(self._transfer.asset))
        asset = self._meant(offer)
        line = self._retry(lambda: self._source.line(asset)) if asset.type == "checkpoint" else []
        landing = landing_of.plan_landing(self._paths, asset)
        landing_of.check_admission(self._paths, self._db, asset, line)
        self.progress.total = asset.size
        if not landing_of.already_here(self._paths, asset, landing):
            self._fetch(offer, landing)
        if asset.type == "checkpoint":
            landing_of.keep_line(self._paths, self._db, line[:-1])
        with transaction(self._db):
            landing_of.refer(self._paths, self._db, asset, landing, line, self._pace.clock)
            rows.move(self._db, self._transfer.id, "done", self._pace.clock, reason="", **self._figures(asset.size))
        project(self._paths, self._db, self._pace.clock, force=True)
        remove_incoming(landing.folder.parent if landing.whole_folder else landing.folder, self._transfer.id)
        return asset

    def _meant(self, offer: Offer) -> AssetManifest:
        """Return the offered manifest when it is what was asked for."""
        asset = offer.asset
        if asset.id != self._transfer.asset:
            raise Corrupt(f"asked for {self._transfer.asset}, was offered {asset.id}")
        if self._transfer.digest and asset.digest != self._transfer.digest:
            raise Conflict(
                f"{asset.id} was asked for as {self._transfer.digest[:16]}, {self._transfer.peer} has {asset.digest[:16]}",
                hint="ask for it again to take what is there now",
            )
        rows.show(self._db, self._transfer.id, self._pace.clock, digest=asset.digest, bytes_total=asset.size)
        return asset

    def _fetch(self, offer: Offer, landing: Landing) -> None:
        parent = landing.folder.parent if landing.whole_folder else landing.folder
        with durable.disk_errors(parent):
            parent.mkdir(parents=True, exist_ok=True)
        with open_incoming(parent, self._transfer.id, offer.asset) as incoming, ThreadPoolExecutor(1, "sink") as sink:
            landing_of.check_space(parent, offer.asset.size - incoming.there())
            for number in range(len(offer.asset.files)):
                self._fetch_file(offer, incoming, number, sink)
            landing_of.check_arrived(offer.asset, incoming.files)
            self._show(force=True)
            landing_of.publish(self._paths, offer.asset, landing, incoming.files)

    def _fetch_file(self, offer: Offer, incoming: Incoming, number: int, sink: ThreadPoolExecutor) -> None:
        file = offer.asset.files[number]
        self.progress.file = file.path
        with incoming.part(number) as part:
            self.progress.done += part.kept
            while part.kept < file.size:
                length = min(offer.chunk, file.size - part.kept)
                self._retry(partial(self._fetch_chunk, offer, number, part, length, sink))
                self.progress.done += length
                self._show()
            right = part.digest == file.sha256
        if not right:
            self.progress.done -= file.size
            incoming.forget(number)
            raise Corrupt(
                f"{offer.asset.id}/{file.path} from {self._transfer.peer} does not match its manifest",
                hint="the copy there is damaged; nothing of it was listed here",
            )
        incoming.finish(number)

    def _fetch_chunk(self, offer: Offer, number: int, part: Part, length: int, sink: ThreadPoolExecutor) -> None:
        """Bring one chunk; a cut, a short or a long answer is Unavailable, bytes of another digest too."""
        came, writing = 0, None
        try:
            with self._source.chunk(offer.asset, number, part.kept, length) as chunk:
                for block in chunk.blocks:
                    came += len(block)
                    if came > length:
                        raise Corrupt(f"{self._transfer.peer} sent more than the {length} bytes it was asked for")
                    _settled(writing)
                    writing = sink.submit(part.take, block)
                    self._moved(len(block))
            _settled(writing)
            writing = None
            if came < length:
                raise Unavailable(f"the connection to {self._transfer.peer} was cut after {came} of {length} bytes")
            if chunk.digest is not None and part.digest != chunk.digest:
                raise Unavailable(f"a chunk from {self._transfer.peer} arrived with other bytes than were sent")
        except BaseException:
            if writing is not None:
                writing.exception()  # the thread must be done with the file before it is cut back
            part.drop()
            raise
        part.keep()

    def _moved(self, count: int) -> None:
        self.progress.moved += count
        self._pace.tell(self.progress)
        seconds = self._pace.clock.monotonic() - self._begun
        pause = pause_for(self.progress.moved, seconds, self._pace.limit_mb_s)
        if self._pace.wait(pause):
            raise Stopped("the transfer was told to stop", hint="it goes on where it is when it is asked for again")

    def _retry(self, work: Callable[[], T]) -> T:
        """Do something that may be repeated; an outage is waited out a few times, everything else goes up."""
        tries = 0
        while True:
            try:
                return work()
            except Stopped:
                raise
            except Unavailable as outage:
                tries += 1
                if tries >= TRIES:
                    raise
                log.warning("%s: %s (try %d)", self._transfer.id, outage.message, tries)
                if self._pace.wait(min(LONGEST_PAUSE_S, 0.25 * 2**tries)):
                    raise Stopped(outage.message, hint=outage.hint) from outage

    def _figures(self, done: int) -> dict[str, float]:
        seconds = round(self._transfer.seconds + self._pace.clock.monotonic() - self._begun, 3)
        return {"bytes_done": done, "bytes_moved": self._before + self.progress.moved, "seconds": seconds}

    def _show(self, *, force: bool = False) -> None:
        self._pace.tell(self.progress)
        now = self._pace.clock.monotonic()
        if force or now - self._shown >= SHOW_EVERY_S:
            self._shown = now
            rows.show(self._db, self._transfer.id, self._pace.clock, **self._figures(self.progress.done))


def _settled(writing: Future[None] | None) -> None:
    if writing is not None:
        writing.result()


def sweep_incoming(paths: Paths, connection: sqlite3.Connection) -> list[str]:
    """Remove what transfers left that are done or unknown here; returns their ids."""
    removed = []
    for parent in (paths.current_model, paths.models, paths.data, paths.snapshots, paths.backups):
        for folder in _left(parent):
            row = connection.execute("SELECT state FROM transfers WHERE id = ?", (folder,)).fetchone()
            if row is None or row["state"] == "done":
                remove_incoming(parent, folder)
                removed.append(folder)
    return removed


def _left(parent: Path) -> list[str]:
    place = parent / FOLDER
    return sorted(one.name for one in place.iterdir() if one.is_dir()) if place.is_dir() else []
