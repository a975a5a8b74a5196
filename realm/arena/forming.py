"""From a quest on the board to steps in memory: encode every row, check the masks, fix the order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from realm.arena.formation.batching import plan_batches
from realm.arena.formation.masking_validators import MaskingReport, check_masks, refuse_bad_masks
from realm.arena.formation.rows import EncodedRow, FormedQuest, form_quest, refuse_too_long
from realm.arena.quests import board
from realm.arena.quests.quest import Quest, sidecar_of
from realm.arena.quests.validation import check_messages, parse_row
from realm.armory.config import Config
from realm.armory.heroes import Hero
from realm.armory.profiles import dress, get_profile, with_system
from realm.armory.template import ChatTemplate, Message, dated
from realm.core import durable
from realm.core.errors import Corrupt
from realm.core.ids import sha256_file
from realm.core.paths import Paths
from realm.core.seeds import derive_seed


@dataclass(frozen=True)
class Formed:
    """A quest ready to train: encoded rows and, for every optimiser step, the positions of its rows."""

    rows: list[EncodedRow]
    steps: list[list[int]]


def mantra_of(hero: Hero, quest: Quest) -> str | None:
    """Return the hero's system text with the date of the quest's arrival, so that a quest trains the same on any day."""
    return dated(hero.mantra, quest.arrived_at[:10])


@dataclass(frozen=True)
class Cut:
    """How a quest was cut into steps when it was begun; a quest goes on as it began, whatever the configuration says now."""

    rows_per_step: int
    seed: int
    profile: str = "none"


def cut_of(config: Config) -> Cut:
    return Cut(config.training.rows_per_step, config.seed, config.profile)


def keep_report(path: Path, report: MaskingReport, cut: Cut) -> None:
    """Store what the masking validators found, and the cut they saw, in the sidecar beside the quest's file."""
    beside = sidecar_of(path)
    if not beside.is_file():
        return
    meta = json.loads(beside.read_text(encoding="utf-8"))
    found = {"masking": report.as_json(), "cut": vars(cut)}
    if {name: meta.get(name) for name in found} != found:
        durable.write_json(beside, {**meta, **found})


def recorded_cut(path: Path) -> Cut | None:
    """Return the cut that the sidecar of a quest's file names, None when it was not begun yet."""
    beside = sidecar_of(path)
    found = json.loads(beside.read_text(encoding="utf-8")).get("cut") if beside.is_file() else None
    return Cut(**found) if found else None


def order_of(lengths: Sequence[int], quest: Quest, cut: Cut) -> list[list[int]]:
    """Return the rows of every step of a quest; a function of the number of rows, the file's digest and the cut."""
    return plan_batches(lengths, cut.rows_per_step, derive_seed("order", quest.sha256, cut.seed))


def encode_quest(
    paths: Paths, quest: Quest, template: ChatTemplate, hero: Hero, max_length: int, cut: Cut, limit: int | None = None
) -> FormedQuest:
    """Encode a quest's rows as they are trained, in their profile; the first `limit` of them, all without it."""
    profile = get_profile(cut.profile)
    plain = (cast("list[Message]", row["messages"]) for row in board.read_rows(paths, quest, limit))
    messages = [dress(profile, row, place, quest.sha256, cut.seed) for place, row in enumerate(plain)]
    mantra = with_system(profile, mantra_of(hero, quest))
    return form_quest(messages, template, max_length, mantra=mantra, name=quest.name)


def form(paths: Paths, quest: Quest, template: ChatTemplate, hero: Hero, config: Config, cut: Cut) -> Formed:
    """Encode a quest and plan its steps; a pure function of file, hero and cut, so that a cursor is enough.

    Raises Corrupt when the file is not the one that was accepted, BadInput naming a row that cannot be trained.
    """
    path = paths.queue("processing") / quest.file
    if not path.is_file() or sha256_file(path) != quest.sha256:
        raise Corrupt(f"quest {quest.name} is not the file that was accepted", hint="drop it again")
    formed = encode_quest(paths, quest, template, hero, config.max_length, cut)
    refuse_too_long(formed, config.max_length, quest.name)
    report = check_masks(formed.rows, template, abort_below=config.masking_floor)
    keep_report(path, report, cut)
    refuse_bad_masks(report, quest.name)
    return Formed(formed.rows, order_of([len(row) for row in formed.rows], quest, cut))


def validation_name(skill: str, level: int) -> str:
    """Return the file name of a skill level's held-out rows."""
    return f"{skill}_level{level}.jsonl"


def validation_file(paths: Paths, quest: Quest) -> Path:
    """Return the held-out rows that fit a quest: those of its skill and level, else the player's own."""
    if quest.skill and quest.level:
        return paths.validation / validation_name(quest.skill, quest.level)
    return paths.validation / "general.jsonl"


def validation_rows(
    paths: Paths, quest: Quest, template: ChatTemplate, hero: Hero, config: Config
) -> tuple[str, list[EncodedRow]]:
    """Return name and encoded rows of the held-out set of a quest; an empty list when there is none."""
    path = validation_file(paths, quest)
    if not path.is_file():
        return path.stem, []
    lines = path.read_bytes().splitlines()[: config.validation.rows]
    messages = [cast("list[Message]", check_messages(parse_row(line, n), n)) for n, line in enumerate(lines, 1)]
    profile = get_profile(config.profile)
    dressed = [dress(profile, row, place, "validation") for place, row in enumerate(messages)]
    mantra = with_system(profile, mantra_of(hero, quest))
    return path.stem, form_quest(dressed, template, config.max_length, mantra=mantra, name=path.name).rows
