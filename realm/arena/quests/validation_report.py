"""STANDARD and DEEP validation: what is looked at beside each row's form, and how what is found is graded.

STANDARD: rows that occur twice, in the file and in recent quests; one answer for nearly everything; answers with next to
no text; the spread of lengths; special tokens written out in text. DEEP, in addition: prompts of the static eval sets
(equal after Unicode and space normalisation) and of the evals that were held, SY problems of the eval partition worked
out from the prompt, and golden answers of known skills graded again.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from realm.arena.quests.validation_keys import sy_problem
from realm.armory.config import Grades
from realm.core.errors import RealmError
from realm.guild.skills.builtin import BUILTIN, builtin_skill
from realm.guild.skills.types import Item

VERSIONS = {"standard": "1", "deep": "2"}
LEVELS = ("quick", "standard", "deep")
ROWS_NAMED = 5
BALANCE_FROM = 20  # rows below which one answer for most of them says nothing
ONE_ANSWER = 0.5
MOST_ANSWERS = 10_000  # different answers that are counted
MOST_ROWS = 2_000_000  # rows remembered to find the same one again
_SPECIAL = re.compile(r"<\|[a-z_]{2,40}\|>|</?(?:s|think|bos|eos|pad|unk)>|\[/?INST\]", re.IGNORECASE)
_WORD = re.compile(r"\w")

Messages = Sequence[Mapping[str, str]]


@dataclass
class Finding:
    """One kind of thing that was found: how often, and the first rows."""

    check: str
    text: str
    count: int = 0
    rows: list[int] = field(default_factory=list)

    def add(self, number: int) -> None:
        self.count += 1
        if len(self.rows) < ROWS_NAMED:
            self.rows.append(number)

    def __str__(self) -> str:
        named = ", ".join(map(str, self.rows)) + (", ..." if self.count > len(self.rows) else "")
        return f"{self.check}: {self.text}: {self.count} rows ({named})" if self.rows else f"{self.check}: {self.text}"


def digest(messages: Messages) -> bytes:
    """Return what tells one row's messages from another's, 8 bytes."""
    text = json.dumps([[message["role"], message["content"]] for message in messages], ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def normalised(text: str) -> bytes:
    """Return the digest of a prompt, equal for texts that differ in Unicode form or white space only."""
    return hashlib.blake2b(" ".join(unicodedata.normalize("NFC", text).split()).encode(), digest_size=8).digest()


@lru_cache(maxsize=1)
def static_prompts() -> Mapping[bytes, str]:
    """Return digest -> "skill level" of every prompt in the static eval sets of the built-in skills, in every answer style."""
    found: dict[bytes, str] = {}
    for name in BUILTIN:
        try:
            skill = builtin_skill(name)
        except (RealmError, ImportError):
            continue  # this installation does not have it
        for level, style in ((row.level, style) for row in skill.info.levels for style in row.styles):
            items = skill.static_eval(level, style)
            found |= {normalised(item.user_prompt): f"{name} level {level}" for item in items}
    return found


class Report:
    """Watches the rows of one file go by and grades what it saw."""

    def __init__(
        self, level: str, grades: Grades, recent: Callable[[], frozenset[bytes]] = frozenset,
        asked: Callable[[], frozenset[bytes]] = frozenset,
    ) -> None:  # fmt: skip
        self.level = level
        self._grades, self._recent_of, self._asked_of = grades, recent, asked
        self._asked: frozenset[bytes] | None = None
        self._recent: frozenset[bytes] | None = None
        self._seen: set[bytes] = set()
        self._answers: Counter[bytes] = Counter()
        self._rows = 0
        self.lengths = array("L")
        self._found: dict[str, Finding] = {}

    def see(self, number: int, messages: Messages, meta: Any) -> None:
        """Look at one row that QUICK accepted."""
        self._rows += 1
        mark, answer = digest(messages), _answer(messages)
        if mark in self._seen:
            self._note("duplicates", "the same row again in this file", number)
        if len(self._seen) < MOST_ROWS:
            self._seen.add(mark)
        if mark in self._recent_rows():
            self._note("recent_duplicates", "the same row as in a recent quest", number)
        if not _WORD.search(answer):
            self._note("empty_answers", "an answer without a letter or digit", number)
        if any(_SPECIAL.search(message["content"]) for message in messages):
            self._note("special_tokens", "special tokens written out in the text", number)
        key = hashlib.blake2b(answer.strip().encode(), digest_size=8).digest()
        if key in self._answers or len(self._answers) < MOST_ANSWERS:
            self._answers[key] += 1
        if self.level == "deep":
            self._look_deep(number, messages, meta, answer)

    def _recent_rows(self) -> frozenset[bytes]:
        if self._recent is None:
            self._recent = self._recent_of()
        return self._recent

    def _asked_prompts(self) -> frozenset[bytes]:
        if self._asked is None:
            self._asked = self._asked_of()
        return self._asked

    def _look_deep(self, number: int, messages: Messages, meta: Any, answer: str) -> None:
        prompts = static_prompts()
        for message in messages:
            if (where := prompts.get(normalised(message["content"]))) is not None:
                self._note("eval_prompts", f"a prompt of the static eval set of {where}", number)
            elif normalised(message["content"]) in self._asked_prompts():
                self._note("eval_prompts", "a prompt that an eval of this base directory asked", number)
        held = sy_problem(messages, meta)
        if held:
            self._note("eval_prompts", held, number)
        wrong = wrong_answer(messages, meta, answer)
        if wrong:
            self._note("golden", wrong, number)

    def _note(self, check: str, text: str, number: int) -> None:
        self._found.setdefault(f"{check}:{text}", Finding(check, text)).add(number)

    def findings(self) -> list[Finding]:
        """Return what was found, the balance of the answers included."""
        found = list(self._found.values())
        most = self._answers.most_common(1)[0][1] if self._answers else 0
        if self._rows >= BALANCE_FROM and most > ONE_ANSWER * self._rows:
            found.append(Finding("balance", f"{most} of {self._rows} rows have one and the same answer", most))
        return [one for one in found if self._grade(one) != "ignore"]

    def errors(self) -> list[Finding]:
        return [one for one in self.findings() if self._grade(one) == "error"]

    def warnings(self) -> list[str]:
        return [str(one) for one in self.findings() if self._grade(one) == "warning"]

    def _grade(self, one: Finding) -> str:
        return str(getattr(self._grades, one.check))

    def lengths_view(self) -> dict[str, int] | None:
        """Return the spread of the rows' lengths in tokens, None before a row was measured."""
        if not self.lengths:
            return None
        order = sorted(self.lengths)
        at = {f"p{share}": order[min(len(order) - 1, len(order) * share // 100)] for share in (5, 50, 95)}
        return {"least": order[0], **at, "most": order[-1]}


def _answer(messages: Messages) -> str:
    return next((message["content"] for message in reversed(messages) if message["role"] == "assistant"), "")


def wrong_answer(messages: Messages, meta: Any, answer: str) -> str | None:
    """Return why a row's answer is not the right one of its skill; None when it is, or nobody can tell."""
    skill_id = meta.get("skill") if isinstance(meta, dict) else None
    if skill_id not in BUILTIN or [m["role"] for m in messages if m["role"] != "system"] != ["user", "assistant"]:
        return None
    prompt = next(message["content"] for message in messages if message["role"] == "user")
    level = meta["level"] if type(meta.get("level")) is int else 0
    item = Item("", skill_id, "", level, "", prompt, "", str(meta.get("key", "")))
    score = builtin_skill(skill_id).score(item, answer)
    if score.strict == 1 or score.parts.get("prompt_ok") is False:
        return None
    return f"an answer that {skill_id} grades as wrong"
