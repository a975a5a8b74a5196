"""Making a right answer wrong in one place: a digit, two tiles, two neighbouring signs. The skill's grader has the last word."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence

from realm.guild.skill_client import Sample, SkillSource
from realm.guild.sparring_rows import Fresh

_DIGIT_NAMES = re.compile(r"(\S)=⓪, (\S)=①")
_TILES = re.compile(r"^(\d+\. )(\S+(?:\+\S+)+)( = )(\S+)$", re.M)
ROUNDS = 6


def distance(one: str, other: str, most: int = 64) -> int:
    """Return the edit distance of two texts; where more than `most` signs differ, the length of the differing part."""
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    end = 0
    while end < min(len(one), len(other)) - start and one[-1 - end] == other[-1 - end]:
        end += 1
    one, other = one[start : len(one) - end], other[start : len(other) - end]
    if not one or not other or max(len(one), len(other)) > most:
        return max(len(one), len(other))
    costs = list(range(len(other) + 1))
    for row, sign in enumerate(one, 1):
        before, costs[0] = costs[0], row
        for column, beside in enumerate(other, 1):
            before, costs[column] = (
                costs[column],
                min(costs[column] + 1, costs[column - 1] + 1, before + (sign != beside)),
            )
    return costs[-1]


def _digits(prompt: str, value: str) -> tuple[str, str] | None:
    """Return the signs for zero and one in which a value is written, None when it is no such number."""
    pairs = [("⓪", "①"), *((found[1], found[2]) for found in _DIGIT_NAMES.finditer(prompt))]
    return next((pair for pair in pairs if value and set(value) <= set(pair)), None)


def _flip(prompt: str, golden: str, rng: random.Random) -> str | None:
    """Change one digit of the value after the last `=`; a number without leading zeros gets none."""
    cut = golden.rfind("=") + 1
    value = golden[cut:].strip()
    pair = _digits(prompt, value)
    if pair is None and not (value.isascii() and value.isdigit()):
        return None
    zero = pair[0] if pair else "0"
    first = 1 if len(value) > 1 and value[0] != zero else 0
    place = rng.randrange(first, len(value))
    other = pair[pair[0] == value[place]] if pair else rng.choice([d for d in "123456789" if d != value[place]])
    at = golden.rindex(value)
    return golden[: at + place] + other + golden[at + place + 1 :]


def _swap_tiles(golden: str, rng: random.Random) -> str | None:
    """Exchange two tiles of one word."""
    lines = [found for found in _TILES.finditer(golden) if len(set(found[2].split("+"))) > 1]
    if not lines:
        return None
    line = rng.choice(lines)
    tiles = line[2].split("+")
    first = rng.randrange(len(tiles))
    second = rng.choice([place for place, tile in enumerate(tiles) if tile != tiles[first]])
    tiles[first], tiles[second] = tiles[second], tiles[first]
    return f"{golden[: line.start()]}{line[1]}{'+'.join(tiles)}{line[3]}{''.join(tiles).upper()}{golden[line.end() :]}"


def _swap_signs(golden: str, rng: random.Random) -> str | None:
    """Exchange two different neighbouring letters or digits, in the last line that has such a pair."""
    places = [at for at in range(len(golden) - 1)
              if golden[at] != golden[at + 1] and golden[at].isalnum() and golden[at + 1].isalnum()]  # fmt: skip
    if not places:
        return None
    line = golden.rfind("\n", 0, places[-1]) + 1
    at = rng.choice([place for place in places if place >= line])
    return golden[:at] + golden[at + 1] + golden[at] + golden[at + 2 :]


def corruptions(prompt: str, golden: str, rng: random.Random) -> Iterator[str]:
    """Yield wrong versions of an answer, the least conspicuous kind first; none may really be wrong for every skill."""
    for made in (_flip(prompt, golden, rng), _swap_tiles(golden, rng), _swap_signs(golden, rng)):
        if made is not None and made != golden:
            yield made


def corrupt(source: SkillSource, items: Sequence[Sample], seed: int, count: int) -> list[Fresh]:
    """Return up to `count` of the problems with an answer that the skill's grader finds wrong; the golden one is right."""
    made: dict[int, str] = {}
    golden = source.grade(items, [str(item["assistant_response"]) for item in items]) if items else []
    good = [place for place, grade in enumerate(golden) if grade.correct]
    for turn in range(ROUNDS):
        left = [place for place in good if place not in made]
        offers = [(place, offer) for place in left if (offer := _offer(items[place], seed, turn, place)) is not None]
        if not offers or len(made) >= count:
            break
        grades = source.grade([items[place] for place, _ in offers], [text for _, text in offers])
        for (place, text), grade in zip(offers, grades, strict=True):
            if not grade.correct and grade.error is None:
                made[place] = text
    return [Fresh(items[place], made[place]) for place in sorted(made)][:count]


def _offer(item: Sample, seed: int, turn: int, place: int) -> str | None:
    """Return the candidate of a round: the first kind twice, then the next ones in turn."""
    rng = random.Random(f"{seed}|{turn}|{place}")
    offers = list(corruptions(str(item["user_prompt"]), str(item["assistant_response"]), rng))
    return offers[(turn // 2) % len(offers)] if offers else None
