"""The journal holds every committed row: replayed into an empty database it gives the same rows, whatever was cut short."""

from __future__ import annotations

import gzip
import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.core import changes, durable, events, journal, migrations, store
from realm.core.errors import Corrupt
from realm.core.journal import Journal
from realm.core.journal_lines import read_line, write_line
from realm.core.journal_replay import replay
from realm.core.paths import Paths
from realm.core.store import open_facts, open_facts_file, read_facts, settle_journal, transaction


def dump(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    return [(table, *row.values()) for table, _, row in changes.all_rows(connection)]


def dump_of(paths: Paths) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(paths.facts_db)) as connection:
        connection.row_factory = sqlite3.Row
        return dump(connection)


def replayed(paths: Paths, tmp: Path) -> tuple[list[tuple[Any, ...]], list[str]]:
    target = tmp / f"replayed-{random.getrandbits(40)}.db"
    with closing(open_facts_file(target)) as connection:
        told = replay(paths.journal, connection)
        return dump(connection), told.damage


def put(facts: sqlite3.Connection, key: str, value: object) -> None:
    with transaction(facts):
        facts.execute("INSERT OR REPLACE INTO facts(key, value) VALUES (?, ?)", (key, value))


def test_a_commit_is_in_the_journal_when_it_returns(empty_home: Paths, tmp_path: Path) -> None:
    with closing(open_facts(empty_home)) as facts:
        put(facts, "a", "1")
        with transaction(facts):
            events.append(facts, "queue.empty", step=7, data={"text": "é\n\x00 \U0001f9d9"})
            facts.execute("INSERT INTO champions(at, checkpoint, step, metric, value, reason) VALUES ('', 'c', 1, 'm', ?, '')",
                          (0.1 + 0.2,))  # fmt: skip
        with pytest.raises(sqlite3.IntegrityError), transaction(facts):
            facts.execute("INSERT INTO facts SELECT 'b', '2' UNION ALL SELECT 'c', NULL")
        assert replayed(empty_home, tmp_path) == (dump(facts), [])
        put(facts, "a", b"\x00\xff")
        with transaction(facts):
            facts.execute("UPDATE facts SET key = 'b' WHERE key = 'a'")
            facts.execute("DELETE FROM events")
        assert replayed(empty_home, tmp_path) == (dump(facts), [])
        assert ("facts", "b", b"\x00\xff") in dump(facts)


def test_a_row_that_replace_pushes_out_is_gone_in_the_journal_too(empty_home: Paths, tmp_path: Path) -> None:
    insert = ("INSERT OR REPLACE INTO quests(id, name, file, sha256, size, state, priority, arrived_at, changed_at, arrival)"
              " VALUES (?, '', '', '', 0, 'queued', 'normal', '', '', 'same')")  # fmt: skip
    with closing(open_facts(empty_home)) as facts:
        for quest in ("q1", "q2"):
            with transaction(facts):
                facts.execute(insert, (quest,))
        assert [row[1] for row in dump(facts)] == ["q2"]
        assert replayed(empty_home, tmp_path) == (dump(facts), [])


STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "event", "delete", "reopen", "settle", "torn", "unseen", "restore", "copy"]),
              st.integers(0, 5), st.one_of(st.text(max_size=20), st.floats(allow_nan=False), st.integers(-(2**62), 2**62))),
    max_size=25,
)  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(STEPS)
def test_any_history_is_replayed(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, Any]]) -> None:
    """Commits seen and unseen, torn lines, copies of the database put back: after the next start the journal agrees."""
    tmp = tmp_path_factory.mktemp("history")
    paths = Paths(tmp / "home").ensure()
    facts, copy = open_facts(paths), None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "CAP", 600)
        for act, number, value in steps:
            if act in ("put", "unseen"):
                facts.journal = None if act == "unseen" else Journal(paths.journal)  # type: ignore[attr-defined]
                put(facts, f"k{number}", value)
            elif act == "event":
                with transaction(facts):
                    events.append(facts, "queue.low", step=number, data={"value": value})
            elif act == "delete":
                with transaction(facts):
                    facts.execute("DELETE FROM facts WHERE key = ?", (f"k{number}",))
            elif act == "settle":
                settle_journal(paths)
            elif act == "torn" and (paths.journal / journal.OPEN).exists():
                path = paths.journal / journal.OPEN
                path.write_bytes(path.read_bytes()[: -1 - number * 7] if number else path.read_bytes() + b'{"n": 9, "t')
            elif act == "copy":
                facts.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                copy = paths.facts_db.read_bytes()
            elif act in ("reopen", "restore"):
                facts.close()
                if act == "restore" and copy is not None:
                    paths.facts_db.write_bytes(copy)
                facts = open_facts(paths)
        facts.close()
        open_facts(paths).close()
        assert replayed(paths, tmp) == (dump_of(paths), [])


def test_a_database_from_before_the_journal_begins_with_all_its_rows(empty_home: Paths, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "FACTS", store.FACTS[: store.FACTS.index(migrations._facts_changes)])
        with closing(open_facts(empty_home)) as facts:
            put(facts, "old", "row")
    with closing(open_facts(empty_home)) as facts:
        put(facts, "new", "row")
        assert [path.name for path in empty_home.journal.glob("*.gz")] == ["0001.base.jsonl.gz"]
        assert replayed(empty_home, tmp_path) == (dump(facts), [])


@pytest.mark.parametrize("how", ["gone", "emptied"])
def test_a_lost_database_is_not_begun_anew_over_its_journal(empty_home: Paths, how: str) -> None:
    with closing(open_facts(empty_home)) as facts:
        put(facts, "a", "1")
    for path in empty_home.store.iterdir():
        path.unlink()
    if how == "emptied":
        empty_home.facts_db.touch()
    for opener in (open_facts, read_facts):
        with pytest.raises(Corrupt, match=r"journal/ tells") as told:
            opener(empty_home)
        assert "realm doctor --rebuild" in told.value.hint


def test_a_journal_that_cannot_be_written_stops_nothing(
    empty_home: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, offset: int, block: bytes) -> None:
        with path.open("r+b") as handle:
            handle.seek(offset)
            handle.write(block[: len(block) // 2])
        raise OSError(28, "No space left on device")

    with closing(open_facts(empty_home)) as facts:
        put(facts, "a", "1")
        with monkeypatch.context() as patch:
            patch.setattr(durable, "write_at", full)
            put(facts, "b", "2")
        lagging, damage = replayed(empty_home, tmp_path)
        assert lagging == [("facts", "a", "1")]
        assert damage == []
        put(facts, "c", "3")
        assert replayed(empty_home, tmp_path) == (dump(facts), [])


def test_a_damaged_byte_costs_its_line_and_is_told(empty_home: Paths, tmp_path: Path) -> None:
    with closing(open_facts(empty_home)) as facts:
        for number in range(50):
            put(facts, f"k{number:02}", "value")
    path = empty_home.journal / journal.OPEN
    lines = path.read_bytes().splitlines(keepends=True)
    lines[20] = lines[20].replace(b"value", b"velue")
    path.write_bytes(b"".join(lines))

    rows, damage = replayed(empty_home, tmp_path)

    assert len(rows) == 49
    assert damage == ["open.jsonl: 1 lines do not fit their checksum"]


def test_a_damaged_base_gives_way_to_the_generation_before(empty_home: Paths, tmp_path: Path) -> None:
    with closing(open_facts(empty_home)) as facts:
        put(facts, "a", "1")
        with transaction(facts):
            changes.begin_anew(facts)  # as a restored or rebuilt database does
        put(facts, "b", "2")
    base = empty_home.journal / "0002.base.jsonl.gz"
    data = bytearray(base.read_bytes())
    data[len(data) // 2] ^= 0x10
    base.write_bytes(data)

    rows, damage = replayed(empty_home, tmp_path)

    assert rows == [("facts", "a", "1"), ("facts", "b", "2")]
    assert damage
    assert all(line.startswith("0002.base.jsonl.gz") for line in damage)


def test_full_files_are_compressed_and_notes_forgotten(
    empty_home: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "CAP", 4000)
    with closing(open_facts(empty_home)) as facts:
        for number in range(200):
            put(facts, f"k{number % 7}", "v" * 50)
        settle_journal(empty_home)
        assert facts.execute("SELECT count(*) FROM changes").fetchone()[0] == 1
        put(facts, "after", "x")
        assert replayed(empty_home, tmp_path) == (dump(facts), [])
    closed = sorted(empty_home.journal.glob("*.gz"))
    assert len(closed) > 3
    assert (empty_home.journal / journal.OPEN).stat().st_size < 5000
    with gzip.open(closed[0]) as handle:
        assert all(read_line(line) for line in handle)


def test_lines() -> None:
    line = write_line({"a": 'text", "c": "00000000"}', "b": [1, None, b"\x01"]})
    assert read_line(line) == {"a": 'text", "c": "00000000"}', "b": [1, None, {"hex": "01"}]}
    assert read_line(line[:-3]) is None
    assert read_line(b"") is None
    assert read_line(b"[1]\n") is None


WRITER = """
import sys
from pathlib import Path
from realm.core import events
from realm.core.errors import Unavailable
from realm.core.paths import Paths
from realm.core.store import open_facts, transaction
facts = open_facts(Paths(Path(sys.argv[1])))
print("ready", flush=True)
for number in range(10**9):
    try:
        with transaction(facts):
            events.append(facts, "queue.low", step=number, data={"by": sys.argv[2]})
            facts.execute("INSERT OR REPLACE INTO facts(key, value) VALUES (?, ?)", (f"{sys.argv[2]}{number % 9}", str(number)))
    except Unavailable:
        continue  # a loaded machine: the other one held the database for too long
    if number % 40 == 0:
        print(number, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_killed_writers_lose_nothing(empty_home: Paths, tmp_path: Path, seed: int) -> None:
    """Two processes are killed while they commit: the journal lacks at most what was in flight, after a start nothing."""
    chance = random.Random(seed)
    open_facts(empty_home).close()
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(empty_home.home), name], stdout=subprocess.PIPE,
                                env={**os.environ, "PYTHONPATH": str(Path.cwd())}) for name in "ab"]  # fmt: skip
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
        assert writers[0].stdout is not None
        for _ in range(chance.randrange(1, 4)):
            writers[0].stdout.readline()
    finally:
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            assert writer.stdout is not None
            writer.stdout.close()
    live = [row for row in dump_of(empty_home) if row[0] == "events"]
    alone, damage = replayed(empty_home, tmp_path)
    told = [row for row in alone if row[0] == "events"]
    assert damage == []
    assert told == live[: len(told)]
    assert len(live) - len(told) <= len(writers)
    open_facts(empty_home).close()
    assert replayed(empty_home, tmp_path) == (dump_of(empty_home), [])
