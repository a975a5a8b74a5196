"""The two databases: migrated whole or not at all, newer ones untouched, transactions that roll back, several writers."""

from __future__ import annotations

import hashlib
import multiprocessing
import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest
from quest_files import leftovers

from realm.core import events, store
from realm.core.errors import Conflict, Corrupt, NoSpace, Unavailable, Unknown
from realm.core.paths import Paths
from realm.core.store import migrate, open_facts, open_telemetry, read_facts, read_telemetry, transaction


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_pragmas(empty_home: Paths) -> None:
    with closing(open_facts(empty_home)) as facts, closing(open_telemetry(empty_home)) as telemetry:
        def ask(connection: sqlite3.Connection, name: str) -> object:
            return connection.execute(f"PRAGMA {name}").fetchone()[0]

        assert (ask(facts, "journal_mode"), ask(facts, "synchronous")) == ("wal", 2)
        assert (ask(telemetry, "journal_mode"), ask(telemetry, "synchronous")) == ("wal", 1)
        assert (ask(facts, "foreign_keys"), ask(facts, "trusted_schema"), ask(facts, "busy_timeout")) == (1, 0, 5000)


def test_a_newer_database_is_refused_and_not_touched(empty_home: Paths) -> None:
    with closing(sqlite3.connect(empty_home.facts_db)) as newer:
        newer.execute("CREATE TABLE future (x)")
        newer.execute("PRAGMA user_version=99")
    before = digest(empty_home.facts_db)
    for _ in range(2):
        with pytest.raises(Conflict, match="schema 99"):
            open_facts(empty_home)
    assert digest(empty_home.facts_db) == before
    assert [p.name for p in empty_home.store.iterdir()] == ["realm.db"]


def make_v1(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, path, (lambda c: c.execute("CREATE TABLE a (x)"),))  # type: ignore[arg-type,return-value]
    connection.execute("INSERT INTO a VALUES (7)")
    return connection


def test_a_crash_inside_a_migration_rolls_back_whole_and_a_backup_is_there(tmp_path: Path) -> None:
    path = tmp_path / "x.db"

    def half(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE b (y)")
        connection.execute("ALTER TABLE a ADD COLUMN z")
        raise KeyboardInterrupt

    def whole(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE b (y)")

    with closing(make_v1(path)) as connection:
        with pytest.raises(KeyboardInterrupt):
            migrate(connection, path, (lambda c: None, half))
        assert connection.execute("PRAGMA user_version").fetchone()[0] == 1
        assert [row[0] for row in connection.execute("SELECT name FROM sqlite_master")] == ["a"]
        with closing(sqlite3.connect(tmp_path / "x.before-2.db")) as backup:
            assert backup.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            assert backup.execute("SELECT x FROM a").fetchall() == [(7,)]
        migrate(connection, path, (lambda c: None, whole))
        assert connection.execute("PRAGMA user_version").fetchone()[0] == 2


def test_a_backup_that_was_cut_short_never_counts_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.db"

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with closing(make_v1(path)) as connection:
        with monkeypatch.context() as patch:
            patch.setattr(store.durable, "fsync_file", die)
            with pytest.raises(KeyboardInterrupt):
                migrate(connection, path, (lambda c: None, lambda c: None))
        assert not (tmp_path / "x.before-2.db").exists()
        migrate(connection, path, (lambda c: None, lambda c: None))
        with closing(sqlite3.connect(tmp_path / "x.before-2.db")) as backup:
            assert backup.execute("SELECT x FROM a").fetchall() == [(7,)]


def test_many_first_starts_at_once(empty_home: Paths) -> None:
    errors: list[BaseException] = []

    def start() -> None:
        try:
            with closing(open_facts(empty_home)) as facts, transaction(facts):
                events.append(facts, "queue.empty")
            read_facts(empty_home).close()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with closing(read_facts(empty_home)) as facts:
        assert events.cursor(facts) == 8


@pytest.mark.parametrize("data", [b"not a database at all" * 100, b"\0" * 5000, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_damaged_database_is_named(empty_home: Paths, data: bytes) -> None:
    empty_home.facts_db.write_bytes(data)
    with pytest.raises(Corrupt, match=r"realm\.db is damaged"):
        open_facts(empty_home)
    assert empty_home.facts_db.read_bytes() == data


def test_a_transaction_is_whole_or_nothing(empty_home: Paths) -> None:
    with closing(open_facts(empty_home)) as facts:
        with suppress(ZeroDivisionError), transaction(facts):
            events.append(facts, "queue.empty")
            _ = 1 / 0
        assert events.cursor(facts) == 0
        assert not facts.in_transaction
        with transaction(facts):
            events.append(facts, "queue.empty")
        assert events.cursor(facts) == 1


def test_a_database_that_is_held_is_unavailable(empty_home: Paths) -> None:
    with closing(open_facts(empty_home)) as facts, closing(open_facts(empty_home)) as other:
        facts.execute("PRAGMA busy_timeout=50")
        with transaction(other):
            with pytest.raises(Unavailable, match="another process holds"), transaction(facts):
                events.append(facts, "queue.empty")
            assert not facts.in_transaction
        with transaction(facts):
            events.append(facts, "queue.empty")


def test_a_full_disk_is_no_space_and_changes_nothing(empty_home: Paths) -> None:
    with closing(open_facts(empty_home)) as facts:
        pages = facts.execute("PRAGMA page_count").fetchone()[0]
        facts.execute(f"PRAGMA max_page_count={pages + 2}")
        with pytest.raises(NoSpace), transaction(facts):
            events.append(facts, "queue.empty", data={"x": "y" * 400_000})
        assert events.cursor(facts) == 0


def _write(home: str, count: int) -> None:
    with closing(open_facts(Paths(Path(home)))) as facts:
        for _ in range(count):
            with transaction(facts):
                events.append(facts, "queue.empty")


def test_several_processes_append_without_loss(empty_home: Paths) -> None:
    open_facts(empty_home).close()
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(str(empty_home.home), 40)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    with closing(read_facts(empty_home)) as facts:
        assert [event["seq"] for event in events.since(facts, 0)] == list(range(1, 121))


def test_readers_cannot_write_and_see_odd_homes(tmp_path: Path) -> None:
    for name in ("plain", "a b#?%41&mode=rw", "ünï①"):
        paths = Paths(tmp_path / name).ensure()
        for opener in (read_facts, read_telemetry):
            with closing(opener(paths)) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
                reader.execute("CREATE TABLE x (y)")
        assert sorted(p.name for p in paths.store.iterdir() if p.suffix == ".db") == ["realm.db", "telemetry.db"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["plain", "a b#?%41&mode=rw", "ünï①"])


def test_a_reader_of_a_database_that_is_just_being_made(empty_home: Paths) -> None:
    sqlite3.connect(empty_home.facts_db).close()
    empty_home.facts_db.touch()
    with closing(read_facts(empty_home)) as facts:
        assert events.cursor(facts) == 0


def test_unknown_kinds_of_events(empty_home: Paths) -> None:
    with closing(open_facts(empty_home)) as facts:
        with pytest.raises(Unknown, match=r"queue\.exploded"), transaction(facts):
            events.append(facts, "queue.exploded")
        with transaction(facts):
            for kind in events.EVENT_KINDS:
                events.append(facts, kind, subject="①", step=3, data={"ü": [1]})
        found = events.since(facts, 0, 10_000)
        assert [event["kind"] for event in found] == list(events.EVENT_KINDS)
        assert found[0]["data"] == {"ü": [1]}
        assert [event["seq"] for event in events.latest(facts, 3)] == [len(found), len(found) - 1, len(found) - 2]
        assert [event["kind"] for event in events.latest(facts, 3, "queue.low")] == ["queue.low"]
        assert len(events.since(facts, len(found) - 2)) == 2
    assert leftovers(empty_home) == []
