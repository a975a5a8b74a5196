"""The word table is the one that was built, and each of its rows keeps the rules of the recipe."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from random import Random

import pytest

from realm.core.errors import Corrupt
from realm.guild.skills.sy import words as table
from realm.guild.skills.sy.leaks import fragments, leaks
from realm.guild.skills.sy.words import POS_NAMES, all_words, first_clause, formable, shipped_text, spellable
from scripts.build_sy_words import BANDS, COLUMNS, digests

SAMPLE = Random(500).sample(all_words(), 500)
# Split by hand, to see that the table's splits are syllables.
KNOWN = {"minister": "min+is+ter", "inheritance": "in+her+i+tance", "rapture": "rap+ture", "paper": "pa+per"}


def test_the_files_have_the_digests_of_the_build() -> None:
    texts = {name: shipped_text(name) for name in ("words.tsv", "acrostics.txt")}
    assert digests(texts) == shipped_text("words.sha256")
    for line in shipped_text("words.sha256").splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256(texts[name].encode()).hexdigest() == digest
    assert tuple(texts["words.tsv"].split("\n", 1)[0].split("\t")) == COLUMNS


def test_counts() -> None:
    found = all_words()
    assert len(found) == 12_372
    assert [word.text for word in found] == sorted({word.text for word in found})
    assert Counter(len(word.tiles) for word in found if word.band <= 35) == {2: 4650, 3: 2584, 4: 1237, 5: 396}
    assert len(shipped_text("acrostics.txt").split()) == 33_097


@pytest.mark.parametrize("word", SAMPLE, ids=lambda word: word.text)
def test_a_row_keeps_the_recipe(word: table.Word) -> None:
    assert re.fullmatch("[a-z]{4,16}", word.text)
    assert "".join(word.tiles) == word.text
    assert 2 <= len(word.tiles) <= 5
    assert word.band in BANDS
    assert word.pos in POS_NAMES
    assert 8 <= len(word.gloss) <= 80
    assert not word.gloss.startswith("(")
    assert word.synsets[0][0] == word.pos
    assert all(re.fullmatch(r"[nvar]\d+", synset) for synset in word.synsets)
    for clue in (word.gloss, word.synonym, word.hypernym, word.grand):
        assert not leaks(clue, word.text, word.tiles)
        assert word.text not in clue.lower()
    for rung in range(6):
        assert not word.clue(rung) or word.fits(word.clue(rung))


def test_no_two_words_have_the_same_tiles() -> None:
    assert max(Counter(tuple(sorted(word.tiles)) for word in all_words()).values()) == 1


def test_known_splits() -> None:
    by_text = table.by_text()
    assert {text: "+".join(by_text[text].tiles) for text in KNOWN if text in by_text} == KNOWN


def test_leaks() -> None:
    assert fragments("rapture", ("rap", "ture")) == ("rapt", "ture")
    assert leaks("a raptor", "rapture", ("rap", "ture"))
    assert leaks("In nature", "rapture", ("rap", "ture"))
    assert not leaks("a wrap of joy", "rapture", ("rap", "ture"))


def test_first_clause() -> None:
    assert first_clause("a young person, not fully developed") == "a young person"
    assert first_clause("a cream that helps") == "a cream"
    assert first_clause("things; and more") == "things; and more", "one word tells nothing"
    assert first_clause("the color of grass") == "the color of grass"


def test_looking_words_up() -> None:
    found = {word.text for word in formable(Counter(["rap", "ture", "pa", "per", "per"]))}
    assert {"rapture", "paper"} <= found
    assert all(set(table.by_text()[text].tiles) <= {"rap", "ture", "pa", "per"} for text in found)
    assert "papa" not in found
    assert spellable("r_v_r", Counter("rriverx")) == ["river"]
    assert spellable("_____", Counter("rivex")) == []


def test_a_broken_row_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "shipped_text", lambda name: "word\ttiles\nrapture\trap+tur\n")
    with pytest.raises(Corrupt, match=r"words\.tsv:2"):
        table.all_words.__wrapped__()
