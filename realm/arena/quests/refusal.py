"""A file that is not taken, and which validator said so."""

from __future__ import annotations

from realm.arena.quests.validation import Policy
from realm.core.errors import RealmError

VALIDATOR_NAME = "intake"
VALIDATOR_VERSION = "1"


class Refusal(RealmError):
    """A file that may not become a quest, for what it is rather than for a row in it."""

    code, status, exit_code = "refused_file", 400, 2


def judge_of(refusal: RealmError) -> dict[str, str]:
    """Return which validator refused a file, and its version; intake itself when the error names none."""
    facts = refusal.facts
    return {
        "validator": str(facts.get("validator", VALIDATOR_NAME)),
        "validator_version": str(facts.get("version", VALIDATOR_VERSION)),
    }


def judged_by(judge: dict[str, str], policy: Policy) -> dict[str, str]:
    """Return name -> version of the validators that looked at a refused file: those before the one that refused it, and it."""
    passed = policy.validators()
    order = list(passed)
    before = order[: order.index(judge["validator"])] if judge["validator"] in order else []
    return {**{name: passed[name] for name in before}, judge["validator"]: judge["validator_version"]}
