"""What sparring does to a hero, measured on held-out problems: its verdicts, and what a second attempt does to answers.

The problems are of the eval partition: they are asked and never trained. Verdicts are asked on a set that is balanced
within each author: golden answers and the same ones made wrong, the hero's own right and wrong answers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from realm.core import events
from realm.core.clock import SYSTEM, Clock
from realm.core.errors import Corrupt
from realm.core.seeds import derive_seed
from realm.guild.intervals import wilson
from realm.guild.skill_client import Sample, SkillSource
from realm.guild.sparring import CHUNK, MOST_NEW_TOKENS, Ask, Fighter, Sampling
from realm.guild.sparring_corrupt import corrupt
from realm.guild.sparring_rows import CORRECT, INCORRECT, VERDICTS, show

INCORRECT_SHARE = (0.35, 0.65)
SPOILED = 0.05  # share of right answers that a second attempt may make wrong
ENOUGH = 20  # verdicts or answers below which no alarm is raised


@dataclass(frozen=True)
class Verdicts:
    """Counts over shown answers: right ones called correct, right ones in all, wrong ones called incorrect, wrong in all."""

    right_confirmed: int
    right: int
    wrong_found: int
    wrong: int
    said_incorrect: int
    unclear: int

    def numbers(self) -> dict[str, Any]:
        """Return TPR (right answers confirmed), TNR (wrong ones found), balanced accuracy and Matthews' correlation.

        Correlation of B. W. Matthews (1975) over the verdicts that were clear; None where a rate has nothing to count.
        """
        tpr = self.right_confirmed / self.right if self.right else None
        tnr = self.wrong_found / self.wrong if self.wrong else None
        both = (tpr + tnr) / 2 if tpr is not None and tnr is not None else None
        asked = self.right + self.wrong
        return {
            "tpr": tpr, "tnr": tnr, "balanced_accuracy": both, "mcc": self._mcc(), "n": asked, "unclear": self.unclear,
            "incorrect_share": self.said_incorrect / asked if asked else None,
        }  # fmt: skip

    def _mcc(self) -> float | None:
        said_correct = self.right + self.wrong - self.said_incorrect - self.unclear
        tp, tn = self.right_confirmed, self.wrong_found
        fp, fn = said_correct - tp, self.said_incorrect - tn
        below = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
        return (tp * tn - fp * fn) / sqrt(below) if below else None


@dataclass(frozen=True)
class Exam:
    """What one exam found: first answers, verdicts, and how many answers a second attempt changed in which way."""

    level: int
    asked: int
    right: int
    verdicts: Verdicts
    stayed_right: int
    spoiled: int
    mended: int
    stayed_wrong: int

    def numbers(self) -> dict[str, Any]:
        """Return everything for status, event and sidecar; rates rounded to four places."""
        found = self.verdicts.numbers()
        verdicts = {name: round(value, 4) if isinstance(value, float) else value for name, value in found.items()}
        rates = {"right_right": self.stayed_right, "right_wrong": self.spoiled, "wrong_right": self.mended,
                 "wrong_wrong": self.stayed_wrong}  # fmt: skip
        return {
            "level": self.level, "n": self.asked, "right": self.right,
            "ci95": [round(end, 4) for end in wilson(self.right, self.asked)] if self.asked else None,
            "verdicts": verdicts, "transitions": rates, "alarms": self.alarms(),
        }  # fmt: skip

    def alarms(self) -> list[str]:
        """Return what is out of bounds: one-sided verdicts, right answers spoiled by checking them."""
        found = []
        share = self.verdicts.numbers()["incorrect_share"]
        low, high = INCORRECT_SHARE
        if share is not None and self.verdicts.right + self.verdicts.wrong >= ENOUGH and not low <= share <= high:
            found.append(f"{share:.0%} of the verdicts are 'incorrect' on a balanced set")
        if self.right >= ENOUGH and self.spoiled > SPOILED * self.right:
            found.append(f"a second attempt made {self.spoiled} of {self.right} right answers wrong")
        return found


def read_verdict(text: str) -> str | None:
    """Return "correct" or "incorrect" when a reply is one of the two verdicts, None for anything else."""
    return next((name for name, said in VERDICTS.items() if text.strip() == said), None)


def hold_exam(
    fighter: Fighter, source: SkillSource, ask: Ask, level: int, count: int, seed: int, styles: Mapping[str, float] | None
) -> Exam:
    """Ask a checkpoint `count` held-out problems, verdicts on right and wrong answers to them, and to check its own.

    Raises Corrupt when other weights answer or the skill cannot grade, and what hero and skill raise.
    """
    draw = derive_seed("sparring-exam", source.skill, level, fighter.weights_sha256, seed)
    items = source.generate(level, count, draw, "eval", styles)
    longest = max((len(str(item["assistant_response"]).encode()) for item in items), default=0) + 16
    first = _say(fighter, ask, [str(item["user_prompt"]) for item in items], longest)
    good = _graded(source, items, first)
    second = _say(fighter, ask, [show(str(i["user_prompt"]), text, 7) for i, text in zip(items, first, strict=True)], longest)
    kept = _graded(source, items, second)
    pairs = list(zip(good, kept, strict=True))
    return Exam(
        level, len(items), sum(good), _verdicts(fighter, source, ask, items, first, good, draw),
        sum(a and b for a, b in pairs), sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs),
        sum(not a and not b for a, b in pairs),
    )  # fmt: skip


def _verdicts(
    fighter: Fighter, source: SkillSource, ask: Ask, items: Sequence[Sample], first: Sequence[str], good: Sequence[bool],
    seed: int,
) -> Verdicts:  # fmt: skip
    shown = [(str(one.item["user_prompt"]), text, right) for one in corrupt(source, items, seed, len(items))
             for text, right in ((one.golden, True), (one.corrupted, False))]  # fmt: skip
    own = [(str(item["user_prompt"]), text, right) for item, text, right in zip(items, first, good, strict=True) if text.strip()]
    fewer = min(sum(right for *_, right in own), sum(not right for *_, right in own))
    for wanted in (True, False):
        shown += [one for one in own if one[2] is wanted][:fewer]
    said = [read_verdict(text) for text in _say(fighter, ask, [show(prompt, text, 1) for prompt, text, _ in shown], 32)]
    truth = [right for *_, right in shown]
    return Verdicts(
        sum(right and one == CORRECT for right, one in zip(truth, said, strict=True)), sum(truth),
        sum(not right and one == INCORRECT for right, one in zip(truth, said, strict=True)), len(truth) - sum(truth),
        sum(one == INCORRECT for one in said), sum(one is None for one in said),
    )  # fmt: skip


def _say(fighter: Fighter, ask: Ask, prompts: Sequence[str], longest: int) -> list[str]:
    """Return the greedy answers; raises Corrupt for half an answer or other weights."""
    told: list[str] = []
    for start in range(0, len(prompts), CHUNK):
        part = prompts[start : start + CHUNK]
        said = ask(fighter.step, part, Sampling(min(MOST_NEW_TOKENS, longest)))
        if len(said.texts) != len(part) or said.weights_sha256 != fighter.weights_sha256:
            raise Corrupt(f"half an exam, or other weights than those of {fighter.checkpoint}, answered")
        told += said.texts
    return told


def _graded(source: SkillSource, items: Sequence[Sample], texts: Sequence[str]) -> list[bool]:
    grades = source.grade(items, texts) if items else []
    broken = next((grade.error for grade in grades if grade.error is not None), None)
    if broken is not None or len(grades) != len(items):
        raise Corrupt(f"{source.skill} cannot grade its own problems: {broken or f'{len(grades)} grades'}")
    return [grade.correct for grade in grades]


def raise_alarms(connection: sqlite3.Connection, skill: str, exam: Exam, step: int, clock: Clock = SYSTEM) -> None:
    """Tell alarms that begin with this exam as one event, in the caller's transaction; forget those that ended."""
    key, found = f"alarm|sparring|{skill}", "; ".join(exam.alarms())
    known = connection.execute("SELECT 1 FROM facts WHERE key = ?", (key,)).fetchone()
    if found and known is None:
        connection.execute("INSERT INTO facts(key, value) VALUES (?, ?)", (key, found))
        data = {"check": "sparring", "reason": f"{skill} level {exam.level}: {found}"}
        events.append(connection, "patrol.failed", subject=f"sparring-{skill}", step=step, data=data, clock=clock)
    elif not found:
        connection.execute("DELETE FROM facts WHERE key = ?", (key,))
