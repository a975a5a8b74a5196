"""The only module that writes under the base directory: a reported write survives a power cut.

Write = temporary name in the same folder, fsync of the file, rename, fsync of the folder.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from realm.core.errors import Conflict, NoSpace

# Everything half-made carries the process that makes it: `.{name}.{pid}.{random}.{end}`.
_HALF_MADE = re.compile(r"^\..*\.(\d+)\.[0-9a-f]{8}\.(?:tmp|incoming|gone)$", re.DOTALL)
FLUSHED_APART = 2**26  # bytes of a file whose flush takes longer than a thread that does it meanwhile
_RENAME_NOREPLACE = 1
_AT_FDCWD = -100
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Translate a full disk into NoSpace."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"no space left to write {path.name}", hint=f"free space in {path.parent}") from error
        raise


def fsync_dir(folder: Path) -> None:
    """Flush a folder's entries to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_file(path: Path) -> None:
    """Flush a file that another library wrote."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _half_made(parent: Path, name: str, end: str) -> Path:
    return parent / f".{name}.{os.getpid()}.{os.urandom(4).hex()}.{end}"


def _temporary(path: Path) -> Path:
    return _half_made(path.parent, path.name, "tmp")


def spool_file(folder: Path) -> Path:
    """Return a new hidden name in `folder` for bytes that are not judged yet; `sweep_leftovers` knows whose it is."""
    return _half_made(folder, "spool", "tmp")


def write_bytes(path: Path, data: bytes, *, durable: bool = True, named: bool = True) -> None:
    """Replace `path` with `data` atomically; with `durable` also through a power cut. Raises NoSpace on a full disk.

    Without `named` the name is on the disk only after the next flush of the folder, which the caller is about to do.
    """
    temporary = _temporary(path)
    with disk_errors(path):
        try:
            with temporary.open("wb") as handle:
                handle.write(data)
                handle.flush()
                if durable:
                    os.fsync(handle.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if durable and named:
            fsync_dir(path.parent)


def write_stream(path: Path, blocks: Iterable[bytes]) -> None:
    """Replace `path` with a stream of blocks, durably; an error of the stream leaves nothing behind."""
    temporary = _temporary(path)
    with disk_errors(path):
        try:
            with temporary.open("wb") as handle:
                handle.writelines(blocks)
                handle.flush()
                os.fsync(handle.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        fsync_dir(path.parent)


def write_spool(path: Path, blocks: Iterable[bytes]) -> None:
    """Write a new hidden file whose bytes are on the disk; its name need not be, for a spool means nothing until moved."""
    with disk_errors(path):
        try:
            with path.open("xb") as handle:
                handle.writelines(blocks)
                handle.flush()
                os.fsync(handle.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def write_private(path: Path, text: str) -> None:
    """Replace `path` with text that only the owner may read (mode 0600 from its first byte), durably."""
    temporary = _temporary(path)
    with disk_errors(path):
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as handle:
                handle.write(text.encode())
                handle.flush()
                os.fsync(handle.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        fsync_dir(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace `path` with UTF-8 text, durably."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any, *, named: bool = True) -> None:
    """Replace `path` with indented JSON, durably; without `named` once the folder is flushed."""
    write_bytes(path, (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode(), named=named)


def write_json_fast(path: Path, value: Any) -> None:
    """Replace `path` with JSON atomically but without fsync; for status files that are projections."""
    write_bytes(path, json.dumps(value, ensure_ascii=False).encode(), durable=False)


def read_projection(path: Path) -> dict[str, Any] | None:
    """Return what `write_json_fast` wrote; None when it is missing, or torn by a power cut (its owner writes it anew)."""
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def rename_noreplace(source: Path, target: Path) -> None:
    """Rename and fail with Conflict when the target exists (renameat2 with RENAME_NOREPLACE, Linux)."""
    result = _libc.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE)
    if result == 0:
        return
    number = ctypes.get_errno()
    if number == errno.EEXIST:
        raise Conflict(f"{target.name} exists already in {target.parent.name}/")
    if number in (errno.EINVAL, errno.ENOSYS):
        # File systems without the flag (some network mounts): link + unlink has the same no-replace meaning for files.
        (_rename_folder if source.is_dir() else _link_noreplace)(source, target)
        return
    raise OSError(number, os.strerror(number), str(source), None, str(target))


def _rename_folder(source: Path, target: Path) -> None:
    if os.path.lexists(target):
        raise Conflict(f"{target.name} exists already in {target.parent.name}/")
    source.rename(target)  # which replaces nothing but an empty folder made in this very moment


def _link_noreplace(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileExistsError as error:
        raise Conflict(f"{target.name} exists already in {target.parent.name}/") from error
    source.unlink()


def move(source: Path, target: Path, *, spool: bool = False) -> None:
    """Move a file between folders of one file system, durably and never over another file.

    A `spool` may come back under its old name after a power cut: it means nothing there, and `sweep_leftovers` removes it.
    """
    rename_noreplace(source, target)
    fsync_dir(target.parent)
    if source.parent != target.parent and not spool:
        fsync_dir(source.parent)


@contextmanager
def flushing(folder: Path) -> Iterator[None]:
    """Flush the large files of a folder while the body works with them, `commit_dir` flushes the rest; raises NoSpace."""
    with disk_errors(folder), ThreadPoolExecutor(1, "flush") as apart:
        large = [path for path in sorted(folder.iterdir()) if path.stat().st_size >= FLUSHED_APART]
        flushed = [apart.submit(fsync_file, path) for path in large]
        yield
        for one in flushed:
            one.result()


def commit_dir(temporary: Path, final: Path) -> None:
    """Publish a folder: fsync every file in it, then the folder, then rename it to its final name."""
    with disk_errors(final):
        for path in sorted(temporary.rglob("*")):
            if path.is_file():
                fsync_file(path)
            elif path.is_dir():
                fsync_dir(path)
        fsync_dir(temporary)
        rename_noreplace(temporary, final)
        fsync_dir(final.parent)


def new_dir(parent: Path, name: str) -> Path:
    """Create a fresh hidden folder `.{name}.*.incoming` in which a result is assembled before `commit_dir`."""
    with disk_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        folder = _half_made(parent, name, "incoming")
        folder.mkdir()
    return folder


def remove_file(path: Path) -> None:
    """Remove a file that must exist, durably."""
    path.unlink()
    fsync_dir(path.parent)


def remove_tree(folder: Path) -> None:
    """Remove a folder: rename it out of sight first, so that a crash never leaves half of it under its name.

    A half-made one is out of sight already, and goes on a disk that fails too.
    """
    if _HALF_MADE.match(folder.name):
        shutil.rmtree(folder)
        return
    hidden = _half_made(folder.parent, folder.name, "gone")
    folder.rename(hidden)
    fsync_dir(folder.parent)
    shutil.rmtree(hidden)


def _lives(pid: int) -> bool:
    """Say whether another process with this id runs; our own earlier leftovers count as a dead one's."""
    return pid != os.getpid() and Path(f"/proc/{pid}").exists()


def sweep_leftovers(parent: Path) -> list[str]:
    """Remove what processes that died left half-made directly in `parent`; returns the names.

    What a living process is making stays: an upload goes on while the arena starts again.
    """
    removed = []
    for path in parent.iterdir() if parent.is_dir() else ():
        made = _HALF_MADE.match(path.name)
        if not made or _lives(int(made[1])):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        removed.append(path.name)
    return removed


def untaken(path: Path) -> Path:
    """Return `path`, or where something has that name already the first of `path-2`, `path-3` ... that is free."""
    found, number = path, 1
    while os.path.lexists(found):
        number += 1
        found = path.with_name(f"{path.name}-{number}")
    return found


def open_new(path: Path) -> IO[bytes]:
    """Open a file that must not exist yet for writing in blocks; the caller publishes it by `move`."""
    return path.open("xb")


def open_part(path: Path) -> IO[bytes]:
    """Open a file that is filled over several runs, for reading and writing; it is made when it is missing."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    return os.fdopen(handle, "r+b", buffering=0)


def open_append(path: Path) -> IO[str]:
    """Open a text file for appending lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a", encoding="utf-8")


class Slot:
    """A small text rewritten in place: cheap enough for every step, there after the death of a process, not after a power cut."""

    def __init__(self, path: Path, size: int = 256) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._size = size

    def write(self, text: str) -> None:
        """Replace the text; what is longer than the slot is cut."""
        os.pwrite(self._descriptor, text.encode()[: self._size - 1].ljust(self._size - 1) + b"\n", 0)

    def close(self) -> None:
        os.close(self._descriptor)


def write_at(path: Path, offset: int, block: bytes) -> None:
    """Write a block at `offset` of an existing file and end the file there; whoever needs it durable calls `fsync_file`."""
    with disk_errors(path), path.open("r+b") as handle:
        handle.truncate(offset)
        handle.seek(offset)
        handle.write(block)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file for a short piece of work, against other processes and threads; the kernel frees it at death."""
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def open_lock(path: Path, *, shared: bool) -> IO[str]:
    """Lock a file, shared or alone, without waiting, until what is returned is closed; raises BlockingIOError when held."""
    handle = path.open("a")
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BaseException:
        handle.close()
        raise
    return handle


def copy_file(source: Path, target: Path) -> None:
    """Copy a file to a new name, durably."""
    temporary = _temporary(target)
    with disk_errors(target):
        try:
            shutil.copyfile(source, temporary)
            fsync_file(temporary)
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        fsync_dir(target.parent)


def share_file(source: Path, target: Path) -> None:
    """Make `target` a hard link to `source`, which holds the same bytes; atomic and durable, readable by all, written by none.

    Nothing here writes in a file that has its name: a name is given to other bytes by a rename, and the link stays whole.
    Raises OSError where the file system has no hard links or no more of them.
    """
    temporary = _temporary(target)
    os.chmod(source, source.stat().st_mode & ~0o222)
    os.link(source, temporary)
    try:
        temporary.replace(target)
    finally:
        # rename(2) does nothing when both names are one file already
        temporary.unlink(missing_ok=True)
    fsync_dir(target.parent)


def touch(path: Path) -> None:
    """Create an empty flag file durably."""
    write_bytes(path, b"")
