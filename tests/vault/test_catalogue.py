from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from realm.core import events
from realm.core.errors import BadInput, Conflict, Unknown
from realm.core.ids import check_id
from realm.core.paths import Paths
from realm.core.store import open_facts, read_facts, transaction
from realm.vault.keeper.assets import (
    FILE_TYPES,
    TYPES,
    AssetFile,
    AssetManifest,
    AssetType,
    asset_id,
    file_place,
    make_manifest,
)
from realm.vault.keeper.catalogue import Catalogue, Place

CHECKPOINT = "checkpoint-175000-20251127-1430"


def a_file(path: str = "model.safetensors", content: bytes = b"weights") -> AssetFile:
    return AssetFile(path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest())


def checkpoint(name: str = CHECKPOINT, content: bytes = b"weights") -> AssetManifest:
    return make_manifest("checkpoint", name, [a_file(content=content), a_file("state.json", b"{}")])


def home(path: str = f"models/current_model/{CHECKPOINT}") -> Place:
    return Place(zone="local", stronghold="home", kind="local", path=path)


NAS = Place(zone="cellar", stronghold="nas1", kind="nas", path=CHECKPOINT)
REMOTE = Place(zone="3090", stronghold="home", kind="remote", path=CHECKPOINT)
CLOUD = Place(zone="sky", stronghold="s3", kind="cloud", path=CHECKPOINT)


@pytest.fixture
def catalogue(tmp_path) -> Iterator[Catalogue]:
    with closing(open_facts(Paths(tmp_path).ensure())) as facts:
        yield Catalogue(facts)


def kinds(catalogue: Catalogue) -> list[str]:
    return [event["kind"] for event in events.since(catalogue.connection, 0)]


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("checkpoint", CHECKPOINT, "checkpoint_175000"),
        ("checkpoint", "checkpoint-175000", "checkpoint_175000"),
        ("model", "Qwen3-0.6B", "model_qwen3_0.6b"),
        ("data", "train_syllo_abc.jsonl", "data_train_syllo_abc"),
        ("config", "config.json", "config_config"),
        ("config", "skills/bin.yaml", "config_skills_bin"),
        ("snapshot", "2026-11-22", "snapshot_2026_11_22"),
    ],
)
def test_ids_are_those_of_the_names(kind: AssetType, name: str, expected: str) -> None:
    assert asset_id(kind, name) == expected


@given(st.sampled_from([kind for kind in TYPES if kind != "checkpoint"]), st.text(min_size=1, max_size=200))
def test_every_name_has_an_id_that_is_no_path(kind: AssetType, name: str) -> None:
    if "/" not in name and name not in (".", ".."):
        assert check_id(asset_id(kind, name)).startswith(f"{kind}_")


def test_names_that_cannot_be_spelled_have_ids_of_their_own() -> None:
    assert asset_id("data", "訓練.jsonl") != asset_id("data", "練訓.jsonl")
    assert asset_id("data", "a" * 200 + "1.jsonl") != asset_id("data", "a" * 200 + "2.jsonl")


def test_the_digest_is_the_documented_one() -> None:
    one, two = a_file("b", b"2"), a_file("a", b"1")
    lines = sorted(f"{file.sha256}  {file.path}\n" for file in (one, two))

    found = make_manifest("model", "m", [one, two])

    assert found.digest == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert found == make_manifest("model", "m", [two, one])


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a//b", "a/./b", "a\nb", "a\0b", ""])
def test_a_path_that_leaves_the_asset_is_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        AssetFile(path=path, size=1, sha256="0" * 64)


def test_a_manifest_that_contradicts_itself_is_refused() -> None:
    good = checkpoint().model_dump()
    for wrong in ({"digest": "0" * 64}, {"id": "checkpoint_1"}, {"files": (good["files"][0], good["files"][0])}):
        with pytest.raises(ValidationError):
            AssetManifest.model_validate({**good, **wrong})


def test_where_a_file_lies() -> None:
    assert file_place("checkpoint", "models/x", "sub/model.safetensors") == "models/x/sub/model.safetensors"
    assert file_place("data", "data/x.jsonl", "x.jsonl.meta.json") == "data/x.jsonl.meta.json"


def test_an_asset_is_registered_once(catalogue: Catalogue) -> None:
    first = catalogue.put(checkpoint(), created_at="2025-11-27T14:30:00.000Z", meta={"step": 175000})
    again = catalogue.put(checkpoint())

    assert first == again == catalogue.get("checkpoint_175000")
    assert (first.size, first.file_count) == (9, 2)
    assert catalogue.manifest("checkpoint_175000") == checkpoint()
    assert kinds(catalogue) == ["asset.registered"]
    assert events.since(catalogue.connection, 0)[0]["step"] == 175000


def test_a_second_digest_under_one_id_is_an_error_that_names_both(catalogue: Catalogue) -> None:
    catalogue.put(checkpoint())
    catalogue.place("checkpoint_175000", home())
    other = checkpoint(content=b"other weights")

    with pytest.raises(Conflict) as told:
        catalogue.put(other)

    assert checkpoint().digest[:16] in told.value.message
    assert other.digest[:16] in told.value.message
    assert catalogue.get("checkpoint_175000").digest == checkpoint().digest


def test_an_id_whose_copies_are_gone_may_come_back_with_other_bytes(catalogue: Catalogue) -> None:
    catalogue.put(checkpoint())
    catalogue.place("checkpoint_175000", home())
    catalogue.mark(home(), "missing", "its folder is gone")

    catalogue.put(checkpoint(content=b"trained anew"))

    assert catalogue.manifest("checkpoint_175000") == checkpoint(content=b"trained anew")
    assert catalogue.locations("checkpoint_175000") == []


def test_a_config_changes_and_its_older_copies_are_no_copies_any_more(catalogue: Catalogue) -> None:
    def config(content: bytes) -> AssetManifest:
        return make_manifest("config", "config.json", [a_file("config.json", content)])

    catalogue.put(config(b"1"))
    catalogue.place("config_config", home("config.json"))
    catalogue.place("config_config", NAS.model_copy(update={"path": "config.json"}))

    catalogue.put(config(b"2"))
    catalogue.place("config_config", home("config.json"))

    assert [one.kind for one in catalogue.locations("config_config")] == ["local"]


def test_copies_come_best_first(catalogue: Catalogue) -> None:
    catalogue.put(checkpoint())
    for place in (CLOUD, REMOTE, NAS, home()):
        catalogue.place("checkpoint_175000", place)
    assert [one.kind for one in catalogue.locations("checkpoint_175000")] == ["local", "nas", "remote", "cloud"]

    catalogue.mark(home(), "quarantined", "one byte differs")

    assert [one.kind for one in catalogue.locations("checkpoint_175000")] == ["nas", "remote", "cloud"]
    assert catalogue.locations("checkpoint_175000", present=False)[-1].reason == "one byte differs"
    assert kinds(catalogue) == ["asset.registered", *["asset.copied"] * 4, "asset.dropped"]
    for place in (CLOUD, REMOTE, NAS):
        catalogue.mark(place, "missing", "it went")
    assert (catalogue.stats()["assets"], catalogue.stats()["bytes"], catalogue.stats()["without_copy"]) == (0, 0, 1)


def test_forgetting_a_copy_keeps_the_asset(catalogue: Catalogue) -> None:
    catalogue.put(checkpoint())
    catalogue.place("checkpoint_175000", NAS)
    with pytest.raises(Conflict):
        catalogue.forget_asset("checkpoint_175000")

    catalogue.forget("checkpoint_175000", NAS)
    catalogue.forget("checkpoint_175000", NAS)

    assert catalogue.get("checkpoint_175000")
    catalogue.forget_asset("checkpoint_175000")
    assert catalogue.find("checkpoint_175000") is None
    assert catalogue.search("175000").rows == []
    assert kinds(catalogue) == ["asset.registered", "asset.copied", "asset.dropped"]


def test_another_asset_in_the_same_place_takes_it(catalogue: Catalogue) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        catalogue.put(make_manifest("data", name, [a_file(name)]))
    catalogue.place("data_a", home("data/x"))

    catalogue.place("data_b", home("data/x"))

    assert catalogue.locations("data_a") == []
    assert [one.path for one in catalogue.locations("data_b")] == ["data/x"]


def test_pages_hold_every_asset_once(catalogue: Catalogue) -> None:
    for number in range(25):
        catalogue.put(make_manifest("data", f"n{number}.jsonl", [a_file(f"n{number}.jsonl")]))
        catalogue.put(checkpoint(f"checkpoint-{number}"))

    def walk(kind: str | None) -> list[str]:
        seen, after = [], None
        while True:
            page = catalogue.page(kind, after, limit=7)
            seen += [asset.id for asset in page.rows]
            if page.next is None:
                return seen
            after = page.next

    assert walk("data") == [f"data_n{number}" for number in reversed(range(25))]
    assert sorted(walk(None)) == sorted(walk("data") + walk("checkpoint"))


def test_search_finds_words_and_beginnings(catalogue: Catalogue) -> None:
    catalogue.put(make_manifest("data", "train_syllo_abc.jsonl", [a_file("train_syllo_abc.jsonl")]), meta={"skill": "sy"})
    catalogue.put(checkpoint(), meta={"hero": "DIO"})

    def found(text: str, kind: str | None = None) -> list[str]:
        return [asset.id for asset in catalogue.search(text, kind).rows]

    assert found("syl abc") == ["data_train_syllo_abc"] == found("sy", "data")
    assert found("dio") == ["checkpoint_175000"] == found("17500")
    assert found("syllo", "checkpoint") == []
    assert len(found("")) == 2
    for odd in ("a OR b", "id:x", "NEAR(a b)", "'; DROP TABLE assets"):
        assert found(odd) == []
    with pytest.raises(BadInput):
        found('"')


def test_unknown_names_are_errors(catalogue: Catalogue) -> None:
    catalogue.put(checkpoint())
    with pytest.raises(Unknown, match="checkpoint_175000"):
        catalogue.get("checkpoint_175001")
    for wrong in ("../etc/passwd", "checkpoint_1/..", "CHECKPOINT_1"):
        with pytest.raises(BadInput):
            catalogue.get(wrong)
    with pytest.raises(Unknown):
        catalogue.get("weights_1")
    with pytest.raises(Unknown):
        catalogue.page("weights")
    with pytest.raises(BadInput):
        catalogue.page(limit=0)


def test_a_change_joins_the_callers_transaction(catalogue: Catalogue) -> None:
    def cut_short() -> None:
        with transaction(catalogue.connection):
            catalogue.put(checkpoint())
            catalogue.place("checkpoint_175000", home())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cut_short()
    assert catalogue.find("checkpoint_175000") is None
    assert kinds(catalogue) == []


def test_stats_and_the_contents_of_a_stronghold(catalogue: Catalogue, tmp_path) -> None:
    catalogue.put(checkpoint())
    catalogue.place("checkpoint_175000", home())
    catalogue.place("checkpoint_175000", NAS)
    with closing(read_facts(Paths(tmp_path))) as facts:
        reader = Catalogue(facts)
        stats = reader.stats()
        assert [one.asset_id for one in reader.held("cellar", "nas1")] == ["checkpoint_175000"]
        assert reader.held("cellar", "nas1", after=CHECKPOINT) == []
        with pytest.raises(sqlite3.OperationalError):
            reader.put(checkpoint("checkpoint-1"))
    assert (stats["assets"], stats["bytes"], stats["types"]["checkpoint"]["count"], stats["without_copy"]) == (1, 9, 1, 0)
    assert stats["copies"]["nas"] == {"present": 1, "quarantined": 0, "missing": 0}


def test_file_types_have_their_own_file() -> None:
    assert sorted(FILE_TYPES) == ["config", "data"]
    with pytest.raises(BadInput):
        make_manifest("data", "a.jsonl", [a_file("b.jsonl")])
