"""Equal files of different checkpoints are kept once, as hard links, and how much that saves is counted on the disk.

At most 16 names share one file: a byte that rots then harms a bounded number of checkpoints, and a whole copy is left to
mend them from. The base hero's files are never linked.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from realm.core import durable
from realm.core.errors import Corrupt, Unknown
from realm.core.logs import get_logger
from realm.core.paths import Paths
from realm.core.store import open_facts, transaction
from realm.vault.keeper.asset_files import check_file
from realm.vault.keeper.assets import AssetFile
from realm.vault.keeper.finds import mark_of

log = get_logger("sharing")
MOST_NAMES = 16
# A link of a smaller file saves less than the entry of a folder costs.
SMALLEST = 4096
FACT = "vault.sharing"
_NO_LINKS = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


@dataclass(frozen=True)
class Sharing:
    """`linked` files became links in this run; on the disk `shared` names stand for files kept once, `saved` bytes less.

    `possible` is False where the file system refused a link.
    """

    linked: int
    shared: int
    saved: int
    possible: bool = True


def share(paths: Paths) -> Sharing:
    """Link equal files of the scanned checkpoints together, durably, one rename a file; then measure."""
    linked, possible = 0, True
    with closing(open_facts(paths)) as facts:
        for source, targets in list(_plans(facts)):
            done, possible = _link(paths, facts, source, targets)
            linked += done
            if not possible:
                break
        return measure(paths, facts, linked, possible)


def _plans(facts: sqlite3.Connection) -> Iterator[tuple[sqlite3.Row, list[sqlite3.Row]]]:
    """Yield each file that gets more names, with the files that become them."""
    rows = facts.execute(
        "SELECT path, size, inode, sha256 FROM scanned_files WHERE asset_id GLOB 'checkpoint_*' AND size >= ?"
        " AND sha256 IN (SELECT sha256 FROM scanned_files WHERE asset_id GLOB 'checkpoint_*' AND size >= ?"
        " GROUP BY sha256 HAVING count(DISTINCT inode) > (count(*) + ?) / ?) ORDER BY sha256, path",
        (SMALLEST, SMALLEST, MOST_NAMES - 1, MOST_NAMES),
    )
    groups: dict[str, list[sqlite3.Row]] = {}
    for row in rows:
        groups.setdefault(row["sha256"], []).append(row)
    for group in groups.values():
        yield from plan_group(group)


def plan_group(group: list[sqlite3.Row]) -> Iterator[tuple[sqlite3.Row, list[sqlite3.Row]]]:
    """Fill the files with the most names first, from those with the fewest; none gets more than 16. Pure."""
    names: dict[int, list[sqlite3.Row]] = {}
    for row in group:
        names.setdefault(row["inode"], []).append(row)
    order = sorted(names.values(), key=len, reverse=True)
    while len(order) > 1:
        full, taken = order.pop(0), list[sqlite3.Row]()
        while order and len(full) + len(taken) < MOST_NAMES:
            taken.append(order[-1].pop())
            order = order if order[-1] else order[:-1]
        if taken:
            yield full[0], taken


def _link(paths: Paths, facts: sqlite3.Connection, source: sqlite3.Row, targets: list[sqlite3.Row]) -> tuple[int, bool]:
    expected = AssetFile(path="source", size=source["size"], sha256=source["sha256"])
    done = 0
    for target in targets:
        try:
            # What rotted unseen would be hidden, not mended, by a link: the scrub has to see it.
            for one in (source, target):
                check_file(paths.home, one["path"], expected)
            durable.share_file(paths.home / source["path"], paths.home / target["path"])
            mark = mark_of(os.stat(paths.home / target["path"]))
        except (Unknown, FileNotFoundError):
            continue  # dropped meanwhile
        except Corrupt as error:
            log.warning("not linked: %s", error.message)
            continue
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            log.warning("no hard links in %s: %s", paths.home, error)
            return done, False
        facts.execute(
            "UPDATE scanned_files SET mtime_ns = ?, inode = ? WHERE path = ?", (mark.mtime_ns, mark.inode, target["path"])
        )
        done += 1
    return done, True


def measure(paths: Paths, facts: sqlite3.Connection, linked: int = 0, possible: bool = True) -> Sharing:
    """Count on the disk which scanned files are one, and keep the result for the statistics."""
    seen: dict[tuple[int, int], int] = {}
    shared = saved = 0
    rows = facts.execute("SELECT path FROM scanned_files WHERE asset_id GLOB 'checkpoint_*' AND size >= ?", (SMALLEST,))
    for row in rows:
        try:
            found = os.lstat(paths.home / row["path"])
        except FileNotFoundError:
            continue
        key = (found.st_dev, found.st_ino)
        if key in seen:
            shared, saved = shared + 1, saved + found.st_size
        seen[key] = seen.get(key, 0) + 1
    result = Sharing(linked, shared, saved, possible)
    with transaction(facts):
        facts.execute("INSERT OR REPLACE INTO facts(key, value) VALUES (?, ?)", (FACT, json.dumps(asdict(result))))
    return result


def last_sharing(facts: sqlite3.Connection) -> dict[str, Any] | None:
    """Return what the newest measurement found, None when there was none."""
    row = facts.execute("SELECT value FROM facts WHERE key = ?", (FACT,)).fetchone()
    return None if row is None else dict(json.loads(row["value"]))
