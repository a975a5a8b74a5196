"""Trials as they are stored and shown: `status/trials.json`, the newest first, one for each digest; without torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from realm.core.durable import read_projection, write_json
from realm.core.paths import Paths

FILE = "trials.json"
KEPT = 20


@dataclass(frozen=True)
class Check:
    """One check: None in `passed` says it was left out; `todo` what helps when it fails."""

    name: str
    passed: bool | None
    found: str
    limit: str
    todo: str


@dataclass(frozen=True)
class Trial:
    """The checks of one hero, setting and kind of quest; `digest` is of everything they depend on."""

    digest: str
    at: str
    hero: str
    kind: str
    quest: str
    step: int
    seconds: float
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(check.passed is not False for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "passed": self.passed}


def list_trials(paths: Paths) -> list[Trial]:
    """Return the stored trials, the newest first."""
    found = (read_projection(paths.status / FILE) or {}).get("trials", [])
    return [_read(told) for told in found]


def _read(told: dict[str, Any]) -> Trial:
    known = {name: told[name] for name in Trial.__dataclass_fields__}
    return Trial(**{**known, "checks": tuple(Check(**check) for check in told["checks"])})


def known_trial(paths: Paths, digest: str) -> Trial | None:
    """Return the stored trial of a digest, None when there is none."""
    return next((trial for trial in list_trials(paths) if trial.digest == digest), None)


def store_trial(paths: Paths, trial: Trial) -> None:
    """Put a trial first; an older one of the same digest goes."""
    others = [known for known in list_trials(paths) if known.digest != trial.digest]
    write_json(paths.status / FILE, {"trials": [one.as_json() for one in [trial, *others][:KEPT]]})


def trial_text(trial: Trial) -> str:
    """Return a trial as lines for a terminal."""
    verdict = "passed" if trial.passed else "FAILED"
    lines = [f"{trial.at}  {verdict} in {trial.seconds:.2f} s: hero {trial.hero}, {trial.kind} quests ({trial.quest})"]
    for check in trial.checks:
        word = {True: "ok", False: "FAILED", None: "left out"}[check.passed]
        lines.append(f"  {word:9}{check.name}: {check.found}" + (f" ({check.limit})" if check.limit else ""))
        if check.passed is False:
            lines.append(f"           {check.todo}")
    return "\n".join(lines)
