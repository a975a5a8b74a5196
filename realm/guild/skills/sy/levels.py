"""The fifty levels of SY as data: fifteen dials a row, one or two notches from each level to the next.

`new` names the dials that move: W words, syl syllables a word, R rarest SCOWL band, CL clue, PO position on tile labels,
ORD order of the bank, SC syllable counts, LC letter counts, FL first letters, HR herrings, HT their type, OV overlap, AC
acrostic, DC decoy clue, MT blank tiles. What is new at a level shows in each of its puzzles (see `draw.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST, LAST = 1, 50
STYLES = ("brief", "unseen")
# Styles of other skills: one mix serves all skills of a hero, so they are known here and take no part.
FOREIGN_STYLES = ("verify", "show-work", "trace", "lsb", "fixed")

_COLUMNS = (
    "level", "words", "syl", "band", "clue", "label", "order", "counts", "letters", "first", "herrings", "overlap",
    "acrostic", "decoys", "blanks", "new",
)  # fmt: skip
_TABLE = """
1  2  2   10 c0    p2 in-order all   y y 0      0.00 shown 0 0 start
2  2  2   10 c0    p2 shuffled all   y y 0      0.00 shown 0 0 ORD
3  3  2   10 c0    p2 shuffled all   y y 0      0.00 shown 0 0 W
4  3  2   10 c0    p1 shuffled all   y y 0      0.00 shown 0 0 PO
5  3  2   20 c0    p1 shuffled all   y y 0      0.00 shown 0 0 R
6  4  2   20 c0    p1 shuffled all   y y 0      0.00 shown 0 0 W
7  4  2   20 c0    p0 shuffled all   y y 0      0.00 shown 0 0 PO
8  4  2-3 20 c0    p0 shuffled all   y y 0      0.00 shown 0 0 syl
9  4  2-3 20 c1    p0 shuffled all   y y 0      0.00 shown 0 0 CL
10 4  2-3 35 c1    p0 shuffled all   y y 0      0.00 shown 0 0 R
11 4  2-3 35 c1    p0 shuffled all   y n 0      0.00 shown 0 0 FL
12 5  2-3 35 c1    p0 shuffled all   y n 0      0.00 shown 0 0 W
13 5  2-3 35 c1    p0 shuffled all   y n 1:rnd  0.00 shown 0 0 HR,HT
14 5  2-3 35 c1    p0 shuffled all   n n 1:rnd  0.00 shown 0 0 LC
15 5  2-3 35 c1    p0 shuffled all   n n 1:rnd  0.00 half  0 0 AC
16 5  2-4 35 c1    p0 shuffled all   n n 1:rnd  0.00 half  0 0 syl
17 5  2-4 35 c2    p0 shuffled all   n n 1:rnd  0.00 half  0 0 CL
18 5  2-4 35 c2    p0 shuffled all   n n 2:rnd  0.00 half  0 0 HR
19 5  2-4 40 c2    p0 shuffled all   n n 2:rnd  0.00 half  0 0 R
20 5  2-4 40 c2    p0 shuffled all   n n 2:rnd  0.05 half  0 0 OV
21 5  2-4 40 c2/c3 p0 shuffled all   n n 2:rnd  0.05 half  0 0 CL
22 6  2-4 40 c2/c3 p0 shuffled all   n n 2:rnd  0.05 half  0 0 W
23 6  2-4 40 c2/c3 p0 shuffled all   n n 3:rnd  0.05 half  0 0 HR
24 6  2-4 40 c2/c3 p0 shuffled all   n n 3:half 0.05 half  0 0 HT
25 6  2-4 40 c2/c3 p0 shuffled all   n n 3:half 0.05 asked 0 0 AC
26 6  3-4 40 c2/c3 p0 shuffled all   n n 3:half 0.05 asked 0 0 syl
27 6  3-4 40 c3    p0 shuffled all   n n 3:half 0.05 asked 0 0 CL
28 6  3-4 40 c3    p0 shuffled all   n n 3:half 0.10 asked 0 0 OV
29 6  3-4 50 c3    p0 shuffled all   n n 3:half 0.10 asked 0 0 R
30 6  3-4 50 c3    p0 shuffled half  n n 3:half 0.10 asked 0 0 SC
31 6  3-4 50 c3    p0 shuffled half  n n 4:half 0.10 asked 0 0 HR
32 7  3-4 50 c3    p0 shuffled half  n n 4:half 0.10 asked 0 0 W
33 7  3-4 50 c3    p0 shuffled half  n n 4:near 0.10 asked 0 0 HT
34 7  3-4 50 c3    p0 shuffled total n n 4:near 0.10 asked 0 0 SC
35 7  3-4 50 c3/c4 p0 shuffled total n n 4:near 0.10 asked 0 0 CL
36 7  3-4 50 c3/c4 p0 shuffled total n n 4:near 0.15 asked 0 0 OV
37 7  3-5 50 c3/c4 p0 shuffled total n n 4:near 0.15 asked 0 0 syl
38 8  3-5 50 c3/c4 p0 shuffled total n n 4:near 0.15 asked 0 0 W
39 8  3-5 50 c3/c4 p0 shuffled total n n 4:near 0.15 asked 1 0 DC
40 8  3-5 55 c3/c4 p0 shuffled total n n 4:near 0.15 asked 1 0 R
41 8  3-5 55 c4    p0 shuffled total n n 4:near 0.15 asked 1 0 CL
42 8  3-5 55 c4    p0 shuffled total n n 6:near 0.15 asked 1 0 HR
43 8  3-5 55 c4    p0 shuffled total n n 6:near 0.20 asked 1 0 OV
44 8  3-5 55 c4    p0 shuffled total n n 6:near 0.20 asked 1 1 MT
45 9  3-5 55 c4    p0 shuffled total n n 6:near 0.20 asked 1 1 W
46 9  3-5 55 c4/c5 p0 shuffled total n n 6:near 0.20 asked 1 1 CL
47 9  3-5 60 c4/c5 p0 shuffled total n n 6:near 0.20 asked 1 1 R
48 9  3-5 60 c4/c5 p0 shuffled total n n 8:near 0.20 asked 1 1 HR
49 9  3-5 60 c4/c5 p0 shuffled total n n 8:near 0.20 asked 1 2 MT
50 10 3-5 60 c5    p0 shuffled total n n 8:near 0.20 asked 1 2 W,CL
"""
_NEAR_SHARE = {"rnd": 0.0, "half": 0.5, "near": 1.0, "": 0.0}
_NEAR_NAMES = {"rnd": "random", "half": "half near-miss", "near": "near-miss", "": "no"}
_LABEL_NAMES = {"p2": "clue and place", "p1": "their clue alone", "p0": "nothing"}
_TITLES = {
    "start": "two words, every tile labelled", "ORD": "bank shuffled", "W": "{words} words",
    "PO": "tiles labelled with {label}", "R": "words up to SCOWL {band}", "syl": "{syl} syllables a word", "CL": "clues {clue}",
    "FL": "first letters not told", "HR": "herrings: {herrings}", "HT": "{near} herrings", "LC": "letter counts not told",
    "AC": "acrostic {acrostic}", "OV": "overlap {overlap}", "SC": "syllable counts: {counts}", "DC": "a decoy clue",
    "MT": "blank tiles: {blanks}",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Level:
    """One row: `syllables` and `rungs` are all that occur, lowest first; `near` is the share of near-miss herrings."""

    level: int
    words: int
    syllables: tuple[int, ...]
    band: int
    band_before: int
    rungs: tuple[int, ...]
    label: str
    shuffled: bool
    counts: str
    letters: bool
    first_letter: bool
    herrings: int
    near: float
    overlap: float
    acrostic: str
    decoys: int
    blanks: int
    new: tuple[str, ...]
    title: str


def _row(line: str, band_before: int) -> Level:
    cells = dict(zip(_COLUMNS, line.split(), strict=True))
    herrings, _, kind = cells["herrings"].partition(":")
    ends = [int(end) for end in cells["syl"].split("-")]
    new = tuple(cells["new"].split(","))
    told = {**cells, "herrings": herrings, "near": _NEAR_NAMES[kind], "label": _LABEL_NAMES[cells["label"]]}
    return Level(
        level=int(cells["level"]), words=int(cells["words"]), syllables=tuple(range(ends[0], ends[-1] + 1)),
        band=int(cells["band"]), band_before=band_before, rungs=tuple(int(rung[1]) for rung in cells["clue"].split("/")),
        label=cells["label"], shuffled=cells["order"] == "shuffled", counts=cells["counts"], letters=cells["letters"] == "y",
        first_letter=cells["first"] == "y", herrings=int(herrings), near=_NEAR_SHARE[kind],
        overlap=float(cells["overlap"]), acrostic=cells["acrostic"], decoys=int(cells["decoys"]),
        blanks=int(cells["blanks"]), new=new, title=", ".join(_TITLES[dial].format(**told) for dial in new),
    )  # fmt: skip


def _build() -> dict[int, Level]:
    table: dict[int, Level] = {}
    band = 0
    for line in _TABLE.strip().split("\n"):
        row = _row(line, band)
        table[row.level] = row
        band = row.band
    return table


LEVELS: dict[int, Level] = _build()
