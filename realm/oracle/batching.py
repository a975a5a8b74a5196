"""What generation is asked for and gives back, and which prompts run together; pure, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from realm.core.errors import BadInput

Finish = Literal["stop", "length"]

MAX_ROWS = 128


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen: temperature 0 is greedy, else nucleus sampling of mass `top_p` under `seed`."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 5:
            raise BadInput(f"temperature {self.temperature} is not from 0 to 5")
        if not 0 < self.top_p <= 1:
            raise BadInput(f"top_p {self.top_p} is not above 0 and at most 1")

    @property
    def greedy(self) -> bool:
        return self.temperature == 0


GREEDY = Sampling()


@dataclass(frozen=True)
class Completion:
    """Generated token ids without the end mark; `tokens` counts the end mark too, so it is at most max_new_tokens."""

    ids: list[int]
    finish_reason: Finish

    @property
    def tokens(self) -> int:
        return len(self.ids) + (self.finish_reason == "stop")


def plan_batches(lengths: Sequence[int], new_tokens: int, *, slots: int, rows: int = MAX_ROWS) -> list[list[int]]:
    """Group prompt numbers into batches of similar length.

    `lengths` are prompt tokens; a batch holds at most `rows` rows and `slots` cache positions (rows x longest row with
    its new tokens), and its longest prompt is at most 1.5 times its shortest plus 16. A single row over `slots` still
    gets a batch of its own. Every number appears exactly once.
    """
    order = sorted(range(len(lengths)), key=lambda number: lengths[number])
    batches: list[list[int]] = []
    for number in order:
        length = lengths[number]
        if batches:
            last = batches[-1]
            fits = (len(last) + 1) * (length + new_tokens) <= slots and len(last) < rows
            if fits and length <= 1.5 * lengths[last[0]] + 16:
                last.append(number)
                continue
        batches.append([number])
    return batches


@dataclass(frozen=True)
class Answer:
    """One reply: its text without the end mark, why it ended, how many tokens were generated and read."""

    text: str
    finish_reason: Finish
    tokens: int
    prompt_tokens: int = 0
