"""Data profiles: how rows are dressed when they are formed, and how generation is held to the same form.

A profile is a line of a table: text for the system turn, what is put around answers, and the penalties of generation. What
a profile does to a row depends on the row, its place and a seed alone. `undress` gives back the bare answer that is graded.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from realm.armory.profile_calls import from_prefix_form, to_prefix_form
from realm.armory.template import TRAINED_ROLE, Message
from realm.core.errors import unknown_name
from realm.core.seeds import derive_seed

THINKING = ("🤔", "🧠", "💭", "🔍", "🧐", "💡", "🧮", "📐", "🔬", "🧩")
STOPPING = ("🛑", "🏁", "🔚", "🎯", "🚦", "📍", "🔒", "🚩", "🔔", "🏆")
THINK_TAGS = ("<think>", "</think>")
ANSWER_BEGINS, ANSWER_ENDS = "<<ANS_START>>", "<<ANS_END>>"
PREFIX_FORM = (
    "Write every operation in the form (op arg1 arg2), also inside another one. "
    f"Begin the answer with {ANSWER_BEGINS} and end it with {ANSWER_ENDS}."
)


@dataclass(frozen=True)
class Frame:
    """Copies of one emoji before and after the answer of every second row; bounds are copies, both ends included."""

    before: tuple[str, ...]
    before_copies: tuple[int, int]
    after: tuple[str, ...]
    after_copies: tuple[int, int]
    instruction: str


@dataclass(frozen=True)
class Penalties:
    """What generation avoids: `tags` lose `schedule` logits (up to this many generated tokens, this much); after a `stop`
    text only the end mark is left."""

    tags: tuple[str, ...] = ()
    schedule: tuple[tuple[int | None, float], ...] = ()
    stops: tuple[str, ...] = ()


@dataclass(frozen=True)
class Profile:
    """One data profile; `system` is asked for in the system turn of every row."""

    id: str
    title: str
    system: str | None = None
    frame: Frame | None = None
    prefix_form: bool = False
    without_tags: tuple[str, ...] = ()
    penalties: Penalties = Penalties()


PROFILES: dict[str, Profile] = {
    profile.id: profile
    for profile in (
        Profile("none", "rows as they are"),
        Profile(
            "emoji_think",
            "thinking emoji before and stop emoji after the answer of every second row, no think tags",
            frame=Frame(THINKING, (2, 8), STOPPING, (2, 4),
                        "Begin your answer with {before} written {n} times and end it with {after} written {m} times."),
            without_tags=THINK_TAGS,
            penalties=Penalties(THINK_TAGS, ((8, 30.0), (32, 15.0), (None, 5.0)), tuple(emoji * 2 for emoji in STOPPING)),
        ),
        Profile("regime3", "operations as (op arg1 arg2), answers between markers", system=PREFIX_FORM, prefix_form=True,
                penalties=Penalties(stops=(ANSWER_ENDS,))),
    )
}  # fmt: skip


def get_profile(profile_id: str) -> Profile:
    """Return a profile; raises Unknown with the known ones."""
    if profile_id not in PROFILES:
        raise unknown_name("profile", profile_id, list(PROFILES))
    return PROFILES[profile_id]


def with_system(profile: Profile, mantra: str | None) -> str | None:
    """Return the system text of rows that have none of their own."""
    parts = [part for part in (mantra, profile.system) if part]
    return "\n".join(parts) if parts else None


def dress(profile: Profile, row: Sequence[Message], place: int, *seed: str | int) -> list[Message]:
    """Return row `place` of a quest as the profile wants it trained; the same for the same seed address."""
    frame = _drawn(profile, place, seed) if profile.frame else None
    return _dressed(profile, row, frame)


def longest_dress(profile: Profile, row: Sequence[Message]) -> list[Message]:
    """Return a row with as much around it as the profile may ever put there."""
    if profile.frame is None:
        return _dressed(profile, row, None)
    f = profile.frame
    widest = (max(f.before, key=_width), f.before_copies[1], max(f.after, key=_width), f.after_copies[1])
    return _dressed(profile, row, widest)


def _width(text: str) -> int:
    return len(text.encode())


def _drawn(profile: Profile, place: int, seed: Sequence[str | int]) -> tuple[str, int, str, int] | None:
    """Draw emoji and copies for a row, None for the half that stays bare: one of every two neighbours is chosen."""
    assert profile.frame is not None
    chosen = random.Random(derive_seed("profile", profile.id, *seed, "pair", place // 2)).randrange(2)
    if place % 2 != chosen:
        return None
    draw = random.Random(derive_seed("profile", profile.id, *seed, "row", place))
    f = profile.frame
    return draw.choice(f.before), draw.randint(*f.before_copies), draw.choice(f.after), draw.randint(*f.after_copies)


def _dressed(profile: Profile, row: Sequence[Message], drawn: tuple[str, int, str, int] | None) -> list[Message]:
    found = [cast("Message", dict(message)) for message in row]
    for number, message in enumerate(found):
        if message["role"] == TRAINED_ROLE:
            message["content"] = _answer(profile, message["content"], drawn)
            if drawn and number and found[number - 1]["role"] == "user":
                found[number - 1]["content"] += "\n" + _instruction(profile, drawn)
        elif message["role"] == "system" and profile.system:
            message["content"] += "\n" + profile.system
    return found


def _instruction(profile: Profile, drawn: tuple[str, int, str, int]) -> str:
    assert profile.frame is not None
    before, n, after, m = drawn
    return profile.frame.instruction.format(before=before, n=n, after=after, m=m)


def _answer(profile: Profile, text: str, drawn: tuple[str, int, str, int] | None) -> str:
    for tag in profile.without_tags:
        text = text.replace(tag, "")
    if profile.prefix_form:
        return f"{ANSWER_BEGINS} {to_prefix_form(text)} {ANSWER_ENDS}"
    if drawn is None:
        return text
    before, n, after, m = drawn
    return f"{before * n} {text} {after * m}"


def undress(profile: Profile, text: str) -> str:
    """Return the answer without what the profile puts around it; text in another form comes back as far as it fits."""
    if profile.frame is not None:
        ahead, behind = ("|".join(map(re.escape, emoji)) for emoji in (profile.frame.before, profile.frame.after))
        text = re.sub(rf"^(?:{ahead})+ ?", "", text)
        return re.sub(rf" ?(?:{behind})+$", "", text)
    if profile.prefix_form:
        text = text.split(ANSWER_BEGINS, 1)[-1].split(ANSWER_ENDS, 1)[0]
        return from_prefix_form(text.removeprefix(" ").removesuffix(" "))
    return text
