"""Rows of sparring: what the hero is shown, what it has to say, and how right and wrong proposals are balanced.

Types 1 to 3 are made for every wrong answer that is used; 4 to 7 are the balance pack, without which the hero would
learn that whatever it wrote itself is wrong. All verdicts are asked in the same words, so the frame tells nothing.
Type 8 are plain problems of the level beside them: a hero that trains nothing but verdicts and corrections solves worse.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from realm.guild.skill_client import Sample

Balance = Literal["full", "seed_only"]
CORRECT, INCORRECT = "correct", "incorrect"
VERDICTS = {CORRECT: "It is correct.", INCORRECT: "It is incorrect."}

VERDICT_TYPES = (1, 3, 4, 5)
SOLUTION_TYPES = (2, 6, 7, 8)
_QUESTIONS = {
    **dict.fromkeys(VERDICT_TYPES, "Is this correct?"),
    2: "This is incorrect. Find the correct solution.",
    7: "Check and give the final solution.",
}

# Wrong answers for each own right one, at most: a hero's own rows stay within 40 to 60 % of either label.
MOST_WRONG = 1.4
LENGTHS_WITHIN = 0.10
_PROBLEM = ("id", "skill", "level", "version", "user_prompt", "assistant_response", "key", "tags")


@dataclass(frozen=True)
class Try:
    """One problem and what the hero made of it: its right answer, and the wrong one nearest to the golden answer."""

    item: Sample
    right: str | None = None
    wrong: str | None = None
    distance: int = 0


@dataclass(frozen=True)
class Fresh:
    """A problem that the hero was not asked, with its golden answer and the same answer made wrong in one place."""

    item: Sample
    corrupted: str

    @property
    def golden(self) -> str:
        return str(self.item["assistant_response"])


@dataclass(frozen=True)
class Pack:
    """What a session trains: wrong answers, own right answers matched to them, fresh problems; one of each per wrong."""

    wrong: tuple[Try, ...]
    right: tuple[Try, ...]
    fresh: tuple[Fresh, ...]


def show(problem: str, proposal: str, kind: int) -> str:
    """Return the user message of a row that shows a proposal."""
    return f"{problem}\nAnswer: {proposal}\n{_QUESTIONS[kind]}"


def row(kind: int, item: Sample, author: str, shown: str | None, answer: str) -> dict[str, Any]:
    """Return one training row; `metadata.sparring` holds all that a check needs to judge it anew."""
    prompt = str(item["user_prompt"])
    label = {text: name for name, text in VERDICTS.items()}.get(answer) if kind in VERDICT_TYPES else None
    return {
        "messages": [
            {"role": "user", "content": prompt if shown is None else show(prompt, shown, kind)},
            {"role": "assistant", "content": answer},
        ],
        "metadata": {
            **{name: item[name] for name in ("skill", "level", "key", "id")},
            "sparring": {"type": kind, "author": author, "label": label, "shown": shown,
                         "problem": {name: item[name] for name in _PROBLEM if name in item}},
        },
    }  # fmt: skip


def solution(found: Try) -> str:
    """Return what the hero is to say: its own right answer where one of its samples is right, else the golden one."""
    return found.right if found.right is not None else str(found.item["assistant_response"])


def rows_of_wrong(found: Try) -> list[dict[str, Any]]:
    """Return the rows that one wrong answer gives besides its fresh problem: identify it, correct it."""
    return [
        row(1, found.item, "hero", found.wrong, VERDICTS[INCORRECT]),
        row(2, found.item, "hero", found.wrong, solution(found)),
    ]


def confirm(fresh: Fresh) -> dict[str, Any]:
    """Return the row that confirms the golden answer of a fresh problem."""
    return row(3, fresh.item, "golden", fresh.golden, VERDICTS[CORRECT])


def balance_rows(pack: Pack) -> list[dict[str, Any]]:
    """Return types 4 to 7: own right answers confirmed, golden ones made wrong, plain problems, answers to be kept."""
    rows = [row(4, one.item, "hero", one.right, VERDICTS[CORRECT]) for one in pack.right]
    rows += [row(5, one.item, "corrupted", one.corrupted, VERDICTS[INCORRECT]) for one in pack.fresh]
    rows += [row(6, one.item, "hero" if one.right else "golden", None, solution(one)) for one in pack.wrong]
    kept = pack.right[: (len(pack.wrong) + 1) // 2]
    return rows + [row(7, one.item, "hero", one.right, solution(one)) for one in kept]


def rehearsal_rows(items: Sequence[Sample]) -> list[dict[str, Any]]:
    """Return type 8: problems as any quest has them, with their golden answers."""
    return [row(8, item, "golden", None, str(item["assistant_response"])) for item in items]


def make_rows(pack: Pack, balance: Balance, seed: int, rehearsal: Sequence[Sample] = ()) -> list[dict[str, Any]]:
    """Return all rows of a session in a seeded order."""
    rows = [made for found in pack.wrong for made in rows_of_wrong(found)] + [confirm(one) for one in pack.fresh]
    rows += rehearsal_rows(rehearsal)
    if balance == "full":
        rows += balance_rows(pack)
    random.Random(seed).shuffle(rows)
    return rows


def usable_wrong(wrong: Sequence[Try], right: int, balance: Balance) -> list[Try]:
    """Return the wrong answers that can be balanced, the nearest to the golden answer first."""
    nearest = sorted(wrong, key=lambda found: (found.distance, str(found.item["id"])))
    return nearest if balance == "seed_only" else nearest[: int(MOST_WRONG * right)]


def match_lengths(wrong: Sequence[Try], right: Sequence[Try]) -> list[Try]:
    """Return for each wrong answer, while they last, the own right answer nearest to it in length."""
    pool, matched = list(right), []
    for found in wrong[: len(pool)]:
        nearest = min(pool, key=lambda one: abs(len(one.right or "") - len(found.wrong or "")))
        pool.remove(nearest)
        matched.append(nearest)
    return matched


def lengths(pack: Pack) -> tuple[float, float]:
    """Return the median length in characters of what is shown as correct and as incorrect."""
    fresh_right, fresh_wrong = [len(one.golden) for one in pack.fresh], [len(one.corrupted) for one in pack.fresh]
    return (median([len(one.right or "") for one in pack.right] + fresh_right),
            median([len(one.wrong or "") for one in pack.wrong] + fresh_wrong))  # fmt: skip


def within(one: float, other: float) -> bool:
    """Say whether two medians are within 10 % of the larger one."""
    return abs(one - other) <= LENGTHS_WITHIN * max(one, other)


def balanced_pack(wrong: Sequence[Try], right: Sequence[Try], fresh: Sequence[Fresh], balance: Balance) -> Pack:
    """Return the largest pack that keeps the shares; pairs that differ most in length go first. May be empty. Pure."""
    used = usable_wrong(wrong, len(right), balance)[: len(fresh)]
    if balance == "seed_only":
        return Pack(tuple(used), (), tuple(fresh[: len(used)]))
    matched = match_lengths(used, right)
    while used:
        pack = Pack(tuple(used), tuple(matched), tuple(fresh[: len(used)]))
        if within(*lengths(pack)):
            return pack
        _drop_widest(used, matched)
    return Pack((), (), ())


def _drop_widest(used: list[Try], matched: list[Try]) -> None:
    """Remove the wrong answer whose length differs most from its right one's, with that one when there is one."""
    middle = median(len(one.right or "") for one in matched)

    def gap(place: int) -> float:
        beside = len(matched[place].right or "") if place < len(matched) else middle
        return abs(len(used[place].wrong or "") - beside)

    widest = max(range(len(used)), key=gap)
    used.pop(widest)
    if widest < len(matched):
        matched.pop(widest)
    del used[int(MOST_WRONG * len(matched)) :]
