"""Whatever lands in the inbox ends in exactly one state with a reason, and nothing that was dropped is lost on the way."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from board_kit import YARDSTICK, Kit, make_kit
from quest_files import as_bytes, board_files, configure, leftovers, row, rows

from realm.arena.quests import board, intake
from realm.arena.quests.quest import Quest, sidecar_of
from realm.arena.quests.validation import RowError
from realm.core import durable
from realm.core.errors import NoSpace
from realm.core.ids import sha256_bytes
from realm.core.paths import Paths
from realm.guild.skills.split import split_of

GOOD = as_bytes(rows(4))
EVAL_KEY = next(key for key in map(str, range(1000)) if split_of("bin", 1, key) == "eval")


@pytest.fixture
def kit(empty_home: Paths) -> Iterator[Kit]:
    made = make_kit(empty_home)
    yield made
    made.facts.close()


def only(kit: Kit) -> Quest:
    taken = kit.take_in()
    assert len(taken) == 1
    assert [quest.id for quest in kit.quests()] == [taken[0].id]
    return taken[0]


def test_a_good_file_is_taken_once(kit: Kit) -> None:
    path = kit.drop("my data.jsonl", GOOD)
    quest = only(kit)
    assert (quest.state, quest.priority, quest.rows, quest.name) == ("queued", "normal", 4, "my data.jsonl")
    assert quest.sha256 == sha256_bytes(GOOD)
    assert (kit.paths.queue("normal") / quest.file).read_bytes() == GOOD
    assert not path.exists()
    assert kit.take_in() == []
    assert leftovers(kit.paths) == []
    assert kit.events() == ["queue.added"]


REFUSED = {
    "empty": (b"", "empty"),
    "not JSON": (b"hello\n", "row 1: not JSON"),
    "wrong role": (as_bytes([{"messages": [{"role": "robot", "content": "x"}]}]), "row 1: unknown role"),
    "no assistant": (as_bytes([{"messages": [{"role": "user", "content": "x"}]}]), "row 1: no assistant"),
    "invalid UTF-8": (GOOD + b"\xff\xfe\n", "row 5: not UTF-8"),
    "lone surrogates": (b'{"messages":[{"role":"assistant","content":"\\ud83d"}]}\n', "row 1: message 1 holds a lone surrogate"),
    "surrogate in metadata": (GOOD[:-2] + b',"metadata":{"skill":"bin","level":1,"key":"\\ud83d"}}\n', "row 4: metadata"),
    "deep": (b"[" * 200_000 + b"\n", "row 1: nested too deeply"),
    "huge number": (b'{"x":' + b"1" * 9999 + b"}\n", "row 1: not JSON that can be read"),
    "one line of 3 MB": (b'{"messages":"' + b"x" * 3_000_000 + b'"}\n', "row 1: longer than"),
    "too long for the hero": (as_bytes([{"messages": [{"role": "assistant", "content": "x" * 501}]}]),
                              "501 tokens, over max_length 500"),
    "eval row": (as_bytes([row(1, skill="bin", level=1, key=EVAL_KEY)]), "row 1: its problem belongs to the eval set"),
    "NUL bytes": (b"\0" * 1000, "row 1: not JSON"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_file_is_set_aside_with_the_reason(kit: Kit, name: str) -> None:
    data, reason = REFUSED[name]
    kit.drop("bad.jsonl", data)
    kit.drop("good.jsonl", GOOD)
    states = {quest.name: quest for quest in kit.take_in()}
    assert states["good.jsonl"].state == "queued"
    bad = states["bad.jsonl"]
    assert bad.state == "rejected"
    assert reason in bad.reason
    assert (kit.paths.queue("failed") / bad.file).read_bytes() == data
    told = json.loads(sidecar_of(kit.paths.queue("failed") / bad.file).read_text())
    assert (told["validation_passed"], told["validation_errors"]) == (False, [bad.reason])
    assert os.listdir(kit.paths.inbox) == []
    assert leftovers(kit.paths) == []


def test_another_ending_is_refused(kit: Kit) -> None:
    kit.drop("notes.txt", b"hello")
    assert "training files are .jsonl" in only(kit).reason


def test_a_file_that_grows_is_not_taken(kit: Kit) -> None:
    path = kit.drop("growing.jsonl", GOOD)
    for _ in range(5):
        assert kit.sweep() == []
        kit.clock.advance(1.9)
        path.write_bytes(path.read_bytes() + GOOD)
    assert kit.sweep() == []
    kit.clock.advance(2.0)
    assert [quest.rows for quest in kit.take_in()] == [24]


def test_a_file_that_a_writer_holds_open_is_not_taken(kit: Kit) -> None:
    path = kit.drop("half.jsonl", GOOD[:-20])
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys; f = open(sys.argv[1], 'ab'); print(1, flush=True); sys.stdin.read()", str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None
    holder.stdout.readline()
    try:
        assert kit.take_in() == []
        kit.clock.advance(100)
        assert kit.take_in() == []
        assert path.exists()
    finally:
        holder.communicate(b"")
    path.write_bytes(GOOD)
    assert only(kit).state == "queued"


def test_a_writer_that_comes_during_the_look_does_not_kill_us(tmp_path: Path) -> None:
    """The kernel breaks a lease by a signal; its default, SIGIO, would end the process."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(GOOD)
    code = """
import fcntl, os, subprocess, sys, time
from realm.arena.quests import intake
real = fcntl.fcntl
def slow(descriptor, command, *more):
    if command == fcntl.F_SETLEASE and more == (fcntl.F_UNLCK,):
        subprocess.run([sys.executable, "-c",
            "import os,sys\\ntry: os.open(sys.argv[1], os.O_WRONLY|os.O_NONBLOCK)\\nexcept OSError: pass", sys.argv[1]])
        time.sleep(0.05)
    return real(descriptor, command, *more)
fcntl.fcntl = slow
descriptor = os.open(sys.argv[1], os.O_RDONLY)
print(intake.being_written(descriptor))
"""
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


def test_a_file_written_on_while_it_is_read_waits_and_is_taken_once(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kit.drop("late.jsonl", GOOD)
    real = intake._spool

    def spool(*args: Any) -> Any:
        found = real(*args)
        path.write_bytes(GOOD + GOOD)
        return found

    monkeypatch.setattr(intake, "_spool", spool)
    assert kit.take_in() == []
    monkeypatch.setattr(intake, "_spool", real)
    assert only(kit).rows == 8


def test_a_torn_row_of_a_file_still_written_is_not_refused(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kit.drop("torn.jsonl", GOOD[:-20])
    real = intake._spool

    def spool(*args: Any) -> Any:
        try:
            return real(*args)
        finally:
            path.write_bytes(GOOD)

    monkeypatch.setattr(intake, "_spool", spool)
    assert kit.take_in() == []
    assert kit.quests() == []


@pytest.mark.parametrize("kind", ["symlink", "broken symlink", "hard link", "fifo", "socket"])
def test_what_is_not_a_plain_file_is_refused_untouched(kit: Kit, tmp_path: Path, kind: str) -> None:
    outside, path = tmp_path / "outside.jsonl", kit.paths.inbox / "trap.jsonl"
    outside.write_bytes(GOOD)
    keep = None
    if kind == "symlink":
        path.symlink_to(outside)
    elif kind == "broken symlink":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "hard link":
        path.hardlink_to(outside)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        keep = socket.socket(socket.AF_UNIX)
        here = os.getcwd()
        os.chdir(path.parent)
        try:
            keep.bind(path.name)
        finally:
            os.chdir(here)
    quest = only(kit)
    assert quest.state == "rejected"
    assert quest.reason
    assert outside.read_bytes() == GOOD
    assert not os.path.lexists(path)
    with pytest.raises((RowError, board.Missing)) if kind != "hard link" else pytest.raises(AssertionError):
        shown = list(board.read_rows(kit.paths, quest))
        assert shown == []
    if keep is not None:
        keep.close()


def test_a_folder_tree_is_walked_without_following_links(kit: Kit, tmp_path: Path) -> None:
    kit.drop("a/b/one.jsonl", GOOD)
    kit.drop("high/two.jsonl", as_bytes(rows(2, 50)))
    kit.drop("a/low/three.jsonl", as_bytes(rows(2, 70)))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "four.jsonl").write_bytes(GOOD)
    (kit.paths.inbox / "link").symlink_to(tmp_path / "elsewhere")
    taken = {quest.name: (quest.state, quest.priority) for quest in kit.take_in()}
    assert taken == {"one.jsonl": ("queued", "normal"), "two.jsonl": ("queued", "high"),
                     "three.jsonl": ("queued", "low"), "link": ("rejected", "normal")}  # fmt: skip
    assert (tmp_path / "elsewhere" / "four.jsonl").exists()


def test_a_tree_deeper_than_the_stack_and_a_folder_that_cannot_be_read(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    deep, here = kit.paths.inbox, os.getcwd()
    try:
        os.chdir(deep)
        for _ in range(1500):
            os.mkdir("d")
            os.chdir("d")
        Path("deep.jsonl").write_bytes(GOOD)
        for _ in range(2000):  # beyond the longest path the kernel takes
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)
    kit.drop("closed/x.jsonl", GOOD)
    kit.drop("plain.jsonl", as_bytes(rows(3, 90)))
    real = os.scandir

    def scandir(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert sorted(quest.name for quest in kit.take_in()) == ["deep.jsonl", "plain.jsonl"]
    subprocess.run(["rm", "-rf", str(deep / "d")], check=True)


ODD = [b"new\nline.jsonl", "ünï①.jsonl".encode(), b"-rf.jsonl", b"\xff\xfe.jsonl", b"a" * 249 + b".jsonl", b"..x.y.jsonl"[2:],
       b"quote'\".jsonl", b"\x1b[31mred.jsonl", b" .jsonl", b"%2e%2e%2f.jsonl", b"CON.jsonl"]  # fmt: skip


@pytest.mark.parametrize("name", ODD, ids=lambda name: repr(name[:12]))
def test_odd_names_are_taken(kit: Kit, name: bytes) -> None:
    path = os.path.join(os.fsencode(kit.paths.inbox), name)
    with open(path, "wb") as handle:
        handle.write(GOOD)
    assert intake.waiting(kit.paths) == [intake.shown(os.fsdecode(name))]
    quest = only(kit)
    assert quest.state == "queued"
    quest.name.encode()
    assert len(quest.file) < 160
    assert set(board_files(kit.paths).values()) == {"normal"}
    assert not os.path.lexists(path)


@pytest.mark.parametrize("name", ["a.jsonl.part", "b.jsonl.tmp", ".hidden.jsonl", "c.jsonl~", "d.crdownload"])
def test_unfinished_downloads_are_left_alone(kit: Kit, name: str) -> None:
    path = kit.drop(name, GOOD)
    assert kit.take_in() == []
    assert path.exists()


def test_the_same_name_twice_gives_two_quests(kit: Kit) -> None:
    kit.drop("x.jsonl", GOOD)
    first = only(kit)
    kit.drop("x.jsonl", as_bytes(rows(9, 100)))
    second = kit.take_in()[0]
    assert first.id != second.id
    assert [quest.rows for quest in kit.quests()] == [4, 9]
    assert len(board_files(kit.paths)) == 2


def test_the_same_bytes_twice_give_two_quests_even_with_the_same_inode_and_time(kit: Kit) -> None:
    when = (1_700_000_000_000_000_000, 1_700_000_000_000_000_000)
    for _ in range(3):
        path = kit.drop("x.jsonl", GOOD)
        os.utime(path, ns=when)
        assert [quest.state for quest in kit.take_in()] == ["queued"]
    assert len(kit.quests()) == 3


def test_a_crash_between_recording_and_removing_does_not_take_it_twice(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kit.drop("x.jsonl", GOOD)
    with monkeypatch.context() as patch:
        patch.setattr(intake, "_remove_taken", _crash)
        with pytest.raises(KeyboardInterrupt):
            kit.take_in()
    assert path.exists()
    kit.settling.seen.clear()
    assert kit.take_in() == []
    assert not path.exists()
    assert len(kit.quests()) == 1


def _crash(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_the_original_stays_until_the_copy_is_recorded(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kit.drop("x.jsonl", GOOD)
    for name in ("write_spool", "write_json", "move"):
        with monkeypatch.context() as patch:
            patch.setattr(durable, name, _crash)
            with pytest.raises(KeyboardInterrupt):
                kit.take_in()
        assert path.read_bytes() == GOOD
    with monkeypatch.context() as patch:
        patch.setattr(board.events, "append", _crash)
        with pytest.raises(KeyboardInterrupt):
            kit.take_in()
    assert path.read_bytes() == GOOD
    assert board_files(kit.paths) == {}
    assert only(kit).state == "queued"


def test_a_full_disk_leaves_the_file_in_the_inbox(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kit.drop("x.jsonl", GOOD)
    real = os.fsync

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoSpace):
        kit.take_in()
    monkeypatch.setattr(os, "fsync", real)
    assert path.exists()
    assert leftovers(kit.paths) == []
    assert only(kit).state == "queued"


def test_two_sweepers_take_a_file_once(kit: Kit) -> None:
    kit.drop("x.jsonl", GOOD)
    other = make_kit(kit.paths)
    real = board.place
    calls: list[list[Quest]] = []

    def place(*args: Any, **more: Any) -> str:
        if not calls:
            calls.append([])
            calls[0] = other.take_in()
        return real(*args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(board, "place", place)
        mine = kit.take_in()
    assert len(mine) + len(calls[0]) == 1
    assert len(kit.quests()) == 1
    assert len(board_files(kit.paths)) == 1
    other.facts.close()


SIDECARS = {
    "good": (b'{"generator_id": "me", "generator_version": 2, "params": {"a": 1}}', "queued"),
    "empty object": (b"{}", "queued"),
    "broken": (b"{oops", "rejected"),
    "a list": (b"[]", "rejected"),
    "huge": (b'{"x": "' + b"y" * 70_000 + b'"}', "rejected"),
    "deep": (b"[" * 60_000, "rejected"),
    "not UTF-8": (b'{"generator_id": "\xff"}', "rejected"),
    "lone surrogate": (b'{"generator_id": "\\ud800"}', "rejected"),
    "surrogate in params": (b'{"params": {"a": "\\udfff"}}', "rejected"),
    "odd types": (b'{"generator_id": {"a": []}, "generated_at": 5, "params": [1]}', "queued"),
}


@pytest.mark.parametrize("name", SIDECARS)
def test_a_sidecar_beside_the_file(kit: Kit, name: str) -> None:
    data, state = SIDECARS[name]
    kit.drop("x.jsonl", GOOD)
    kit.drop("x.jsonl.meta.json", data)
    quest = only(kit)
    assert quest.state == state
    assert os.listdir(kit.paths.inbox) == []
    if name == "good":
        told = json.loads(sidecar_of(kit.paths.queue("normal") / quest.file).read_text())
        assert (told["generator_id"], told["params"]) == ("me", {"a": 1})
    if state == "rejected":
        assert "sidecar" in quest.reason
        kept = list(kit.paths.queue("failed").glob("*.dropped.meta.json"))
        assert [path.read_bytes() for path in kept] == [data]


def test_a_refused_file_keeps_the_name_of_its_generator(kit: Kit) -> None:
    kit.drop("x.jsonl", b"bad\n")
    kit.drop("x.jsonl.meta.json", SIDECARS["good"][0])
    told = json.loads(sidecar_of(kit.paths.queue("failed") / only(kit).file).read_text())
    assert told["generator_id"] == "me"


@pytest.mark.parametrize("kind", ["symlink", "folder", "fifo"])
def test_a_sidecar_that_is_no_file(kit: Kit, tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"generator_id": "stolen"}')
    kit.drop("x.jsonl", GOOD)
    beside = kit.paths.inbox / "x.jsonl.meta.json"
    if kind == "symlink":
        beside.symlink_to(secret)
    elif kind == "folder":
        beside.mkdir()
    else:
        os.mkfifo(beside)
    quest = only(kit)
    assert quest.state == ("queued" if kind == "folder" else "rejected")
    assert secret.read_text() == '{"generator_id": "stolen"}'
    assert quest.generator is None


def test_a_file_that_vanishes_during_the_look(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kit.drop("x.jsonl", b"bad")
    kit.drop("y.jsonl", GOOD)
    real = intake._accept

    def accept(*args: Any) -> Any:
        path.unlink(missing_ok=True)
        return real(*args)

    monkeypatch.setattr(intake, "_accept", accept)
    assert [quest.name for quest in kit.take_in()] == ["y.jsonl"]


def test_too_many_open_files_is_not_the_files_fault(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    kit.drop("x.jsonl", GOOD)
    real = os.open

    def refuse(path: Any, *args: Any, **more: Any) -> int:
        if str(path).endswith("x.jsonl"):
            raise OSError(errno.EMFILE, "Too many open files")
        return real(path, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        assert kit.take_in() == []
    assert only(kit).state == "queued"


def test_a_file_that_cannot_be_read_is_refused_and_the_next_one_taken(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    kit.drop("a.jsonl", GOOD)
    kit.drop("b.jsonl", GOOD)
    real = intake._open_complete

    class Broken:
        def __init__(self, handle: Any) -> None:
            self._handle = handle

        def readline(self, _: int) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

        def __getattr__(self, name: str) -> Any:
            return getattr(self._handle, name)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: Any) -> None:
            self._handle.close()

    monkeypatch.setattr(intake, "_open_complete", lambda p: Broken(real(p)) if p.name == "a.jsonl" else real(p))
    states = {quest.name: (quest.state, quest.reason) for quest in kit.take_in()}
    assert states == {"a.jsonl": ("rejected", "it cannot be read: Input/output error"), "b.jsonl": ("queued", "")}


def test_memory_is_bounded_for_one_line_and_for_many_rows(home: Paths) -> None:
    """A child with a real yardstick takes in 60 MB of nasty files; what it needs on top of its start is measured."""
    configure(home)
    big = json.dumps({"messages": [{"role": "user", "content": "x y " * 250_000}, {"role": "assistant", "content": "y"}]})
    (home.inbox / "fat_rows.jsonl").write_text((big[:1_000_000] + '"}]}\n') * 10)
    (home.inbox / "one_line.jsonl").write_bytes(b"x" * 30_000_000)
    (home.inbox / "fat_row.jsonl").write_text(json.dumps(
        {"messages": [{"role": "user", "content": "é①" * 200_000}, {"role": "assistant", "content": "y"}]}))  # fmt: skip
    (home.inbox / "many.jsonl").write_bytes(as_bytes(rows(30_000)))
    code = """
import resource, sys
from pathlib import Path
from realm.arena.quests import intake
from realm.core.clock import FakeClock
from realm.core.paths import Paths
from realm.core.store import open_facts
paths = Paths(Path(sys.argv[1])); facts = open_facts(paths); clock = FakeClock(); by = intake.yardstick_of(paths)
by.measure([[{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
intake.sweep(paths, facts, clock=clock); clock.advance(3)
print(len(intake.sweep(paths, facts, clock=clock)), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", code, str(home.home)], capture_output=True, text=True, check=True)
    taken, megabytes = map(int, done.stdout.split())
    assert taken == 4
    assert megabytes < 64


def test_no_descriptor_stays_open(kit: Kit) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for number in range(30):
        kit.drop(f"{number}.jsonl", GOOD if number % 3 else b"bad")
    os.mkfifo(kit.paths.inbox / "pipe.jsonl")
    assert len(kit.take_in()) == 31
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_upload_is_judged_the_same(kit: Kit, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.write_bytes(b"")
    with pytest.raises(intake.Refusal, match="empty"):
        intake.accept_spool(kit.paths, kit.facts, spool, name="x.jsonl", priority="normal", yardstick=YARDSTICK)
    with pytest.raises(intake.Refusal, match=r"\.jsonl"):
        intake.accept_spool(kit.paths, kit.facts, spool, name="../x", priority="normal", yardstick=YARDSTICK)
    spool.write_bytes(GOOD + b"bad\n")
    with pytest.raises(RowError, match="row 5"):
        intake.accept_spool(kit.paths, kit.facts, spool, name="x.jsonl", priority="normal", yardstick=YARDSTICK)
    assert leftovers(kit.paths) == []
    assert kit.quests() == []
