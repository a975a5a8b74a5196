"""The scorer: every clue's word, every tile once, the rest named, the hidden word where it is asked; by the prompt alone.

A reply is right when it is one of the solutions the solver finds (a generated puzzle has exactly one; equally valid words
would all count). `partial` is 0.7 for the share of right words, 0.2 for the inventory and 0.1 for the hidden word.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from realm.guild.skills.sy.reading import Reading
from realm.guild.skills.sy.reply import Reply, read_reply
from realm.guild.skills.sy.solver import Made, Solution, Solved, solve_prompt
from realm.guild.skills.types import Score


def score_text(prompt: str, text: object) -> Score:
    """Judge a reply to a prompt; total. An unreadable prompt scores 0 and says so in `reason`."""
    try:
        solved = solve_prompt(prompt)
    except ValueError as error:
        return Score(0, 0.0, "", None, f"the prompt is not an SY problem: {error}", {"prompt_ok": False})
    reply = read_reply(text)
    return max((_judge(solved, reply, one) for one in solved.solutions), key=lambda score: score.partial)


def _judge(solved: Solved, reply: Reply, solution: Solution) -> Score:
    wanted = {number: made for number, made in enumerate(solution.made, 1) if made}
    right = [number for number, made in wanted.items() if _spells(reply, number, made)]
    extra = [number for number in reply.words if number not in wanted]
    words = len(wanted)
    parts: dict[str, Any] = {
        "word_accuracy": round(len(right) / words, 4), "inventory_ok": bool(reply.words) and _inventory_ok(solved.reading, reply),
        "hidden_ok": reply.hidden == (solution.hidden if solved.reading.asked else ""), "format_ok": not reply.reason,
    }  # fmt: skip
    reason = _reason(reply, parts, extra)
    parsed = "\n".join(f"{n}. {'+'.join(tiles)} = {word.upper()}" for n, (tiles, word) in reply.words.items()) or None
    if not reason:
        return Score(1, 1.0, solved.text(), parsed, "correct", parts)
    share = 0.7 * len(right) / words + (0.2 * parts["inventory_ok"] + 0.1 * parts["hidden_ok"] if right else 0.0)
    return Score(0, min(0.99, round(share, 4)), solved.text(), parsed, reason, parts)


def _spells(reply: Reply, number: int, made: Made) -> bool:
    """Say whether a reply has the right word for a clue, of tiles that spell it, a missing letter being any."""
    tiles, word = reply.words.get(number, ((), ""))
    if word != made.word.text or len("".join(tiles)) != len(word):
        return False
    return re.fullmatch("".join(tiles).replace("_", "."), word) is not None


def _inventory_ok(reading: Reading, reply: Reply) -> bool:
    used = [tile for tiles, _ in reply.words.values() for tile in tiles]
    return Counter([*used, *reply.unused]) == Counter(reading.bank) and len(reply.unused) == reading.left


def _reason(reply: Reply, parts: dict[str, Any], extra: list[int]) -> str:
    """Return what is wrong with a reply, or nothing."""
    if reply.reason:
        return reply.reason
    if not reply.words:
        return "the reply has no line 'n. a+b = WORD'"
    if extra:
        return f"number {extra[0]} has no word"
    if parts["word_accuracy"] < 1:
        return "not every word is right"
    if not parts["inventory_ok"]:
        return "the tiles used and unused are not those of the bank"
    return "" if parts["hidden_ok"] else "the hidden word is wrong, missing or not asked for"
