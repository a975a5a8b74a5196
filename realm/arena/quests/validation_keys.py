"""Eval problems are recognised by what they are: level and key are worked out from the prompt, not read from the row.

BIN and the tasks of reasoning-gym are looked for in every row at every level of validation, SY at DEEP, as solving takes
milliseconds. A problem is also found when other text stands before or after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from realm.guild.skills.bin.level_of import content_of
from realm.guild.skills.bin.reading import Unreadable
from realm.guild.skills.gym import frame
from realm.guild.skills.split import split_of
from realm.guild.skills.sy import level_of as syllacrostic

SKILL = "bin"
MARK = "Compute: "
MOST_MARKS = 32  # problems looked at in one message
MOST_TEXT = 200_000
_ABOVE = ("Symbol Key:", "Key A:", "Key B:", "Rules:")


def problems_in(text: str) -> Iterator[str]:
    """Yield what may be BIN prompts in a text: a line with the mark, under the key and rule lines before it.

    A line is also tried without the words that follow its last bracket.
    """
    above: list[str] = []
    found = 0
    for line in text[:MOST_TEXT].split("\n"):
        start = line.find(MARK)
        if start < 0:
            if line.strip().startswith(_ABOVE):
                above.append(line)
            continue
        found += 1
        if found > MOST_MARKS:
            return
        problem = line[start:].rstrip()
        yield "\n".join([*above, problem])
        if not problem.endswith((")", "]")):
            yield "\n".join([*above, problem[: problem.rfind(")") + 1]])
        above = []


def eval_problem(messages: Sequence[Mapping[str, str]]) -> tuple[int, str] | None:
    """Return (level, key) of the first problem of the eval partition that a row contains, None without one."""
    for message in messages:
        for prompt in problems_in(message["content"]) if MARK in message["content"] else ():
            try:
                found = content_of(prompt)
            except (Unreadable, ValueError, RecursionError):
                continue
            if split_of(SKILL, found.level, found.key) == "eval":
                return found.level, found.key
    return None


def forged_key(messages: Sequence[Mapping[str, str]], meta: Any) -> str | None:
    """Return the true key of a row that claims another one; None when it is true, or cannot be told."""
    if not isinstance(meta, dict) or meta.get("skill") != SKILL or not isinstance(meta.get("key"), str):
        return None
    asked = [message["content"] for message in messages if message["role"] == "user"]
    if len(asked) != 1 or not asked[0].rsplit("\n", 1)[-1].startswith(MARK):
        return None
    try:
        key = content_of(asked[0]).key
    except (Unreadable, ValueError, RecursionError):
        return None
    return key if key != meta["key"] else None


def gym_eval_problem(messages: Sequence[Mapping[str, str]]) -> str | None:
    """Return the skill of the first eval question of reasoning-gym that a row contains, None without one."""
    for message in messages:
        for skill, question in frame.questions_in(message["content"]) if "Puzzle (" in message["content"] else ():
            if frame.partition(skill, question) == "eval":
                return skill
    return None


def sy_problem(messages: Sequence[Mapping[str, str]], meta: Any) -> str | None:
    """Return what is wrong with the SY puzzles of a row, worked out from their prompts; None when nothing is.

    Where several levels can pose a puzzle, a true key in the row says which it is; without one, each of them counts.
    """
    claimed = meta if isinstance(meta, dict) and meta.get("skill") == "sy" else {}
    for message in messages:
        for prompt in syllacrostic.puzzles_in(message["content"]) if syllacrostic.OPENING in message["content"] else ():
            try:
                keys = syllacrostic.content_of(prompt).keys
            except (ValueError, RecursionError):
                continue
            level = claimed.get("level")
            if type(level) is int and level in keys and claimed.get("key") == keys[level]:
                keys = {level: keys[level]}
            held = [level for level, key in keys.items() if split_of("sy", level, key) == "eval"]
            if held:
                return f"a problem of the eval set of sy level {' or '.join(map(str, held))}, worked out from the prompt"
    return None
