"""Paths, hosts, ids, seeds, clock, errors, logs and manifest: the small parts everything stands on."""

from __future__ import annotations

import json
import logging
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.core import hosts, logs, manifest
from realm.core.clock import FakeClock, parse_stamp, stamp
from realm.core.errors import BadInput, Corrupt, RealmError, Unknown, error_body
from realm.core.hosts import Hosts, get_host, get_service_url, is_trainer_local, moved_port, port_of
from realm.core.ids import UlidSource, check_id, is_ulid, new_ulid
from realm.core.paths import Paths, open_home, resolve_home
from realm.core.seeds import derive_seed


def test_the_order_that_finds_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "realm" / "deep" / "er"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    monkeypatch.delenv("REALM_HOME", raising=False)
    assert resolve_home()[1] in ("the checkout", "default for an installed package")
    (tmp_path / "realm" / "config.json").write_text("{}")
    assert resolve_home()[0] == tmp_path / "realm"
    monkeypatch.setenv("REALM_HOME", str(tmp_path / "env"))
    assert resolve_home() == (tmp_path / "env", "REALM_HOME")
    assert resolve_home(tmp_path / "given") == (tmp_path / "given", "--home")
    monkeypatch.setenv("REALM_HOME", "")
    assert resolve_home()[0] == tmp_path / "realm"


def test_a_home_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for wrong in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere")):
        with pytest.raises(BadInput):
            open_home(wrong)


def test_only_known_board_folders(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="known"):
        Paths(tmp_path).queue("../..")


GPU = {"name": "GPU", "host": "10.255.255.1", "role": "trainer", "services": {"vault": {"port": 8767, "path": "/api"}}}
HERE = {"name": "Here", "host": "127.0.0.1", "role": "inference", "services": {"inference": {"port": 8765}}}


def write_hosts(paths: Paths, text: str) -> None:
    paths.hosts.write_text(text)


def test_hosts(empty_home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Hosts.load(empty_home) is hosts.DEFAULT
    write_hosts(empty_home, json.dumps({"hosts": {"gpu": GPU, "box": HERE}}))
    found = Hosts.load(empty_home)
    assert found.local_id() == "box"
    assert get_host("gpu", found).name == "GPU"
    assert not is_trainer_local(found)
    monkeypatch.setenv("REALM_PORT_BASE", "20000")
    assert get_service_url("inference", found) == "http://127.0.0.1:20765"
    assert get_service_url("vault", found) == "http://10.255.255.1:8767/api"  # another machine's ports stay
    for wrong in (lambda: get_service_url("nothing", found), lambda: get_host("nobody", found)):
        with pytest.raises(Unknown):
            wrong()
    monkeypatch.setenv("REALM_HOST", "gpu")
    assert is_trainer_local(found)
    monkeypatch.setenv("REALM_HOST", "mars")
    with pytest.raises(Unknown, match="mars"):
        found.local_id()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b'{"hosts": 5}', b'{"hosts": {"a": {}}}', b'{"host": {}}',
                                  b'{"hosts": {"a": {"name": "x", "colour": 1}}}', b"[" * 100_000,
                                  b'{"hosts": {"a": {"name": "x", "services": {"vault": {"port": 0}}}}}'])  # fmt: skip
def test_malformed_hosts(empty_home: Paths, data: bytes) -> None:
    empty_home.hosts.write_bytes(data)
    with pytest.raises(BadInput, match=r"hosts\.json"):
        Hosts.load(empty_home)


def test_an_address_that_is_none_is_not_local(empty_home: Paths) -> None:
    for address in ("x" * 300, "nowhere.invalid", "..", "300.1.1.1"):
        write_hosts(empty_home, json.dumps({"hosts": {"far": {**GPU, "host": address}, "box": HERE}}))
        assert Hosts.load(empty_home).local_id() == "box"
    write_hosts(empty_home, json.dumps({"hosts": {"a": HERE, "b": HERE}}))
    with pytest.raises(BadInput, match="REALM_HOST"):
        Hosts.load(empty_home).local_id()


def test_ports_move_together(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {name: port_of(name) for name in hosts.PORTS} == hosts.PORTS
    monkeypatch.setenv("REALM_PORT_BASE", "20000")
    assert port_of("tavern") == 20888
    assert port_of("tavern", 30000) == 30888
    with pytest.raises(Unknown):
        port_of("nothing")
    for base, default in ((1024, 80), (64000, 9999)):
        with pytest.raises(BadInput, match="no port"):
            moved_port(default, base)


@pytest.mark.parametrize("base", ["", "x", "80", "64001", "-1", "²", "20000.0"])
def test_a_port_base_that_is_none(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALM_PORT_BASE", base)
    with pytest.raises(BadInput, match="port base"):
        port_of("tavern")


def test_ulids_rise_also_when_the_clock_is_set_back_and_with_many_threads() -> None:
    clock = FakeClock()
    source = UlidSource(clock)
    made = [source.new() for _ in range(50)]
    clock.advance(-86_400)
    made += [source.new() for _ in range(50)]
    assert made == sorted(set(made))
    found: list[list[str]] = [[] for _ in range(4)]

    def run(into: list[str]) -> None:
        into += [source.new() for _ in range(500)]

    threads = [threading.Thread(target=run, args=(into,)) for into in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one for into in found for one in into}) == 2000
    assert all(into == sorted(into) for into in found)
    assert is_ulid(new_ulid())


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "a\\b", "A", "a\n", "a\0", " a", "-a", "a" * 129, "ä", "a b", "%2e"])
def test_what_could_be_a_path_is_no_id(text: str) -> None:
    with pytest.raises(BadInput, match="not an id"):
        check_id(text)


@given(st.text(max_size=140))
def test_an_id_is_one_harmless_path_part(text: str) -> None:
    try:
        assert check_id(text) == text
    except BadInput:
        return
    assert "/" not in text
    assert text not in (".", "..")
    assert text.isascii()
    assert text.isprintable()


def test_ulid_text() -> None:
    good = new_ulid()
    assert not any(is_ulid(bad) for bad in (good + "\n", good[:-1], good.upper(), good[:-1] + "u", "i" * 26, ""))


def test_seeds() -> None:
    assert derive_seed("a", 1) == derive_seed("a", 1) != derive_seed("a", 2)
    assert 0 <= derive_seed("x") < 2**64


def test_stamps() -> None:
    moment = datetime(2026, 11, 22, 14, 0, 0, 123_000, tzinfo=timezone(timedelta(hours=2)))
    assert stamp(moment) == "2026-11-22T12:00:00.123Z"
    assert parse_stamp(stamp(moment)) == moment.astimezone(UTC)


def test_every_error_has_its_own_code_and_a_true_status() -> None:
    found = {kind.code: kind for kind in RealmError.__subclasses__() if kind.__module__ == "realm.core.errors"}
    assert len({kind.exit_code for kind in found.values()}) >= 6
    assert all(400 <= kind.status < 600 and kind.exit_code > 0 for kind in found.values())
    error = BadInput("what", hint="do this", row=3)
    assert error_body(error) == {"error": {"code": "bad_input", "message": "what", "hint": "do this", "facts": {"row": 3}}}
    assert str(error) == "what (do this)"


def test_log_lines_cannot_move_a_terminals_cursor(empty_home: Paths) -> None:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        logs.setup(empty_home, "x", terminal=False)
        logs.get_logger("test").warning("a\x1b[2J\nb \ud800 %s", "\x07")
        lines = (empty_home.logs / "x.jsonl").read_text().splitlines()
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)
    assert len(lines) == 1
    assert "\x1b" not in lines[0]
    assert json.loads(lines[0])["message"] == "a\x1b[2J\nb \ud800 \x07"
    plain = logs.Plain().format(logging.LogRecord("n", 30, "p", 1, "a\x1b[2J", (), None))
    assert "\x1b" not in plain


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "checkpoint-3-20260101-0000"
    (made / "sub").mkdir(parents=True)
    (made / manifest.WEIGHTS).write_bytes(b"weights" * 100)
    (made / ".ledger.json").write_text("{}")
    (made / "sub" / "x").write_text("y")
    manifest.write_manifest(made, 3, made.name)
    return made


def test_manifest(folder: Path) -> None:
    told = manifest.verify(folder)
    assert set(told["files"]) == {manifest.WEIGHTS, ".ledger.json", "sub/x"}
    assert manifest.folder_size(told) == 700 + 2 + 1


def test_every_changed_file_is_named(folder: Path) -> None:
    for name in (manifest.WEIGHTS, ".ledger.json", "sub/x"):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(bytes([data[0] ^ 1]) + data[1:])
        manifest.check_sizes(folder)
        with pytest.raises(Corrupt, match=name):
            manifest.verify(folder)
        (folder / name).write_bytes(data + b"x")
        with pytest.raises(Corrupt, match=name):
            manifest.check_sizes(folder)
        (folder / name).unlink()
        with pytest.raises(Corrupt, match=name):
            manifest.check_sizes(folder)
        (folder / name).write_bytes(data)
    manifest.verify(folder)


@pytest.mark.parametrize("change", [
    {"format": "realm.manifest/2"}, {"step": "3"}, {"step": True}, {"canonical_name": None}, {"files": []}, {"files": {}},
    {"files": {manifest.WEIGHTS: {"size": 700}}}, {"files": {manifest.WEIGHTS: 5}}, {"weights_sha256": "0" * 64},
])  # fmt: skip
def test_a_malformed_manifest_is_corrupt(folder: Path, change: dict[str, object]) -> None:
    told = json.loads((folder / manifest.NAME).read_text())
    (folder / manifest.NAME).write_text(json.dumps({**told, **change}))
    with pytest.raises(Corrupt):
        manifest.verify(folder)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "sub/../../x"])
def test_a_manifest_never_reaches_outside_its_folder(folder: Path, name: str) -> None:
    told = json.loads((folder / manifest.NAME).read_text())
    told["files"][name] = {"size": 1, "sha256": "0" * 64}
    (folder / manifest.NAME).write_text(json.dumps(told))
    with pytest.raises(Corrupt, match="contradicts itself"):
        manifest.check_sizes(folder)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_manifest_that_is_no_json(folder: Path, data: bytes) -> None:
    (folder / manifest.NAME).write_bytes(data)
    with pytest.raises(Corrupt):
        manifest.verify(folder)
