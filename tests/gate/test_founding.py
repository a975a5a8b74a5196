"""Making a hero: complete or not at all, the same from the same seed, and an interrupted start goes on."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from quest_files import leftovers

from realm import cli
from realm.core import durable, manifest
from realm.core.errors import BadInput, Conflict, Unknown
from realm.core.paths import Paths
from realm.gate import Realm, founding
from realm.gate.founding import create_default, create_hero, default_preset


@pytest.fixture(autouse=True)
def _few_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(founding, "TEXT_LEVELS", {"bin": range(1, 3)})
    monkeypatch.setattr(founding, "TEXTS_PER_LEVEL", 60)
    monkeypatch.setattr(founding, "gpu_present", lambda: False)


@pytest.fixture
def bare(empty_home: Paths, small_home: Path) -> Paths:
    """A home that knows the small preset and has no hero."""
    empty_home.user_heroes.mkdir(parents=True)
    (empty_home.user_heroes / "small.yaml").write_bytes((small_home / "configs" / "heroes" / "small.yaml").read_bytes())
    return empty_home


def make(paths: Paths, hero_id: str = "dio", seed: int = 0) -> Any:
    return create_hero(paths, "small", hero_id, name=None, seed=seed)


def test_a_hero_has_a_manifest_and_the_first_one_a_configuration(bare: Paths) -> None:
    hero = make(bare, seed=7)
    told = manifest.verify(hero.folder)
    assert (told["step"], told["canonical_name"]) == (0, "dio")
    config = json.loads(bare.config.read_text())
    assert (config["hero"], config["base_model"], config["seed"]) == ("dio", "models/dio", 7)
    assert "parameters" in hero.model
    make(bare, "mia")
    assert json.loads(bare.config.read_text()) == config
    assert leftovers(bare) == []


def test_the_same_seed_gives_the_same_weights(bare: Paths) -> None:
    weights = {name: hashlib.sha256((make(bare, name, seed).folder / manifest.WEIGHTS).read_bytes()).hexdigest()
               for name, seed in (("a", 1), ("b", 1), ("c", 2))}  # fmt: skip
    assert weights["a"] == weights["b"] != weights["c"]


def test_an_id_is_taken_once(bare: Paths) -> None:
    make(bare)
    before = (bare.models / "dio" / manifest.WEIGHTS).read_bytes()
    for taken in ("dio", "current_model"):
        with pytest.raises(Conflict, match="already"):
            make(bare, taken, seed=3)
    assert (bare.models / "dio" / manifest.WEIGHTS).read_bytes() == before


@pytest.mark.parametrize("bad", ["../x", "", "A", ".hidden", "x/y", "a\n"])
def test_an_id_that_could_be_a_path(bare: Paths, bad: str) -> None:
    with pytest.raises(BadInput, match="not an id"):
        make(bare, bad)
    assert [p.name for p in bare.models.iterdir()] == ["current_model"]


def test_an_unknown_preset(bare: Paths) -> None:
    with pytest.raises(Unknown, match="dragon"):
        create_hero(bare, "dragon", "dio", name=None, seed=0)


@pytest.mark.parametrize("moment", ["write_json", "commit_dir"])
def test_a_failure_leaves_no_hero(bare: Paths, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: Any, **__: Any) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(durable, moment, die)
        with pytest.raises(OSError, match="Input/output"):
            make(bare)
    assert [p.name for p in bare.models.iterdir()] == ["current_model"]
    assert not bare.config.exists()
    make(bare)


def test_a_start_interrupted_before_the_configuration_goes_on(bare: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(founding, "default_preset", lambda: "small")
    with monkeypatch.context() as patch:
        patch.setattr(founding, "choose_hero", die)
        with pytest.raises(KeyboardInterrupt):
            create_default(bare, 4)
    assert not bare.config.exists()
    hero, made = create_default(bare, 4)
    assert (hero.id, made) == ("dio", False)
    assert json.loads(bare.config.read_text())["hero"] == "dio"
    assert create_default(bare, 4)[1] is False


def test_a_lost_configuration_of_a_trained_home_is_not_guessed(bare: Paths) -> None:
    make(bare)
    bare.config.rename(bare.home / "config.previous.json")
    with pytest.raises(BadInput, match="restore"):
        create_default(bare, 0)


def test_the_first_preset_follows_the_machine() -> None:
    assert (default_preset(lambda: True), default_preset(lambda: False)) == ("dio", "tiny")


def test_realm_builds_its_places_on_first_use(home: Paths) -> None:
    realm = Realm(home)
    assert realm.hero().id == "dio"
    assert realm.watchtower is realm.watchtower
    assert realm.seed() == 0


@pytest.mark.parametrize(("arguments", "code", "says"), [
    (["hero", "show", "nobody"], 2, "nobody"),
    (["hero", "create", "--preset", "dragon", "--id", "x"], 2, "dragon"),
    (["hero", "create", "--preset", "small"], 3, "already"),
    (["quests", "delete", "nobody"], 2, "nobody"),
    (["quests", "retry", "01m81kyem4tvraem8h33n4fn96"], 2, "01m81kyem4tvraem8h33n4fn96"),
    (["nonsense"], 2, "nonsense"),
    (["arena", "train", "--max-steps", "0"], 2, "max-steps"),
])  # fmt: skip
def test_errors_of_the_command_line(
    home: Paths, arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([*arguments, "--home", str(home.home)] if arguments != ["nonsense"] else arguments) == code
    told = capsys.readouterr().err
    assert says in told
    assert "Traceback" not in told


def test_a_seed_that_is_none_is_said(home: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("REALM_SEED", "many")
    assert cli.run(["hero", "create", "--default", "--home", str(home.home)]) == 2
    assert "REALM_SEED" in capsys.readouterr().err


def test_orders_and_the_board_from_the_command_line(home: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from quest_files import write_quest

    from realm.arena.control import Orders, read_orders

    at = ["--home", str(home.home)]
    assert cli.run(["arena", "pause", *at]) == 0
    assert read_orders(home) == Orders(pause=True)
    assert cli.run(["arena", "resume", *at]) == 0
    assert read_orders(home) == Orders()
    capsys.readouterr()
    assert cli.run(["quests", "add", str(write_quest(tmp_path / "x.jsonl", 3)), "--priority", "low", *at]) == 0
    quest = capsys.readouterr().out.strip()
    assert cli.run(["quests", "set-priority", quest, "high", *at]) == 0
    assert cli.run(["quests", "list", "--json", *at]) == 0
    listed = json.loads(capsys.readouterr().out.split("\n", 1)[1])
    assert [(row["id"], row["priority"]) for row in listed["rows"]] == [(quest, "high")]
    (tmp_path / "bad.jsonl").write_text("bad")
    assert cli.run(["quests", "add", str(tmp_path / "bad.jsonl"), *at]) == 2
    assert "row 1" in capsys.readouterr().err
    assert leftovers(home) == []
    assert os.environ["REALM_HOME"] == str(home.home)


def test_help_of_every_place_comes_without_torch() -> None:
    import subprocess
    import sys

    code = "import sys; from realm.cli import run; run(['--help']); print('torch' in sys.modules, 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False False")
    assert CliRunner is not None
