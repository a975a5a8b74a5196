"""One task of reasoning-gym: its questions by number, and its own scorer behind a contract that never raises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from realm.core.errors import BadInput, Corrupt, Unavailable, unknown_name
from realm.core.logs import get_logger
from realm.guild.skills.config import Gym

log = get_logger("gym")
PACKAGE_HINT = "install the extra: pip install 'realm-of-training[gym]'"
NUMBERS = 2**31  # questions of a level by number; item 0 of seed n, never seed + n: neighbours would share it
MAX_ANSWER = 100_000


def gym_package() -> Any:
    """Return the package; raises Unavailable when it is not installed."""
    try:
        import reasoning_gym
    except ImportError as error:
        raise Unavailable(f"reasoning-gym is not installed: {error}", hint=PACKAGE_HINT) from error
    return reasoning_gym


def package_version() -> str:
    """Return the installed version without loading the package; raises Unavailable when it is not installed."""
    try:
        return version("reasoning-gym")
    except PackageNotFoundError as error:
        raise Unavailable("reasoning-gym is not installed", hint=PACKAGE_HINT) from error


def task_names() -> list[str]:
    """Return the names of all tasks; raises Unavailable without the package."""
    gym_package()
    from reasoning_gym.factory import DATASETS

    return sorted(DATASETS)


def plain(value: Any) -> Any:
    """Return a setting as YAML has it: tuples as lists, enumerations as their values."""
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value.value if hasattr(value, "value") and not isinstance(value, (str, int, float)) else value


@dataclass(frozen=True)
class Entry:
    """One question with the answer the task gives; `raw` is what its scorer wants back."""

    question: str
    answer: str
    raw: Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What the task's scorer said; `error` names an exception of the scorer itself."""

    value: float
    error: str | None = None


class Task:
    """The levels of one task as data sets; made once, used by number. Raises Unknown and BadInput for a wrong table."""

    def __init__(self, table: Gym) -> None:
        names = task_names()
        if table.task not in names:
            raise unknown_name("reasoning-gym task", table.task, names)
        self.table = table
        self._sets = [self._make(number, settings) for number, settings in enumerate(table.levels, 1)]
        self._entry = lru_cache(maxsize=4096)(self._draw)

    def _make(self, level: int, settings: Mapping[str, Any]) -> Any:
        try:
            found = gym_package().create_dataset(self.table.task, seed=0, size=NUMBERS, **settings)
        except (TypeError, ValueError, AssertionError, KeyError) as error:
            message = f"level {level} of {self.table.task} cannot be made: {error}"
            raise BadInput(message, hint=f"its settings: {settings}") from error
        wrong = {name: plain(getattr(found.config, name, None)) for name, value in settings.items()
                 if plain(getattr(found.config, name, None)) != plain(value)}  # fmt: skip
        if wrong:
            raise BadInput(f"level {level} of {self.table.task} did not take its settings, it has {wrong}")
        return found

    def entry(self, level: int, number: int) -> Entry:
        """Return question `number` of a level; raises Corrupt when the task fails or gives no answer."""
        return self._entry(level, number)

    def _draw(self, level: int, number: int) -> Entry:
        try:
            raw = self._sets[level - 1][number]
        except Exception as error:  # another project's code: whatever it raises says that the task is faulty
            raise Corrupt(f"{self.table.task} level {level} number {number}: {type(error).__name__}: {error}") from error
        question, answer = raw.get("question"), raw.get("answer")
        if not isinstance(question, str) or not isinstance(answer, str) or not question.strip() or not answer.strip():
            raise Corrupt(f"{self.table.task} level {level} number {number} has no question or no answer as text")
        return Entry(question.strip(), answer.strip(), raw)

    def score(self, level: int, entry: Entry, answer: str) -> Verdict:
        """Return the verdict of the task's own scorer on an answer; never raises."""
        try:
            value = float(self._sets[level - 1].score_answer(answer, dict(entry.raw)))
        except Exception as error:  # noqa: BLE001  counted as an error of the verifier, never as an answer
            return Verdict(0.0, f"{type(error).__name__}: {error}"[:300])
        return Verdict(value if 0.0 <= value <= 1.0 else 0.0)


def answer_in(reply: str, whole: bool) -> str:
    """Return the part of a reply that is the answer: its last line with text, or all of it; "" where there is none."""
    text = reply.strip()
    if len(text) > MAX_ANSWER or not text:
        return ""
    return text if whole else text.splitlines()[-1].strip()
