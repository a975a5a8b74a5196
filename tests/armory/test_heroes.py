"""Base heroes of a home: which is active, and what is not one."""

from __future__ import annotations

import json
import shutil

import pytest
from quest_files import configure

from realm.armory.heroes import active_config, active_hero, active_preset, list_heroes, load_template, read_hero
from realm.core.errors import BadInput, Corrupt, Unknown
from realm.core.paths import Paths


def test_the_active_hero(home: Paths) -> None:
    hero = active_hero(home)
    assert (hero.id, hero.name, hero.preset, hero.mantra) == ("dio", "DIO", "small", None)
    assert active_config(home).config.training.batch_size == 4
    assert load_template(hero).pad_id >= 0


def test_an_unknown_hero_is_an_error_that_lists_the_known(home: Paths) -> None:
    configure(home, hero="zorro")
    with pytest.raises(Unknown, match=r"zorro.*known: dio"):
        active_hero(home)


def test_the_preset_of_the_day_of_its_making_holds(home: Paths) -> None:
    (home.user_heroes / "small.yaml").unlink()
    assert active_preset(home).training.batch_size == 4


def test_a_half_made_hero_is_none(home: Paths) -> None:
    """A crash while a hero is made leaves a hidden folder that may hold a hero.json already."""
    shutil.copytree(home.models / "dio", home.models / ".mia.1.0123abcd.incoming")
    assert [hero.folder.name for hero in list_heroes(home)] == ["dio"]


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'"x"', b"\xff", b'{"id": "x"}'])
def test_a_damaged_hero_says_so(home: Paths, data: bytes) -> None:
    (home.models / "dio" / "hero.json").write_bytes(data)
    with pytest.raises(Corrupt, match="dio is not a hero"):
        read_hero(home.models / "dio")


def test_a_hero_without_tokenizer(home: Paths) -> None:
    (home.models / "dio" / "tokenizer.json").unlink()
    with pytest.raises(BadInput, match="tokenizer"):
        load_template(active_hero(home))


def test_a_home_without_config(home: Paths) -> None:
    home.config.unlink()
    with pytest.raises(BadInput, match="config"):
        active_hero(home)
    assert json.loads((home.models / "dio" / "hero.json").read_text())["id"] == "dio"
