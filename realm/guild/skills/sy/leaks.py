"""The leak rule: a clue may not contain its answer, the answer's stem, or a long tile."""

from __future__ import annotations

from collections.abc import Iterable

LONG_TILE = 4


def fragments(word: str, tiles: Iterable[str]) -> tuple[str, ...]:
    """Return what may not stand in a clue: the stem (first max(4, length - 3) letters) and every tile of 4 letters up.

    The stem is part of the word, so the word itself is among them.
    """
    stem = word[: max(4, len(word) - 3)]
    return (stem, *(tile for tile in tiles if len(tile) >= LONG_TILE))


def leaks(clue: str, word: str, tiles: Iterable[str]) -> bool:
    """Say whether a clue gives a word away."""
    text = clue.lower()
    return any(fragment in text for fragment in fragments(word, tiles))
