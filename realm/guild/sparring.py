"""A sparring session: a checkpoint answers train problems of its level; from its right and wrong answers come rows.

The hero is reached by a function, the skill by a `SkillSource`: neither is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from realm.core.errors import BadInput, Conflict, Corrupt
from realm.core.seeds import derive_seed
from realm.guild.answer_styles import AnswerStyles
from realm.guild.skill_client import Grade, Sample, SkillSource
from realm.guild.skills.split import split_of
from realm.guild.sparring_check import Report, check_rows
from realm.guild.sparring_corrupt import corrupt, distance
from realm.guild.sparring_rows import MOST_WRONG, Balance, Try, balanced_pack, make_rows, rehearsal_rows, rows_of_wrong

GENERATOR_ID, GENERATOR_VERSION = "sparring", "2"
CHUNK = 128  # prompts a request: a large hero answers them well inside the oracle's time
MOST_NEW_TOKENS = 1024
MOST_COUNT = 2000
TOO_STRONG = 0.95
MORE_ROUNDS = 3  # further batches, to find enough own right answers
_REDRAWS = 8


@dataclass(frozen=True)
class Sampling:
    """How the hero is to answer; temperature 0 is greedy, and then the seed has no meaning."""

    max_new_tokens: int
    temperature: float = 0.0
    seed: int = 0


class Said(Protocol):
    """The answers of one request: one text and one reason of ending per prompt, and the weights that gave them."""

    @property
    def texts(self) -> Sequence[str]: ...

    @property
    def finish_reasons(self) -> Sequence[str]: ...

    @property
    def weights_sha256(self) -> str: ...


Ask = Callable[[int, Sequence[str], Sampling], Said]
Fits = Callable[[Sequence[dict[str, Any]]], list[bool]]


@dataclass(frozen=True)
class Fighter:
    """The checkpoint that spars; every answer must come from exactly these weights."""

    checkpoint: str
    step: int
    weights_sha256: str


@dataclass(frozen=True)
class Order:
    """What a session is to do: `samples` more answers at `temperature` beside the greedy one, for each of `count` problems.

    With `may_rise` a hero that is right on more than 95 % is asked the next level as well. `rehearsal` is the number of
    plain problems for each other row of a full pack, while the level has new ones.
    """

    level: int
    count: int
    seed: int
    styles: AnswerStyles | None = None
    balance: Balance = "full"
    samples: int = 3
    temperature: float = 0.8
    may_rise: bool = True
    rehearsal: float = 1.0

    def fed(self, level: int) -> dict[str, float] | None:
        """Return the answer styles that rows of a level have, None for the skill's own mix."""
        return self.styles.at(level) if self.styles else None

    def examined(self, level: int) -> dict[str, float] | None:
        """Return the one answer style in which evals of a level are asked."""
        return {self.styles.examined(level): 1.0} if self.styles else None


@dataclass(frozen=True)
class Bout:
    """What a session made. Counts are of problems: greedy right, with a wrong answer, wrong but too far off to judge."""

    level: int
    rows: tuple[dict[str, Any], ...]
    asked: int
    greedy_right: int
    wrong: int
    far: int
    used: int
    report: Report
    reason: str = ""

    @property
    def numbers(self) -> dict[str, Any]:
        """Return the counts for status, event and sidecar."""
        return {"problems": self.asked, "right": self.greedy_right, "wrong": self.wrong, "far_off": self.far,
                "used": self.used, "rows": len(self.rows)}  # fmt: skip


def quest_name(skill: str, level: int, rows: int, at: datetime) -> str:
    """Return the file name of a session's quest."""
    return f"sparring_{skill}_L{level}_{rows}_{at:%Y%m%d_%H%M%S}.jsonl"


def spar(
    fighter: Fighter,
    source: SkillSource,
    ask: Ask,
    order: Order,
    *,
    fits: Fits = lambda rows: [True] * len(rows),
    beat: Callable[[str], None] = lambda _progress: None,
) -> Bout:
    """Hold a session and return its checked rows; `fits` says which rows the hero's context takes.

    Raises Corrupt when other weights answered, Conflict when no balanced rows can be made, Refused when they fail the
    check, and what the hero's function and the skill raise.
    """
    if not 1 <= order.count <= MOST_COUNT:
        raise BadInput(f"a session asks 1 to {MOST_COUNT} problems, not {order.count}")
    if not 1 <= order.level <= source.max_level:
        raise BadInput(f"{source.skill} has levels 1 to {source.max_level}, not {order.level}")
    bout = _Session(fighter, source, ask, order, fits, beat).hold()
    strong = bout.greedy_right > TOO_STRONG * bout.asked
    if order.may_rise and strong and order.level < source.max_level:
        higher = _Session(fighter, source, ask, replace(order, level=order.level + 1), fits, beat).hold()
        if higher.used > bout.used:
            reason = f"right on {bout.greedy_right} of {bout.asked} at level {order.level}"
            bout = replace(higher, reason=reason)
    if not bout.rows:
        raise Conflict(
            _nothing(bout, source.skill), hint="train the level further, or set sparring.balance to seed_only"
        )
    bout.report.refuse(f"sparring rows of {source.skill} level {bout.level}")
    return bout


def _nothing(bout: Bout, skill: str) -> str:
    return (
        f"no sparring rows at {skill} level {bout.level}: of {bout.asked} problems {bout.greedy_right} were right at once,"
        f" {bout.wrong} had a wrong answer that can be judged, {bout.far} one too far off"
    )


class _Session:
    """One level of a session."""

    def __init__(self, fighter: Fighter, source: SkillSource, ask: Ask, order: Order, fits: Fits,
                 beat: Callable[[str], None]) -> None:  # fmt: skip
        self._fighter, self._source, self._ask, self._order, self._fits, self._beat = (
            fighter,
            source,
            ask,
            order,
            fits,
            beat,
        )
        self._taken: set[str] = set()
        self._greedy_right = self._asked = self._far = 0

    def hold(self) -> Bout:
        order = self._order
        tries = self._try(self._draw(order.count, "asked"), 1 + order.samples)
        asked, greedy_right = self._asked, self._greedy_right
        wrong = [one for one in tries if one.wrong is not None]
        right = [one for one in tries if one.right is not None]
        for turn in range(MORE_ROUNDS if order.balance == "full" else 0):
            if len(wrong) <= MOST_WRONG * len(right):
                break
            # Only own right answers are looked for: more wrong ones would need more of them again.
            right += [one for one in self._try(self._draw(order.count, "more", turn), 1) if one.right is not None]
        wrong, right = self._that_fit(wrong), self._that_fit(right)
        fresh = corrupt(
            self._source, self._draw(len(wrong) + len(wrong) // 4 + 4, "fresh"), self._seed("corrupt"), len(wrong)
        )
        fresh = [one for one, fit in zip(fresh, self._fits([_longest(Try(one.item, one.golden, one.corrupted)) for one in fresh]),
                                         strict=True) if fit] if fresh else []  # fmt: skip
        pack = balanced_pack(wrong, right, fresh, order.balance)
        rehearsal = self._rehearsal(len(make_rows(pack, order.balance, 0)))
        rows = tuple(make_rows(pack, order.balance, self._seed("shuffle"), rehearsal))
        self._beat(f"checking {len(rows)} rows")
        report = check_rows(rows, {self._source.skill: self._source}, order.balance)
        return Bout(order.level, rows, asked, greedy_right, len(wrong), self._far, len(pack.wrong), report)

    def _rehearsal(self, rows: int) -> list[Sample]:
        if self._order.balance != "full":
            return []
        drawn = self._draw(round(rows * self._order.rehearsal), "rehearsal")
        fit = self._fits(rehearsal_rows(drawn)) if drawn else []
        return [item for item, holds in zip(drawn, fit, strict=True) if holds]

    def _seed(self, *address: str | int) -> int:
        return derive_seed("sparring", self._source.skill, self._order.level, self._fighter.weights_sha256, self._order.seed,
                           *address)  # fmt: skip

    def _draw(self, count: int, *address: str | int) -> list[Sample]:
        """Return up to `count` train problems, none twice in a session; fewer when the level has no more."""
        found: list[Sample] = []
        styles = self._order.fed(self._order.level)
        for turn in range(_REDRAWS):
            if len(found) == count:
                break
            seed = self._seed(*address, turn)
            # More than is missing: a low level has few problems, and most of what is drawn again is known.
            wanted = (count - len(found) + 10) * (turn + 1)
            for item in self._source.generate(self._order.level, wanted, seed, "train", styles):
                if len(found) == count:
                    break
                if split_of(str(item["skill"]), int(item["level"]), str(item["key"])) != "train":
                    raise Corrupt(f"{self._source.skill} gave an eval problem where train problems were asked for")
                names = {str(item["key"]), str(item["user_prompt"])}
                if not names & self._taken:
                    self._taken |= names
                    found.append(item)
        return found

    def _try(self, items: Sequence[Sample], answers: int) -> list[Try]:
        """Have the hero answer each problem greedily and then sampled, and keep its right and its nearest wrong answer."""
        tries = [Try(item) for item in items]
        for number in range(answers):
            self._beat(f"level {self._order.level}: answer {number + 1} of {answers} to {len(items)} problems")
            texts = self._answers(items, number)
            grades = self._grade(items, [text for text, _ in texts])
            if number == 0:
                self._asked += len(items)
                self._greedy_right += sum(grade.correct for grade in grades)
            tries = [
                _keep(one, text, ended, grade) for one, (text, ended), grade in zip(tries, texts, grades, strict=True)
            ]
        if answers > 1:
            self._far = sum(one.wrong is not None and not self._near(one) for one in tries)
        return [one if self._near(one) else replace(one, wrong=None) for one in tries]

    def _near(self, one: Try) -> bool:
        """A wrong answer that looks nothing like an answer teaches the look, not the check; the seed's trio takes all."""
        if one.wrong is None:
            return False
        golden = len(str(one.item["assistant_response"]))
        return self._order.balance == "seed_only" or one.distance <= max(4, 2 * golden // 5)

    def _grade(self, items: Sequence[Sample], texts: Sequence[str]) -> list[Grade]:
        grades = self._source.grade(items, texts) if items else []
        broken = next((grade.error for grade in grades if grade.error is not None), None)
        if broken is not None or len(grades) != len(items):
            raise Corrupt(f"{self._source.skill} cannot grade its own problems: {broken or f'{len(grades)} grades'}")
        return grades

    def _answers(self, items: Sequence[Sample], number: int) -> list[tuple[str, str]]:
        """Return text and reason of ending per problem; raises Corrupt for half an answer or other weights."""
        longest = max((len(str(item["assistant_response"]).encode()) for item in items), default=0)
        sampling = Sampling(min(MOST_NEW_TOKENS, longest + 16))
        told: list[tuple[str, str]] = []
        for start in range(0, len(items), CHUNK):
            prompts = [str(item["user_prompt"]) for item in items[start : start + CHUNK]]
            if number:
                seed = self._seed("answer", number, start) % 2**31
                sampling = replace(sampling, temperature=self._order.temperature, seed=seed)
            said = self._ask(self._fighter.step, prompts, sampling)
            if len(said.texts) != len(prompts) or len(said.finish_reasons) != len(prompts):
                raise Corrupt(f"{len(said.texts)} answers to {len(prompts)} prompts")
            if said.weights_sha256 != self._fighter.weights_sha256:
                raise Corrupt(f"weights {said.weights_sha256[:12]} answered, {self._fighter.checkpoint} has"
                              f" {self._fighter.weights_sha256[:12]}")  # fmt: skip
            told += zip(said.texts, said.finish_reasons, strict=True)
        return told

    def _that_fit(self, tries: list[Try]) -> list[Try]:
        fit = self._fits([_longest(one) for one in tries]) if tries else []
        return [one for one, holds in zip(tries, fit, strict=True) if holds]


def _longest(one: Try) -> dict[str, Any]:
    """Return the longest row that can be made of a problem and its answers."""
    longest = max((text for text in (one.wrong, one.right) if text is not None), key=len)
    return rows_of_wrong(replace(one, wrong=longest))[1]


def _keep(one: Try, text: str, ended: str, grade: Grade) -> Try:
    """Take one more answer into account: the first right one, the wrong one nearest to the golden answer."""
    if grade.correct:
        return one if one.right is not None else replace(one, right=text)
    if not text.strip() or ended == "length":
        return one  # nothing was said, or not to the end: there is nothing to judge
    far = distance(text, str(one.item["assistant_response"]))
    return replace(one, wrong=text, distance=far) if one.wrong is None or far < one.distance else one
