"""Penalties of a data profile on the next token: think tags on a schedule, and nothing but the end mark after a stop text.

Each row is judged by its own generated tokens alone, so a row gets the same penalties whoever shares the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from realm.armory.profiles import Penalties

# A stop text is looked for at the end of this many tokens; the longest one has fewer bytes.
TAIL = 40


def penalty_at(schedule: Sequence[tuple[int | None, float]], made: int) -> float:
    """Return what a think tag loses after `made` generated tokens: the first entry whose limit is not reached yet."""
    return next((loss for until, loss in schedule if until is None or made < until), 0.0)


class RowPenalties:
    """The penalties of one profile for one tokenizer."""

    def __init__(
        self,
        table: Penalties,
        encode: Callable[[str], list[int]],
        spell: Callable[[str], list[int]],
        decode: Callable[[Sequence[int]], str],
        end_id: int,
    ) -> None:
        """`encode` writes a text as plain content, `spell` with a token of its own where the tokenizer has one."""
        spelled = {tuple(found) for tag in table.tags for found in (encode(tag), spell(tag)) if found}
        self._tags = [(list(ids[:-1]), ids[-1]) for ids in sorted(spelled)]
        self._schedule, self._stops, self._decode, self._end = table.schedule, table.stops, decode, end_id

    def apply(self, logits: torch.Tensor, made: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return logits (rows, vocabulary) after the penalties; `made` are the tokens each row has generated."""
        found = logits.clone()
        for line, ids in zip(found, made, strict=True):
            if self.ended(ids):
                kept = float(line[self._end])
                line.fill_(torch.finfo(line.dtype).min)
                line[self._end] = kept
                continue
            loss = penalty_at(self._schedule, len(ids))
            for token in self.tag_ends(ids):
                line[token] -= loss
        return found

    def tag_ends(self, ids: Sequence[int]) -> set[int]:
        """Return the tokens that would complete a think tag after `ids`."""
        return {last for before, last in self._tags if not before or list(ids[-len(before) :]) == before}

    def ended(self, ids: Sequence[int]) -> bool:
        """Say whether the generated text ends with a stop text."""
        return bool(self._stops) and bool(ids) and self._decode(ids[-TAIL:]).endswith(self._stops)
