"""The frame around a question of reasoning-gym, and the partition that the question alone decides.

Works without the package: an eval question is recognised in any text that has the frame.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator

from realm.guild.skills.split import BUCKETS, EVAL_BUCKETS, split_of

MOST_TEXT = 200_000
_FRAME = re.compile(
    r"Puzzle \((?P<skill>[a-z][a-z0-9_]{0,31})\):\n(?P<question>.+?)\nForm of the answer: [^\n]+", re.DOTALL
)  # fmt: skip


def write_prompt(skill: str, question: str, answer: str) -> str:
    """Return the prompt: which skill, the question as the task wrote it, one line on the form of the answer."""
    return f"Puzzle ({skill}):\n{question}\nForm of the answer: {answer}"


def read_prompt(prompt: str) -> tuple[str, str] | None:
    """Return (skill, question) of a prompt, None when it is not one."""
    found = _FRAME.fullmatch(prompt[:MOST_TEXT])
    return (found["skill"], found["question"]) if found else None


def questions_in(text: str) -> Iterator[tuple[str, str]]:
    """Yield (skill, question) of every framed question in a text."""
    for found in _FRAME.finditer(text[:MOST_TEXT]):
        yield found["skill"], found["question"]


def _normal(question: str) -> str:
    return " ".join(unicodedata.normalize("NFC", question).split())


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def partition(skill: str, question: str) -> str:
    """Return "train" or "eval": the question decides, at whatever level it is posed; white space does not count."""
    number = int.from_bytes(_digest(f"{skill}|question|{_normal(question)}"), "big")
    return "eval" if number % BUCKETS in EVAL_BUCKETS else "train"


def key_of(skill: str, level: int, question: str) -> str:
    """Return the key of a question: its digest and the first number with which the common formula gives its partition."""
    wanted, digest = partition(skill, question), _digest(f"{skill}|key|{_normal(question)}").hex()
    number = 0
    while split_of(skill, level, f"{digest}-{number}") != wanted:
        number += 1
    return f"{digest}-{number}"
