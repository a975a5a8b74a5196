"""The table of achievements: what each takes, in words and as a count over the folded progression.

An achievement is earned by the event at which its count first reaches what is needed; that event is its evidence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from realm.core.events import Event
from realm.guild.progression import Evidence, Progress, fold

Reached = Callable[[Progress], int]


@dataclass(frozen=True)
class Achievement:
    """One row: `reached` counts over the state, `needed` is where it is earned; hidden ones keep their text till then."""

    id: str
    title: str
    text: str
    reached: Reached
    needed: int = 1
    hidden: bool = False


def _n(*names: str) -> Reached:
    return lambda state: sum(state.counts.get(name, 0) for name in names)


def _skill(skill: str) -> Reached:
    return lambda state: state.mastered.get(skill, 0)


def _level(state: Progress) -> int:
    return state.level


def _steps(state: Progress) -> int:
    return state.step


def _both(state: Progress) -> int:
    return min(state.mastered.get("bin", 0), state.mastered.get("sy", 0))


ACHIEVEMENTS: tuple[Achievement, ...] = (
    Achievement("first_blood", "First Blood", "A saved checkpoint holds the first optimiser step.", _steps),
    Achievement("apprentice", "Apprentice", "Reach level 1: 1,000 optimiser steps.", _steps, 1_000),
    Achievement("adept", "Adept", "Reach level 10.", _level, 10),
    Achievement("veteran", "Veteran", "Reach level 25.", _level, 25),
    Achievement("legend", "Legend", "Reach level 100.", _level, 100),
    Achievement("first_seal", "First Seal", "Master a skill level.", _n("skill.mastered")),
    Achievement("scholar", "Scholar", "Master ten skill levels, over all skills.", _n("skill.mastered"), 10),
    Achievement("alchemist", "Alchemist", "Master BIN level 5.", _skill("bin"), 5),
    Achievement("grand_alchemist", "Grand Alchemist", "Master BIN level 30.", _skill("bin"), 30),
    Achievement("word_weaver", "Word Weaver", "Master SY level 5.", _skill("sy"), 5),
    Achievement("loom_master", "Loom Master", "Master SY level 50.", _skill("sy"), 50),
    Achievement("both_hands", "Both Hands", "Master level 3 in BIN and in SY.", _both, 3),
    Achievement("sharp_eye", "Sharp Eye", "Answer every problem of a gate eval right.", _n("flawless")),
    Achievement("examined", "Examined", "Finish 100 evals.", _n("checkpoint.evaluated"), 100),
    Achievement("crowned", "Crowned", "A checkpoint becomes the first champion.", _n("hero.champion")),
    Achievement("dethroned", "Dethroned", "A champion is beaten by more than 5 % of its own value.", _n("dethroned")),
    Achievement("dynasty", "Dynasty", "Crown ten champions.", _n("hero.champion"), 10),
    Achievement(
        "long_reign", "Long Reign", "Save 20 checkpoints while one champion keeps the crown.", _n("reign_saves"), 20
    ),
    Achievement("errand", "Errand Done", "Complete a quest.", _n("quests")),
    Achievement("librarian", "Librarian", "Complete 50 quests.", _n("quests"), 50),
    Achievement("thousand_scrolls", "A Thousand Scrolls", "Complete 1,000 quests.", _n("quests"), 1_000),
    Achievement("well_read", "Well Read", "Complete quests of 100,000 rows in all.", _n("rows"), 100_000),
    Achievement("giant_slayer", "Giant Slayer", "Complete one quest of 10,000 rows.", _n("largest_quest"), 10_000),
    Achievement("unbroken", "Unbroken", "Complete 100 quests with none failed between them.", _n("unbroken"), 100),
    Achievement("second_wind", "Second Wind", "Complete a quest that had failed before.", _n("second_wind")),
    Achievement("gatekeeper", "Gatekeeper", "The validator refuses a file.", _n("queue.rejected")),
    Achievement(
        "clean_ledger", "Clean Ledger", "Save 100 checkpoints with none quarantined between them.", _n("clean_saves"), 100
    ),
    Achievement(
        "steady_hand", "Steady Hand", "Save 10,000 steps without a restart of the arena.", _n("steady_steps"), 10_000
    ),
    Achievement(
        "phoenix", "Phoenix", "Go on at the last saved step after the arena went down.", _n("phoenix"), hidden=True
    ),
    Achievement(
        "night_watch", "Night Watch", "Train eight hours with no break over two minutes.", _n("stretch_hours"), 8
    ),
    Achievement(
        "old_companion", "Old Companion", "Save a checkpoint 30 days after the first hero was made.", _n("hero_days"), 30
    ),
    Achievement(
        "storm_rider", "Storm Rider", "After a loss spike, reach a new best loss in the same quest.",
        _n("storm_ridden"), hidden=True
    ),
    Achievement("held_breath", "Held Breath", "Pause and go on at the same step.", _n("held_breath")),
    Achievement(
        "nothing_happened", "Nothing Happened", "24 hours pass between two events.", _n("silent_hours"), 24, hidden=True
    ),
    Achievement(
        "humble_pie", "Humble Pie", "A mastered level fails its retention probe.", _n("skill.rusty"), hidden=True
    ),
    Achievement("second_thought", "Second Thought", "Bring a deleted quest back.", _n("second_thought"), hidden=True),
    Achievement("mended", "Needle and Thread", "The weaver brings a service back.", _n("service.mended")),
    Achievement("mirror_match", "Mirror Match", "Finish a sparring session.", _n("sparring.finished")),
    Achievement(
        "sparring_partner", "Sparring Partner", "Train 300 sparring rows: the corrections of 100 mistakes.",
        _n("sparring_rows"), 300
    ),
    Achievement("archivist", "Archivist", "A verified copy of an asset exists in another place.", _n("asset.copied")),
)


def get_achievement(name: str) -> Achievement | None:
    """Return a row of the table, None for an id of another version."""
    return next((row for row in ACHIEVEMENTS if row.id == name), None)


def take(state: Progress, event: Event) -> Progress:
    """Fold one event and note what it earned, with the event as evidence; pure."""
    after = fold(state, event)
    if after is state:
        return state
    fresh = [row.id for row in ACHIEVEMENTS if row.id not in after.earned and row.reached(after) >= row.needed]
    if not fresh:
        return after
    proof = Evidence(event["seq"], event["at"], event["step"])
    return replace(after, earned={**after.earned, **dict.fromkeys(fresh, proof)})


def untold(state: Progress) -> list[Achievement]:
    """Return what is earned but not yet in the log as `achievement.unlocked`, in the order of the table."""
    return [row for row in ACHIEVEMENTS if row.id in state.earned and row.id not in state.told]
