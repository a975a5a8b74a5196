"""The gate of the inbox: a dropped file is taken when it is complete and true, otherwise set aside with the reason.

A file is complete when it has not changed for two seconds and no process has it open for writing (fcntl F_SETLEASE, where
the file system offers it). Whatever arrives ends in exactly one state.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from realm.arena.quests import board, validation
from realm.arena.quests.quest import file_name, sidecar_of
from realm.arena.quests.refusal import Refusal as Refusal
from realm.arena.quests.refusal import judge_of, judged_by
from realm.arena.quests.validation import RowError as RowError
from realm.arena.quests.yardstick import Yardstick, yardstick_of
from realm.core import durable, events
from realm.core.clock import SYSTEM, Clock, stamp
from realm.core.errors import BadInput, Conflict, RealmError
from realm.core.ids import new_ulid
from realm.core.logs import get_logger
from realm.core.paths import PRIORITIES, Paths
from realm.core.store import transaction

log = get_logger("intake")
SETTLE_S = 2.0
MAX_FILE = 2 * 1024**3
MAX_SIDECAR = 64 * 1024
NAME_MAX = 255
IGNORED_ENDS = (".tmp", ".part", ".partial", ".crdownload", "~", ".swp")
_CLAIMED = ("generator_id", "generator_version", "generated_at")
_LEASE_REFUSED = (errno.EAGAIN, errno.EWOULDBLOCK)
# Gone again, or this process has too many files open: looked at again in the next sweep.
_NOT_ITS_FAULT = (errno.ENOENT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR)


@dataclass
class Settling:
    """When each waiting file was first seen in its present form (monotonic seconds)."""

    seen: dict[str, tuple[tuple[int, ...], float]] = field(default_factory=dict)


SETTLING = Settling()


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def waiting_files(inbox: Path) -> Iterator[Path]:
    """Yield candidates below the inbox, a folder's files before its folders; unfinished downloads are passed over."""
    folders = [inbox]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda e: e.name)
        except OSError as error:
            log.warning("cannot look into %s: %s", shown(folder.name), error.strerror)
            continue
        below = []
        for entry in entries:
            if entry.name.startswith(".") or entry.name.endswith(IGNORED_ENDS):
                continue
            if entry.is_dir(follow_symlinks=False):
                below.append(Path(entry.path))
            elif not entry.name.endswith(".meta.json"):
                yield Path(entry.path)
        folders += reversed(below)


def shown(name: str) -> str:
    """Return a file name as text that can be stored and shown; bytes that are not UTF-8 become escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def sweep(
    paths: Paths,
    connection: sqlite3.Connection,
    *,
    clock: Clock = SYSTEM,
    settling: Settling = SETTLING,
    yardstick: Yardstick | None = None,
) -> list[str]:
    """Take in every complete file of the inbox and return the ids of quests added or refused.

    Raises BadInput when the home has no hero yet; the files stay where they are.
    """
    files = list(waiting_files(paths.inbox))
    present = {str(path) for path in files}
    settling.seen = {name: entry for name, entry in settling.seen.items() if name in present}
    if not files:
        return []
    by = yardstick or yardstick_of(paths)
    return [quest for path in files if (quest := _take(paths, connection, path, by, clock, settling)) is not None]


def waiting(paths: Paths) -> list[str]:
    """Return the names in the inbox that are not taken yet, relative to it."""
    return [shown(path.relative_to(paths.inbox).as_posix()) for path in waiting_files(paths.inbox)]


def _settled(path: Path, found: os.stat_result, clock: Clock, settling: Settling) -> bool:
    now = clock.monotonic()
    identity, since = settling.seen.get(str(path), ((), now))
    if identity != _identity(found):
        settling.seen[str(path)] = (_identity(found), now)
        return False
    return now - since >= SETTLE_S


def _take(
    paths: Paths, connection: sqlite3.Connection, path: Path, by: Yardstick, clock: Clock, settling: Settling
) -> str | None:
    try:
        found = path.lstat()
    except OSError as error:
        if not isinstance(error, FileNotFoundError):  # taken away again between the listing and the look
            log.warning("cannot look at %s: %s", shown(path.name), error.strerror)
        return None
    if not _settled(path, found, clock, settling):
        return None
    try:
        quest_id = _accept(paths, connection, path, by, clock)
    except (Refusal, BadInput) as refusal:
        quest_id = _refuse(paths, connection, path, refusal, by.policy, clock)
    except Conflict as elsewhere:
        log.info("%s: %s", shown(path.name), elsewhere)
        return None
    if quest_id is not None:
        settling.seen.pop(str(path), None)
    return quest_id


def _open_complete(path: Path) -> IO[bytes] | None:
    """Open a file without following links; None while someone writes it. Raises Refusal for what is not a plain file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Refusal("a symbolic link is not taken; drop the file itself") from error
        if error.errno in _NOT_ITS_FAULT:
            log.warning("%s cannot be opened now: %s", shown(path.name), error.strerror)
            return None
        raise Refusal(f"it cannot be opened: {error.strerror}") from error
    found = os.fstat(descriptor)
    problem = _problem(path, found)
    if problem:
        os.close(descriptor)
        raise Refusal(problem)
    if being_written(descriptor):
        os.close(descriptor)
        return None
    os.set_blocking(descriptor, True)
    return os.fdopen(descriptor, "rb")


def _problem(path: Path, found: os.stat_result) -> str | None:
    if not stat.S_ISREG(found.st_mode):
        return "only plain files are taken"
    if found.st_nlink != 1:
        return f"the file has {found.st_nlink} hard links; drop a copy of it"
    if path.suffix != ".jsonl":
        return f"the name ends in {path.suffix or 'nothing'}; training files are .jsonl"
    if found.st_size == 0:
        return "the file is empty"
    if found.st_size > MAX_FILE:
        return f"the file has {found.st_size} bytes, over the limit of {MAX_FILE}"
    return None


def being_written(descriptor: int) -> bool:
    """Ask the kernel for a read lease, which it grants only while nobody has the file open for writing."""
    # A writer that comes while the lease is held breaks it by a signal: SIGURG is ignored by default, SIGIO would kill.
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        # Other errors mean that this file system or owner cannot lease: the settle time alone decides.
        return error.errno in _LEASE_REFUSED
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _accept(paths: Paths, connection: sqlite3.Connection, path: Path, by: Yardstick, clock: Clock) -> str | None:
    handle = _open_complete(path)
    if handle is None:
        return None
    with handle:
        before = os.fstat(handle.fileno())
        arrival = arrival_of(before)
        known = connection.execute("SELECT id FROM quests WHERE arrival = ?", (arrival,)).fetchone()
        if known:
            # A crash came between recording this arrival and removing the file: it is on the board already.
            _remove_taken(path, before)
            return None
        spool = durable.spool_file(paths.home / "queue")
        try:
            origin = _origin(path)
            found = _spool(handle, spool, by, shown(path.name))
            if _identity(os.fstat(handle.fileno())) != _identity(before):
                return None  # written on while it was read: it has to settle again
            quest_id = board.place(paths, connection, spool, found, name=shown(path.name), origin=origin, arrival=arrival,
                                   priority=_priority(paths, path), clock=clock)  # fmt: skip
        except RowError:
            if _identity(os.fstat(handle.fileno())) != _identity(before):
                return None
            raise
        finally:
            spool.unlink(missing_ok=True)
    _remove_taken(path, before)
    return quest_id


def arrival_of(found: os.stat_result) -> str:
    """Return what tells one arrival of a file from every other; the inode's change time cannot be set by anyone."""
    return ":".join(str(part) for part in (*_identity(found), found.st_ctime_ns))


def find_arrival(paths: Paths, arrival: str) -> Path | None:
    """Return the file of the inbox that is this arrival, None when it is there no more."""
    for path in waiting_files(paths.inbox):
        try:
            if arrival_of(path.lstat()) == arrival:
                return path
        except OSError as error:
            log.warning("cannot look at %s: %s", shown(path.name), error.strerror)
    return None


def _lines(handle: IO[bytes]) -> Iterator[bytes]:
    while True:
        try:
            line = handle.readline(validation.MAX_LINE + 1)
        except OSError as error:
            raise Refusal(f"it cannot be read: {error.strerror}") from error
        if not line:
            return
        yield line


def _spool(handle: IO[bytes], spool: Path, by: Yardstick, name: str) -> validation.Survey:
    found, checked = validation.survey(_lines(handle), by.measure, by.max_length, by.policy, name)
    durable.write_spool(spool, checked)
    return found


def _remove_taken(path: Path, before: os.stat_result) -> None:
    """Remove an inbox file and its sidecar, only when the file is still the one that was read."""
    if os.path.lexists(path) and _identity(path.lstat()) == _identity(before):
        beside = _beside(path)
        if beside is not None:
            beside.unlink(missing_ok=True)
        # Not flushed: should the name come back after a power cut, its arrival is known.
        path.unlink()


def _beside(path: Path) -> Path | None:
    """Return the sidecar of a dropped file, whatever it is; None without one (its name may be too long to exist)."""
    beside = sidecar_of(path)
    if len(os.fsencode(beside.name)) > NAME_MAX or not os.path.lexists(beside) or stat.S_ISDIR(beside.lstat().st_mode):
        return None
    return beside


def accept_spool(
    paths: Paths,
    connection: sqlite3.Connection,
    spool: Path,
    *,
    name: str,
    priority: str,
    yardstick: Yardstick | None = None,
    clock: Clock = SYSTEM,
) -> str:
    """Check a file that arrived whole (an upload) and put it on the board; raises Refusal or RowError.

    A refused one leaves no quest, as it never was in the inbox; an event tells it and the validator that refused it.
    """
    try:
        return _accept_spool(paths, connection, spool, yardstick or yardstick_of(paths), name, priority, clock)
    except (Refusal, RowError) as refusal:
        told = {"name": name, "reason": refusal.message, "source": "upload", **judge_of(refusal)}
        with transaction(connection):
            events.append(connection, "queue.rejected", data=told, clock=clock)
        raise


def _accept_spool(
    paths: Paths, connection: sqlite3.Connection, spool: Path, by: Yardstick, name: str, priority: str, clock: Clock
) -> str:
    if not name.endswith(".jsonl"):
        raise Refusal(f"the name {name!r} does not end in .jsonl")
    with spool.open("rb") as handle:
        if os.fstat(handle.fileno()).st_size == 0:
            raise Refusal("the file is empty")
        checked = durable.spool_file(spool.parent)
        try:
            found = _spool(handle, checked, by, name)
            origin = board.Provenance(source="upload")
            return board.place(paths, connection, checked, found, name=name, priority=priority, origin=origin, clock=clock)
        finally:
            checked.unlink(missing_ok=True)


def _priority(paths: Paths, path: Path) -> str:
    """A file dropped below inbox/high or inbox/low asks for that priority."""
    parts = path.relative_to(paths.inbox).parts[:-1]
    return next((part for part in parts if part in PRIORITIES), "normal")


def _origin(path: Path) -> board.Provenance:
    """Return the provenance a sidecar beside the dropped file claims, or a plain one; raises Refusal for a bad sidecar."""
    claims = _read_claims(path)
    if claims is None:
        return board.Provenance()
    said = {key: str(claims[key])[:200] if claims.get(key) else None for key in _CLAIMED}
    params = claims.get("params") if isinstance(claims.get("params"), dict) else None
    return board.Provenance(
        generator_id=said["generator_id"], generator_version=said["generator_version"],
        generated_at=said["generated_at"], params=params, source="inbox with sidecar",
    )  # fmt: skip


def _read_claims(path: Path) -> dict[str, Any] | None:
    beside = _beside(path)
    if beside is None:
        return None
    found = beside.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_SIDECAR:
        raise Refusal(f"its sidecar is not a plain file of at most {MAX_SIDECAR} bytes")
    try:
        claims: Any = json.loads(beside.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise Refusal(f"its sidecar is not JSON that can be read: {error}") from error
    if not isinstance(claims, dict):
        raise Refusal("its sidecar is not an object")
    if not validation.is_text(json.dumps(claims, ensure_ascii=False)):
        raise Refusal("its sidecar holds a lone surrogate, which is not text")
    return claims


def _claims_of(path: Path) -> dict[str, Any]:
    """Return who a refused file says it comes from; a sidecar that cannot be read says nothing."""
    try:
        origin = _origin(path)
    except Refusal:
        return {}
    return {key: getattr(origin, key) for key in _CLAIMED}


def _refuse(
    paths: Paths, connection: sqlite3.Connection, path: Path, refusal: RealmError, policy: validation.Policy, clock: Clock
) -> str | None:
    """Move a file that may not train into failed/ with the reason; a link is moved itself, never its target."""
    quest_id, now, name, reason = new_ulid(), stamp(clock.now()), shown(path.name), refusal.message
    target, beside = paths.queue("failed") / file_name(quest_id, name), _beside(path)
    claims, judge = _claims_of(path), judge_of(refusal)
    durable.write_json(sidecar_of(target), {
        **claims, "name": name, "source": "inbox", "validated_at": now, "validation_passed": False,
        "validation_errors": [reason], "validator_versions": judged_by(judge, policy),
        "validation_rejected": {"validator": judge["validator"], "version": judge["validator_version"]},
    })  # fmt: skip
    try:
        size = path.lstat().st_size
        durable.move(path, target)
    except FileNotFoundError:
        sidecar_of(target).unlink()
        return None  # taken away again, or refused by another process
    if beside is not None:
        durable.move(beside, target.with_name(target.name + ".dropped.meta.json"))
    told = {"name": name, "reason": reason, "generator": claims.get("generator_id"), **judge}
    with transaction(connection):
        connection.execute(
            "INSERT INTO quests(id, name, file, sha256, size, state, priority, reason, arrived_at, changed_at, generator)"
            " VALUES (?,?,?,'',?,'rejected','normal',?,?,?,?)",
            (quest_id, name, target.name, size, reason, now, now, claims.get("generator_id")),
        )
        events.append(connection, "queue.rejected", subject=quest_id, data=told, clock=clock)
    log.warning("refused %s: %s", name, reason)
    return quest_id
