"""The word table is the one that was built, and each of its rows keeps the rules of the recipe."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from realm.core.errors import Corrupt
from realm.guild.skills.sy import words as table
from realm.guild.skills.sy.leaks import fragments, leaks
from realm.guild.skills.sy.words import POS_NAMES, all_words, first_clause, formable, shipped_text, spellable
from scripts.build_sy_words import BANDS, COLUMNS, TARGET, build, digests, main, read_sources

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


def test_rows_keep_the_recipe() -> None:
    for word in SAMPLE:
        _check(word)


def _check(word: table.Word) -> None:
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


# Three synsets in WordNet's file format: a joy, its hypernym, and a word that its definition gives away.
NOUNS = """  1 The licence stands here.
00000100 12 n 02 rapture 0 exaltation 0 001 @ 00000200 n 0000 | a state of being carried away by joy; "he was in rapture"
00000200 12 n 01 feeling 0 000 | (psychology) experiencing of affective and emotional states
00000300 03 n 01 hello_there 0 000 | an expression
00000400 06 n 01 paper 0 000 | a paperlike thing
"""
INDEX = """  1 The licence stands here.
exaltation n 1 0 1 1 00000100
feeling n 1 1 @ 1 1 00000200
paper n 1 0 1 0 00000400
rapture n 1 1 @ 1 1 00000100
"""
SPLITS = {
    "rapture": ["rap", "ture"],
    "feeling": ["feel", "ing"],
    "paper": ["pa", "per"],
    "exaltation": ["ex", "altation"],
}


def test_the_build_on_small_sources(tmp_path: Path) -> None:
    wordnet, scowl, cmu = (tmp_path / name for name in ("usr/share/wordnet", "usr/share/dict/scowl", "cmu/package"))
    for folder in (wordnet, scowl, cmu):
        folder.mkdir(parents=True)
    for kind in ("noun", "verb", "adj", "adv"):
        (wordnet / f"data.{kind}").write_text(NOUNS if kind == "noun" else "")
        (wordnet / f"index.{kind}").write_text(INDEX if kind == "noun" else "")
    (wordnet / "cntlist.rev").write_text("rapture%1:12:00:: 1 3\n")
    for band in BANDS:
        for kind in ("english", "american"):
            (scowl / f"{kind}-words.{band}").write_text(
                "rapture\nin\nbrr\n" if band == 35 else "feeling\nrapture\npaper\n" if band == 50 else ""
            )
    sounds = {
        "rapture": "R AE1 P CH ER0",
        "feeling": "F IY1 L IH0 NG",
        "paper": "P EY1 P ER0",
        "exaltation": "EH2 G Z AO0 T EY1",
    }
    (cmu / "index.js").write_text("".join(f'  "{word}": "{sound}",\n' for word, sound in sounds.items()))

    texts, told = build(read_sources(tmp_path), lambda word: SPLITS[word])

    rows = texts["words.tsv"].splitlines()
    assert rows[1:] == [
        "feeling\tfeel+ing\t50\tn\texperiencing of affective and emotional states\tn200\t\t\t\tfeeling",
        "rapture\trap+ture\t35\tn\ta state of being carried away by joy\tn100\texaltation\tfeeling\t\tfeeling",
    ]
    assert texts["acrostics.txt"] == "in\nrapture\n", "no vowel, no acrostic; band 50 is too rare"
    assert told["with a short leak-free gloss"] == 2


@pytest.mark.slow
@pytest.mark.skipif("SY_WORD_SOURCES" not in os.environ, reason="SY_WORD_SOURCES names no folder of word sources")
def test_the_whole_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample above needs no sources; this one rebuilds all of it, see scripts/build_sy_words.py."""
    monkeypatch.setattr(sys, "argv", ["build_sy_words", os.environ["SY_WORD_SOURCES"], "--check"])
    assert (TARGET / "words.tsv").is_file()
    assert main() == 0
