"""Pulling from a zone: cuts cost a chunk, wrong bytes are never listed, a full disk leaves everything as it was."""

from __future__ import annotations

import errno
import json
import random
import sys
from collections import namedtuple
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).parent)]

from zones_kit import Wire, files_below, forget_outages, listed, make_checkpoint, make_home, name_at, officer  # noqa: E402

from realm.core import durable  # noqa: E402
from realm.core.errors import Conflict, Corrupt, NoSpace, RealmError, Refused, Unavailable, Unknown  # noqa: E402
from realm.core.paths import Paths  # noqa: E402
from realm.core.store import open_facts, read_facts  # noqa: E402
from realm.vault import ledger  # noqa: E402
from realm.vault.inspection import check_ledger  # noqa: E402
from realm.vault.keeper.catalogue import Catalogue  # noqa: E402
from realm.vault.zones import branch_routes, transfer_landing, transfer_receive, transfer_rows, transfer_serve  # noqa: E402
from realm.vault.zones.registry import move_asset, pull_from_zone  # noqa: E402
from tests.free_ports import free_port  # noqa: E402

CHUNK = 64 * 1024


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small chunks, small blocks, no waiting between tries."""
    monkeypatch.setattr(branch_routes, "CHUNK", CHUNK)
    monkeypatch.setattr(transfer_serve, "CHUNK", CHUNK)
    monkeypatch.setattr("realm.vault.zones.zones_client.BLOCK", 16 * 1024)
    monkeypatch.setattr("realm.vault.zones.transfer_receive.sleep", lambda seconds: False)
    forget_outages()
    yield
    forget_outages()


class Two:
    """A zone `far` that has a line of checkpoints, and a zone `near` that pulls from it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.far = make_home(folder / "far", "far")
        self.near = make_home(folder / "near", "near", far=port)
        self.port = port

    def through(self, port: int) -> None:
        make_home(self.near.home, "near", far=port)

    def pull(self, asset: str = "checkpoint_2", **more: Any) -> Any:
        return move_asset(asset, "far", "pull", self.near, **more)

    def rows(self) -> list[transfer_rows.Transfer]:
        with closing(read_facts(self.near)) as facts:
            return transfer_rows.newest(facts)

    def same(self, step: int = 2) -> bool:
        path = f"models/current_model/{name_at(step)}"
        return files_below(self.far.home / path) == files_below(self.near.home / path)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    port = free_port()
    found = Two(tmp_path, port)
    make_checkpoint(found.far, 1)
    make_checkpoint(found.far, 2, 10 * CHUNK + 77, parent=1)
    with officer(found.far, port):
        yield found


def left_over(paths: Paths) -> list[str]:
    return [p.as_posix() for p in paths.home.rglob("*") if ".incoming" in p.name and p.is_dir() and any(p.iterdir())]


def test_a_checkpoint_arrives_whole_with_its_line_and_is_listed(two: Two) -> None:
    told: list[int] = []
    result = two.pull(on_progress=lambda progress: told.append(progress.done))

    assert result.success
    assert two.same()
    assert result.bytes == result.bytes_moved == sum(map(len, files_below(two.near.current_model / name_at(2)).values()))
    assert told == sorted(told)
    assert told[-1] == result.bytes
    with closing(read_facts(two.near)) as facts:
        assert [(one.kind, one.zone, one.verified_at is not None) for one in Catalogue(facts).locations("checkpoint_2")] == [
            ("local", "near", True), ("remote", "far", True),
        ]  # fmt: skip
        assert ledger.Ledger(facts).get(2).parent == name_at(1)
        assert facts.execute("SELECT pinned FROM checkpoints WHERE step = 2").fetchone()["pinned"] == 1
        assert check_ledger(two.near, facts) == []
    assert [row.state for row in two.rows()] == ["done"]
    assert left_over(two.near) == []


def test_pulling_again_moves_nothing(two: Two) -> None:
    two.pull()
    again = two.pull()
    assert again.success
    assert again.bytes_moved == 0


def test_names_and_paths_mean_the_exact_checkpoint(two: Two) -> None:
    assert pull_from_zone(f"/volume1/models/{name_at(1)}", "far", home=str(two.near.home)).asset == "checkpoint_1"
    with pytest.raises(Conflict, match="not checkpoint-2-20251231-0000"):
        pull_from_zone(f"/models/{name_at(2, '20251231-0000')}", "far", home=str(two.near.home))


@pytest.mark.parametrize("seed", range(3))
def test_twenty_cuts_cost_at_most_a_chunk_each(two: Two, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # A cut before the first byte looks like an outage; how those are counted is another test's subject.
    monkeypatch.setattr("realm.vault.zones.zones_client.FAILS", 1000)
    monkeypatch.setattr(transfer_receive, "TRIES", 30)
    dice, cut_at = random.Random(seed), {}

    def spoil(number: int, so_far: int, block: bytes) -> bytes | None:
        at = cut_at.setdefault(number, dice.randrange(CHUNK // 2, 3 * CHUNK // 2))
        return None if wire.cuts < 20 and so_far + len(block) > at else block

    wire = Wire(two.port, spoil)
    two.through(wire.port)
    make_checkpoint(two.far, 3, 40 * CHUNK, parent=2)
    result = two.pull("checkpoint_3")
    wire.close()

    assert wire.cuts == 20
    assert two.same(3)
    assert result.bytes_moved - result.bytes <= 20 * CHUNK


def test_a_run_that_gave_up_goes_on_where_it_was(two: Two) -> None:
    wire = Wire(two.port, lambda n, so_far, block: None if wire.relayed > 6 * CHUNK else block)
    two.through(wire.port)
    with pytest.raises(Unavailable):
        two.pull()
    wire.close()
    assert listed(two.near) == {"config_hosts"} & listed(two.near)
    first = two.rows()[0]
    assert (first.state, first.attempts) == ("failed", 1)
    assert first.reason
    assert first.bytes_done > 0

    forget_outages()
    two.through(two.port)
    again = two.pull()
    assert again.transfer == first.id
    assert again.bytes_moved - again.bytes <= 6 * CHUNK  # the chunks under way in the tries that failed
    assert two.same()


def flip(position: int) -> Any:
    """A wire that changes one byte of the body that is larger than a head."""
    seen = {"bytes": 0}

    def spoil(number: int, so_far: int, block: bytes) -> bytes:
        before, seen["bytes"] = seen["bytes"], seen["bytes"] + len(block)
        if before <= position < seen["bytes"]:
            at = position - before
            return block[:at] + bytes([block[at] ^ 1]) + block[at + 1 :]
        return block

    return spoil


def test_a_byte_changed_on_the_wire_is_fetched_again(two: Two) -> None:
    wire = Wire(two.port, flip(5 * CHUNK))
    two.through(wire.port)
    assert two.pull().success
    assert two.same()
    wire.close()


def test_a_damaged_file_over_there_is_never_listed(two: Two) -> None:
    weights = two.far.current_model / name_at(2) / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[3 * CHUNK] ^= 1
    weights.write_bytes(data)

    with pytest.raises(Corrupt, match="does not match its manifest"):
        two.pull()
    assert "checkpoint_2" not in listed(two.near)
    assert not (two.near.current_model / name_at(2)).exists()
    assert two.rows()[0].state == "failed"

    data[3 * CHUNK] ^= 1
    weights.write_bytes(data)
    assert two.pull().success
    assert two.same()


def lie(change: Any) -> Any:
    """A wire whose manifests say something else; the length of the answer stays."""

    def spoil(number: int, so_far: int, block: bytes) -> bytes:
        return change(block) if b'"chunk_bytes"' in block else block

    return spoil


@pytest.mark.parametrize(("old", "new"), [
    (b'"model.safetensors"', b'"../../x/weights.s"'),
    (b'"config.json"', b'"/onfig.json"'),
    (b"checkpoint_2", b"checkpoint_1"),
    (b'"size":2,', b'"size":3,'),
    (b'"type":"checkpoint"', b'"type":"checkpoinx"'),
    (b'"size":', b'"size"]'),
])  # fmt: skip
def test_a_manifest_that_lies_is_refused(two: Two, old: bytes, new: bytes) -> None:
    assert len(old) == len(new)
    wire = Wire(two.port, lie(lambda block: block.replace(old, new)))
    two.through(wire.port)
    with pytest.raises(RealmError):
        two.pull()
    wire.close()
    assert not any("checkpoint" in one for one in listed(two.near))
    assert not (two.near.home / "x").exists()


def test_no_room_is_said_before_anything_is_fetched(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(transfer_landing.shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(NoSpace, match="free in current_model"):
        two.pull()
    assert two.rows()[0].bytes_moved == 0
    assert "checkpoint_2" not in listed(two.near)


@pytest.mark.parametrize("after", [0, 2, 5])
def test_a_disk_that_fills_up_leaves_the_old_state_and_the_rest_goes_on(
    two: Two, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    two.pull("checkpoint_1")
    before = listed(two.near)
    real, count = durable.open_part, {"writes": 0}

    class Full:
        def __init__(self, handle: Any) -> None:
            self._handle = handle

        def write(self, data: Any) -> int:
            count["writes"] += 1
            if count["writes"] > after:
                raise OSError(errno.ENOSPC, "No space left on device")
            return int(self._handle.write(data))

        def __getattr__(self, name: str) -> Any:
            return getattr(self._handle, name)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            self._handle.close()

    monkeypatch.setattr(durable, "open_part", lambda path: Full(real(path)))
    with pytest.raises(NoSpace):
        two.pull()
    assert listed(two.near) == before
    assert not (two.near.current_model / name_at(2)).exists()
    assert two.rows()[0].state == "failed"
    assert "no space" in two.rows()[0].reason

    monkeypatch.setattr(durable, "open_part", real)
    again = two.pull()
    assert again.success
    assert two.same()


def test_a_crash_between_content_and_reference_is_mended(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_landing, "refer", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        two.pull()
    assert "checkpoint_2" not in listed(two.near)
    monkeypatch.undo()
    with closing(open_facts(two.near)) as facts:
        facts.execute("UPDATE transfers SET runner = 'process-999999999'")
    result = two.pull()
    assert result.success
    assert two.same()


def test_parts_torn_by_a_power_cut_are_fetched_again(two: Two) -> None:
    wire = Wire(two.port, lambda n, so_far, block: None if wire.relayed > 6 * CHUNK else block)
    two.through(wire.port)
    with pytest.raises(Unavailable):
        two.pull()
    wire.close()
    [part] = two.near.current_model.glob(".incoming/*/files/model.safetensors")
    data = bytearray(part.read_bytes())
    data[CHUNK + 5] ^= 1
    part.write_bytes(data)
    forget_outages()
    two.through(two.port)
    assert two.pull().success
    assert two.same()


# what this home does not take


def test_a_step_is_one_checkpoint(two: Two) -> None:
    make_checkpoint(two.near, 2, when="20260202-0000", seed=5)
    with pytest.raises(Conflict):
        two.pull()
    assert listed(two.near) >= {"checkpoint_2"}
    assert not (two.near.current_model / name_at(2)).exists()


def test_a_home_that_trains_takes_its_own_line_only(two: Two) -> None:
    two.near.config.write_text(json.dumps({"hero": "other"}))
    with pytest.raises(Conflict, match="hero dio, this home trains other"):
        two.pull()
    two.near.config.write_text(json.dumps({"hero": "dio"}))
    make_checkpoint(two.near, 7, when="20260202-0000")
    with pytest.raises(Conflict, match="line of checkpoints"):
        two.pull()


def test_a_home_takes_back_what_it_lost(two: Two) -> None:
    two.near.config.write_text(json.dumps({"hero": "dio"}))
    make_checkpoint(two.near, 1)
    assert two.pull().success


def test_configuration_is_not_taken(two: Two) -> None:
    two.far.config.write_text("{}")
    from realm.vault.keeper.discovery import VaultDiscovery

    VaultDiscovery(two.far).scan()
    with pytest.raises(Refused):
        two.pull("config_config")
    assert not two.near.config.exists()


def test_data_lies_beside_its_sidecar_and_replaces_nothing(two: Two) -> None:
    from realm.vault.keeper.discovery import VaultDiscovery

    (two.far.data / "deep").mkdir(parents=True)
    (two.far.data / "deep" / "rows.jsonl").write_text('{"a": 1}\n')
    (two.far.data / "deep" / "rows.jsonl.meta.json").write_text("{}")
    report = VaultDiscovery(two.far).scan()
    [asset] = [one for one in report.registered if one.startswith("data_")]
    other = two.near.data / "deep" / "rows.jsonl"
    other.parent.mkdir(parents=True)
    other.write_text("mine")
    with pytest.raises(Conflict, match="holds other bytes"):
        two.pull(asset)
    assert other.read_text() == "mine"
    other.unlink()
    assert two.pull(asset).success
    assert files_below(two.near.data / "deep") == files_below(two.far.data / "deep")
    assert VaultDiscovery(two.near).scan().problems == []
    assert asset in listed(two.near)


def test_what_is_not_there_is_said(two: Two) -> None:
    for asset, zone, kind in (("checkpoint_99", "far", Unknown), ("checkpoint_1", "nowhere", Unknown)):
        with pytest.raises(kind):
            move_asset(asset, zone, "pull", two.near)
    with pytest.raises(RealmError):
        two.pull("../x")


def test_a_zone_that_is_gone_is_left_alone_for_a_while(two: Two) -> None:
    two.through(free_port())
    with pytest.raises(Unavailable):
        two.pull()
    assert [row.state for row in two.rows()] == ["failed"]
    with pytest.raises(Unavailable, match="times in a row"):
        two.pull()
