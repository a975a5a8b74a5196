"""The validator of sparring files: shares of the labels, lengths, uniqueness, and every label graded anew by the skill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from statistics import median
from typing import Any

from realm.core.errors import Corrupt, RealmError
from realm.guild.skill_client import Sample, SkillSource
from realm.guild.skills.split import split_of
from realm.guild.sparring_rows import CORRECT, INCORRECT, VERDICT_TYPES, VERDICTS, Balance, show, within

VALIDATOR_NAME, VALIDATOR_VERSION = "sparring", "1"
OVERALL = (0.45, 0.55)
PART = (0.40, 0.60)
# A rule that looks at one number of the text may be right on this share and what chance adds (see `give_away`).
GUESSED = 0.60
_CHANCE = 1.95  # Kolmogorov-Smirnov at alpha 0.001: 1.95 sqrt(2 / m) for two samples of m


class Refused(RealmError):
    """Sparring rows that may not be trained; the message has the numbers."""

    code, status, exit_code = "refused_sparring", 400, 2


@dataclass(frozen=True)
class Shown:
    """One row as the check sees it: its problem, what was shown, what it claims and what it teaches."""

    number: int
    kind: int
    author: str
    label: str | None
    shown: str | None
    item: Sample
    prompt: str
    answer: str


@dataclass
class Report:
    """What a check found; `problems` is empty when the rows may be trained."""

    numbers: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.problems

    def refuse(self, name: str) -> None:
        """Raise Refused with every number that is wrong, when there is one."""
        if self.problems:
            raise Refused(f"{name}: {'; '.join(self.problems)}", hint="the rows are not put on the board")


def read_row(row: Mapping[str, Any], number: int) -> Shown:
    """Return a row for the check; raises Corrupt when it is not a sparring row or its message is not what it names."""
    try:
        meta = row["metadata"]
        told, [user, reply] = meta["sparring"], row["messages"]
        item = {**told["problem"]}
        found = Shown(
            number, told["type"], told["author"], told["label"], told["shown"], item, user["content"], reply["content"]
        )
        same = all(meta[name] == item[name] for name in ("skill", "level", "key", "id"))
        shown = item["user_prompt"] if found.shown is None else show(item["user_prompt"], found.shown, found.kind)
    except (KeyError, TypeError, ValueError) as error:
        raise Corrupt(f"row {number} is no sparring row: {type(error).__name__} {error}") from error
    if not same or shown != found.prompt:
        raise Corrupt(f"row {number}: its message is not made of the problem and the answer that its metadata names")
    return found


def check_rows(
    rows: Sequence[Mapping[str, Any]], sources: Mapping[str, SkillSource], balance: Balance = "full"
) -> Report:
    """Judge the rows of one file; `sources` are the skills that grade, by id.

    `seed_only` rows are exempt from the shares by author, which they cannot keep. Raises Corrupt for rows of another kind
    and whatever a skill's server raises.
    """
    report = Report()
    found = [read_row(row, number) for number, row in enumerate(rows, 1)]
    report.numbers = {"rows": len(found), "types": dict(sorted(Counter(one.kind for one in found).items()))}
    if not found:
        report.problems.append("no rows")
        return report
    verdicts = [one for one in found if one.kind in VERDICT_TYPES]
    _check_unique(found, report)
    _check_partition(found, report)
    _check_shares(verdicts, report, balance)
    if balance == "full":
        _check_lengths(verdicts, report)
        _check_give_away(verdicts, report)
    _check_labels(found, sources, report)
    return report


def _check_unique(found: Sequence[Shown], report: Report) -> None:
    repeated = len(found) - len({one.prompt for one in found})
    report.numbers["repeated_prompts"] = repeated
    if repeated:
        report.problems.append(f"{repeated} of {len(found)} prompts are repeated, none may be")


def _check_partition(found: Sequence[Shown], report: Report) -> None:
    held_out = [one for one in found if split_of(one.item["skill"], one.item["level"], one.item["key"]) == "eval"]
    report.numbers["eval_keys"] = len(held_out)
    if held_out:
        report.problems.append(f"{len(held_out)} rows are of eval problems, first row {held_out[0].number}")


def _share(part: Sequence[Shown]) -> float:
    return sum(one.label == INCORRECT for one in part) / len(part)


def _check_shares(verdicts: Sequence[Shown], report: Report, balance: Balance) -> None:
    """Judge the shares of `incorrect`: overall 50 +- 5 %, by author and by level 40 to 60 %.

    Golden answers are always right; the same answers made wrong are their counterpart, so both are one author here.
    """
    if not verdicts:
        report.problems.append("no verdict rows")
        return
    parts: dict[str, list[Shown]] = {}
    for one in verdicts:
        parts.setdefault(f"level {one.item['level']}", []).append(one)
        if balance == "full":
            parts.setdefault("author hero" if one.author == "hero" else "author skill", []).append(one)
    shares = {"overall": (_share(verdicts), len(verdicts), OVERALL)}
    shares.update({name: (_share(part), len(part), PART) for name, part in sorted(parts.items())})
    report.numbers["incorrect_share"] = {name: round(share, 4) for name, (share, _, _) in shares.items()}
    for name, (share, n, (low, high)) in shares.items():
        if not low <= share <= high:
            report.problems.append(
                f"{name}: {share:.1%} of {n} verdicts are 'incorrect', allowed are {low:.0%} to {high:.0%}"
            )


def _by_label(verdicts: Sequence[Shown]) -> dict[str, list[Shown]]:
    return {label: [one for one in verdicts if one.label == label] for label in (CORRECT, INCORRECT)}


def _check_lengths(verdicts: Sequence[Shown], report: Report) -> None:
    parts = _by_label(verdicts)
    if not all(parts.values()):
        return
    middle = {label: median(len(one.shown or "") for one in part) for label, part in parts.items()}
    report.numbers["median_length"] = middle
    if not within(middle[CORRECT], middle[INCORRECT]):
        told = f"{middle[CORRECT]:g} and {middle[INCORRECT]:g} characters"
        report.problems.append(
            f"median length of answers shown as correct and as incorrect: {told}, more than 10 % apart"
        )


_LOOKS: dict[str, Callable[[Shown], float]] = {
    "characters of the answer": lambda one: len(one.shown or ""),
    "lines of the answer": lambda one: (one.shown or "").count("\n"),
    "characters of its last word": lambda one: len(((one.shown or "").split() or [""])[-1]),
    "different characters of the answer": lambda one: len(set(one.shown or "")),
    "characters of the problem": lambda one: len(str(one.item["user_prompt"])),
}


def give_away(right: Iterable[float], wrong: Iterable[float]) -> float:
    """Return the balanced accuracy of the best threshold on one number: 0.5 tells nothing, 1 gives the label away."""
    first, second = sorted(right), sorted(wrong)
    marks = sorted({*first, *second})
    widest = 0.0
    at_first = at_second = 0
    for mark in marks:
        while at_first < len(first) and first[at_first] <= mark:
            at_first += 1
        while at_second < len(second) and second[at_second] <= mark:
            at_second += 1
        widest = max(widest, abs(at_first / len(first) - at_second / len(second)))
    return 0.5 + widest / 2


def _check_give_away(verdicts: Sequence[Shown], report: Report) -> None:
    parts = _by_label(verdicts)
    fewest = min(len(part) for part in parts.values())
    if fewest == 0:
        return
    limit = GUESSED + _CHANCE * sqrt(2 / fewest) / 2
    worst = 0.0
    for name, look in _LOOKS.items():
        guessed = give_away(map(look, parts[CORRECT]), map(look, parts[INCORRECT]))
        worst = max(worst, guessed)
        if guessed > limit:
            report.problems.append(f"{name} alone tells {guessed:.0%} of the labels, at most {limit:.0%} may be told")
    report.numbers["guessed_without_reading"] = round(worst, 4)


def _check_labels(found: Sequence[Shown], sources: Mapping[str, SkillSource], report: Report) -> None:
    """Grade every shown answer and every taught solution anew."""
    wrong = []
    for one, claimed, correct in _graded(found, sources):
        if correct != claimed:
            wrong.append(one.number)
    wrong += [one.number for one in found if one.kind in VERDICT_TYPES and one.answer != VERDICTS.get(str(one.label))]
    report.numbers["false_labels"] = len(set(wrong))
    if wrong:
        report.problems.append(f"{len(set(wrong))} labels are false by the skill's grader, first row {min(wrong)}")


def _graded(found: Sequence[Shown], sources: Mapping[str, SkillSource]) -> Iterable[tuple[Shown, bool, bool]]:
    """Yield row, what is claimed of a text and what the grader says; types 2 and 7 have two texts."""
    for skill, source in sources.items():
        tasks: list[tuple[Shown, str, bool]] = []
        for one in (one for one in found if one.item["skill"] == skill):
            if one.shown is not None:
                tasks.append((one, one.shown, one.label == CORRECT if one.kind in VERDICT_TYPES else one.kind == 7))
            if one.kind not in VERDICT_TYPES:
                tasks.append((one, one.answer, True))
        grades = source.grade([one.item for one, _, _ in tasks], [text for _, text, _ in tasks]) if tasks else []
        for (one, _, claimed), grade in zip(tasks, grades, strict=True):
            yield one, claimed, grade.correct
    unknown = sorted({one.item["skill"] for one in found} - set(sources))
    if unknown:
        raise Corrupt(f"no skill server to grade {', '.join(unknown)}")
