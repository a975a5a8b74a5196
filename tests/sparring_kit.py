"""A skill in process and heroes whose accuracy is known, for tests of sparring."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from realm.guild.answer_styles import AnswerStyles
from realm.guild.skill_client import Grade, Sample
from realm.guild.skills.bin import SKILL
from realm.guild.skills.types import Item
from realm.guild.sparring import Fighter, Order, Sampling

DIGEST = "d" * 64
FIGHTER = Fighter("checkpoint-500-20260101-0000", 500, DIGEST)


class BinSkill:
    """The BIN skill without its server."""

    skill, max_level = "bin", 30

    def __init__(self) -> None:
        self.drawn: list[tuple[int, str]] = []
        self.styles: list[tuple[int, str, dict[str, float]]] = []

    def version(self) -> str:
        return SKILL.info.version

    def static_items(self, level: int, style: str | None = None) -> list[Sample]:
        return [item.sample() for item in SKILL.static_eval(level)]

    def generate(
        self, level: int, count: int, seed: int, split: str, styles: Mapping[str, float] | None = None
    ) -> list[Sample]:
        self.drawn.append((level, split))
        self.styles.append((level, split, dict(styles or {})))
        return [item.sample() for item in SKILL.generate(level, count, seed, split, styles)]  # type: ignore[arg-type]

    def grade(self, items: Sequence[Sample], answers: Sequence[str]) -> list[Grade]:
        found = [SKILL.score(Item.from_sample(item), text) for item, text in zip(items, answers, strict=True)]
        return [Grade(s.strict == 1, s.expected, s.parsed, s.reason, s.partial) for s in found]


@dataclass(frozen=True)
class Texts:
    """Answers as a hero's function gives them."""

    texts: tuple[str, ...]
    finish_reasons: tuple[str, ...]
    weights_sha256: str = DIGEST


class StubHero:
    """Knows each problem with probability `accuracy` and then answers rightly; else one digit of its answer is wrong.

    Sampled answers are right with half that probability where the greedy one is wrong.
    """

    def __init__(self, accuracy: float, *, digest: str = DIGEST) -> None:
        self.accuracy, self.digest = accuracy, digest
        self.asked: list[tuple[int, Sampling, int]] = []

    def __call__(self, step: int, prompts: Sequence[str], sampling: Sampling) -> Texts:
        self.asked.append((step, sampling, len(prompts)))
        texts = tuple(self._answer(prompt, sampling) for prompt in prompts)
        return Texts(texts, ("stop",) * len(texts), self.digest)

    def _answer(self, prompt: str, sampling: Sampling) -> str:
        if prompt.endswith("Is this correct?"):
            return "It is correct."
        if prompt.endswith("final solution."):
            return prompt.rpartition("\n")[0].rpartition("\nAnswer: ")[2]
        golden = SKILL.solve(Item("", "bin", "", 1, "train", prompt, "", ""))
        knows = random.Random(prompt).random() < self.accuracy
        if sampling.temperature:
            knows = knows or random.Random(f"{prompt}{sampling.seed}").random() < self.accuracy / 2
        return golden if knows else miss(golden, random.Random(f"{prompt}{sampling.seed}"))


def miss(golden: str, rng: random.Random) -> str:
    """Return an answer with one digit of its value wrong."""
    at = golden.rindex("=") + 2
    place = at if len(golden) - at == 1 else rng.randrange(at + 1, len(golden))
    return golden[:place] + ("①" if golden[place] == "⓪" else "⓪") + golden[place + 1 :]


def order(**changed: Any) -> Order:
    return Order(**{"level": 3, "count": 100, "seed": 1, "styles": AnswerStyles({"brief": 1.0}), **changed})
