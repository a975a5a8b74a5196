from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from asset_kit import fill, flip, make_checkpoint

from realm.cli import run
from realm.core.paths import Paths

NAME = "checkpoint-50-20260101-0000"


@pytest.fixture
def paths(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    found = Paths(tmp_path / "home").ensure()
    fill(found)
    monkeypatch.setenv("REALM_HOME", str(found.home))
    return found


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert run(["vault", *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_scan_list_search_show_locate_stats(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(told(capsys, "scan")["registered"]) == 7
    assert told(capsys, "scan")["unchanged"] == 7
    first = told(capsys, "list", "--type", "checkpoint", "--limit", "1")
    second = told(capsys, "list", "--type", "checkpoint", "--limit", "1", "--after", str(first["next"]))
    assert [page["rows"][0]["id"] for page in (first, second)] == ["checkpoint_100", "checkpoint_50"]
    assert [row["id"] for row in told(capsys, "search", "syllo", "abc")["rows"]] == ["data_train_syllo_abc"]
    shown = told(capsys, "show", "checkpoint_50")
    assert {file["path"] for file in shown["files"]} >= {"model.safetensors", "manifest.json"}
    assert told(capsys, "locate", "checkpoint_50")["locations"][0]["path"].endswith(NAME)
    assert told(capsys, "stats")["types"]["checkpoint"]["count"] == 2


def test_the_same_for_people(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["scan"], ["list"], ["search", "bin"], ["show", "checkpoint_50"], ["locate", "checkpoint_50"],
                  ["verify", "checkpoint_50", "config_config"], ["scrub", "--all"], ["drill"], ["stats"]):  # fmt: skip
        assert run(["vault", *words]) == 0, words
        assert capsys.readouterr().out.strip(), words


def test_wrong_words_are_told(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    run(["vault", "scan"])
    for words in (["show", "checkpoint_51"], ["locate", "checkpoint_51"], ["locate", "../etc/passwd"], ["list", "--type", "x"],
                  ["verify", "model_nobody"], ["fetch", "checkpoint_51"], ["list", "--limit", "0"]):  # fmt: skip
        capsys.readouterr()
        assert run(["vault", *words]) == 2, words
        assert capsys.readouterr().err.strip(), words


def test_verify_and_scrub_heal_or_quarantine(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    run(["vault", "scan"])
    flip(paths.current_model / NAME / "tokenizer.json", 9, quietly=True)
    healed = told(capsys, "verify", "checkpoint_50")["healed"]
    assert healed == {name: ["tokenizer.json"] for name in ("checkpoint_50", "checkpoint_100")}  # they share the file
    flip(paths.current_model / NAME / "model.safetensors", 9, quietly=True)
    assert told(capsys, "scrub", "--all", code=6)["lost"] == {"checkpoint_50": ["model.safetensors"]}
    assert run(["vault", "fetch", "checkpoint_50"]) == 5
    flip(make_checkpoint(paths, 150) / "config.json", 2)
    assert told(capsys, "scan", code=6)["damaged"] == ["checkpoint_150"]


def test_fetch_prints_a_verified_path(paths: Paths, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run(["vault", "scan"])
    assert told(capsys, "fetch", "checkpoint_50")["path"] == str(paths.current_model / NAME)
    assert told(capsys, "fetch", "checkpoint_50", str(tmp_path / "copy"))["path"] == str(tmp_path / "copy")
    assert run(["vault", "fetch", "checkpoint_50", str(tmp_path / "copy")]) == 3
