"""A gate eval under the sequential rule: further fresh problems are asked until the test decides or its cap is reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from realm.arena.evals.asking import Answers
from realm.arena.evals.report import Paper
from realm.core.errors import BadInput
from realm.core.logs import get_logger
from realm.guild.gate import GateRules, sprt_verdict
from realm.guild.skill_client import Grade, Sample

log = get_logger("eval_sprt")
BATCH = 10


@dataclass(frozen=True)
class Sitting:
    """What was asked so far, what was answered, and the grades."""

    paper: Paper
    answers: Answers
    grades: tuple[Grade, ...]

    @property
    def correct(self) -> int:
        return sum(grade.correct for grade in self.grades)


def go_on(
    sitting: Sitting, draw: Callable[[int, int], list[Sample]], put: Callable[[Paper], Sitting], rules: GateRules, failed: int
) -> Sitting:
    """Return the sitting once it decides; `draw(count, turn)` gives problems not asked yet, `put` asks and grades them.

    A level without further problems ends undecided.
    """
    turn = 0
    while len(sitting.grades) < rules.sprt_cap:
        if sprt_verdict(sitting.correct, len(sitting.grades), rules, failed) != "open":
            break
        turn += 1
        try:
            items = draw(min(BATCH, rules.sprt_cap - len(sitting.grades)), turn)
        except BadInput as exhausted:
            log.info("the eval ends undecided after %d problems: %s", len(sitting.grades), exhausted)
            break
        sitting = _joined(sitting, put(replace(sitting.paper, items=tuple(items), static_n=0)))
    return sitting


def _joined(one: Sitting, more: Sitting) -> Sitting:
    a, b = one.answers, more.answers
    answers = replace(a, texts=a.texts + b.texts, finish_reasons=a.finish_reasons + b.finish_reasons, tokens=a.tokens + b.tokens)
    return Sitting(replace(one.paper, items=one.paper.items + more.paper.items), answers, one.grades + more.grades)
