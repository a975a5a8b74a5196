"""Durable writes: atomic, never over another file, nothing left behind, and leftovers belong to a process."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from quest_files import leftovers

from realm.core import durable
from realm.core.errors import Conflict, NoSpace
from realm.core.paths import Paths


def test_write_json_replaces_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for value in ({"a": 1}, ["ü", None], {}):
        durable.write_json(path, value)
        assert json.loads(path.read_text()) == value
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_keeps_the_old_file(tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    durable.write_json(path, 1)

    def full(_: int) -> None:
        raise OSError(number, os.strerror(number))

    def blocks() -> Iterator[bytes]:
        yield b"x"

    monkeypatch.setattr(os, "fsync", full)
    for act in (lambda: durable.write_json(path, 2), lambda: durable.write_stream(path, blocks()),
                lambda: durable.copy_file(Path(__file__), path)):  # fmt: skip
        with pytest.raises(NoSpace, match="no space left"):
            act()
    assert path.read_text() == "1\n"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_another_error_is_not_called_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        durable.write_json(tmp_path / "x", 1)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_stream_leaves_nothing(tmp_path: Path) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"x" * 100_000
        raise ValueError("bad row")

    for write in (durable.write_stream, durable.write_spool):
        with pytest.raises(ValueError, match="bad row"):
            write(tmp_path / "x", blocks())
    assert list(tmp_path.iterdir()) == []


class Recorder:
    """Notes the order of the calls that make a write survive a power cut."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        fsync, replace, rename = os.fsync, Path.replace, durable.rename_noreplace

        def noted_fsync(descriptor: int) -> None:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
            self.calls.append(f"fsync {'folder' if os.path.isdir(target) else 'file'}")
            fsync(descriptor)

        def noted_replace(path: Path, target: Any) -> Path:
            self.calls.append("rename")
            return replace(path, target)

        def noted_rename(source: Path, target: Path) -> None:
            self.calls.append("rename")
            rename(source, target)

        monkeypatch.setattr(os, "fsync", noted_fsync)
        monkeypatch.setattr(Path, "replace", noted_replace)
        monkeypatch.setattr(durable, "rename_noreplace", noted_rename)


def test_file_before_rename_before_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    durable.write_json(tmp_path / "x", 1)
    assert recorder.calls == ["fsync file", "rename", "fsync folder"]
    recorder.calls.clear()
    durable.write_stream(tmp_path / "x", [b"1"])
    assert recorder.calls == ["fsync file", "rename", "fsync folder"]
    recorder.calls.clear()
    durable.write_json_fast(tmp_path / "y", 1)
    assert recorder.calls == ["rename"]


def test_a_spool_and_what_lies_beside_it_share_one_flush_of_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "board").mkdir()
    (tmp_path / "spool").write_text("rows")
    recorder = Recorder(monkeypatch)
    durable.write_json(tmp_path / "board" / "x.meta.json", 1, named=False)
    durable.move(tmp_path / "spool", tmp_path / "board" / "x", spool=True)
    assert recorder.calls == ["fsync file", "rename", "rename", "fsync folder"]
    recorder.calls.clear()
    durable.move(tmp_path / "board" / "x", tmp_path / "x")
    assert recorder.calls == ["rename", "fsync folder", "fsync folder"]


def test_a_folder_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = durable.new_dir(tmp_path, "thing")
    (folder / "sub").mkdir()
    (folder / "a").write_text("1")
    (folder / "sub" / "b").write_text("2")
    recorder = Recorder(monkeypatch)
    durable.commit_dir(folder, tmp_path / "thing")
    at = recorder.calls.index("rename")
    assert recorder.calls[:at].count("fsync file") == 2
    assert recorder.calls[:at].count("fsync folder") == 2
    assert recorder.calls[at + 1 :] == ["fsync folder"]
    assert (tmp_path / "thing" / "sub" / "b").read_text() == "2"


def test_large_files_are_flushed_beside_other_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "FLUSHED_APART", 10)
    (tmp_path / "large").write_bytes(b"x" * 10)
    (tmp_path / "small").write_bytes(b"x" * 9)
    begun, worked = threading.Event(), threading.Event()
    seen: list[str] = []

    def flush(path: Path) -> None:
        begun.set()
        assert worked.wait(30)
        seen.append(path.name)

    monkeypatch.setattr(durable, "fsync_file", flush)
    with durable.flushing(tmp_path):
        assert begun.wait(30)
        worked.set()
    assert seen == ["large"]


def test_a_flush_that_fails_apart_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "FLUSHED_APART", 1)
    (tmp_path / "large").write_bytes(b"x")

    def refuse(path: Path) -> None:
        raise OSError(errno.ENOSPC, "full", str(path))

    monkeypatch.setattr(durable, "fsync_file", refuse)
    with pytest.raises(NoSpace), durable.flushing(tmp_path):
        pass


def test_nothing_is_renamed_over_another_thing(tmp_path: Path) -> None:
    for kind in ("file", "folder"):
        source, target = tmp_path / f"{kind}1", tmp_path / f"{kind}2"
        for path in (source, target):
            path.write_text(path.name) if kind == "file" else path.mkdir()
        with pytest.raises(Conflict, match="exists already"):
            durable.move(source, target)
        assert source.exists()
    assert (tmp_path / "file2").read_text() == "file2"
    with pytest.raises(FileNotFoundError):
        durable.move(tmp_path / "nothing", tmp_path / "somewhere")


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS])
def test_without_the_kernels_flag_files_still_never_replace(tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Libc:
        @staticmethod
        def renameat2(*_: Any) -> int:
            import ctypes

            ctypes.set_errno(number)
            return -1

    monkeypatch.setattr(durable, "_libc", Libc)
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    with pytest.raises(Conflict):
        durable.rename_noreplace(tmp_path / "a", tmp_path / "b")
    durable.rename_noreplace(tmp_path / "a", tmp_path / "c")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "c"]


def test_a_removed_tree_is_out_of_sight_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "checkpoint"
    (folder / "deep").mkdir(parents=True)

    def die(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(durable.shutil, "rmtree", die)
        with pytest.raises(KeyboardInterrupt):
            durable.remove_tree(folder)
    assert not folder.exists()
    assert len(durable.sweep_leftovers(tmp_path)) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_dead_processs_leftovers_go_and_a_living_ones_stay(empty_home: Paths) -> None:
    code = """
import sys
from pathlib import Path
from realm.core import durable
folder = Path(sys.argv[1])
durable.spool_file(folder).write_bytes(b"half")
durable.new_dir(folder, "checkpoint-1")
print(1, flush=True)
sys.stdin.read()
"""
    child = subprocess.Popen([sys.executable, "-c", code, str(empty_home.inbox)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    assert durable.sweep_leftovers(empty_home.inbox) == []
    assert len(leftovers(empty_home)) == 2
    child.kill()
    child.communicate()
    assert len(durable.sweep_leftovers(empty_home.inbox)) == 2
    assert leftovers(empty_home) == []


@pytest.mark.parametrize("name", [".x.tmp", "x.1.0123abcd.tmp", ".x.1.0123abcd.tmp.jsonl", ".x.1.0123ABCD.tmp", "notes"])
def test_other_peoples_files_are_no_leftovers(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    assert durable.sweep_leftovers(tmp_path) == []
    assert (tmp_path / name).exists()


def test_a_link_named_like_a_leftover_is_unlinked_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "x").write_text("1")
    (tmp_path / ".y.999999999.0123abcd.gone").symlink_to(tmp_path / "precious")
    durable.sweep_leftovers(tmp_path)
    assert (tmp_path / "precious" / "x").exists()
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[1]", b"3"])
def test_a_torn_projection_is_none(tmp_path: Path, data: bytes) -> None:
    assert durable.read_projection(tmp_path / "x") is None
    (tmp_path / "x").write_bytes(data)
    assert durable.read_projection(tmp_path / "x") is None
    durable.write_json_fast(tmp_path / "x", {"a": 1})
    assert durable.read_projection(tmp_path / "x") == {"a": 1}


def test_a_new_file_is_new(tmp_path: Path) -> None:
    durable.open_new(tmp_path / "x").close()
    with pytest.raises(FileExistsError):
        durable.open_new(tmp_path / "x")
