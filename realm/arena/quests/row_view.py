"""One row of a training file as the hero reads it: tokens, which of them are trained by which method, in which segment.

Rows count from 0, as in traces, masking reports and the errors of a battle. Nothing is changed here; a row that could not be
trained is shown with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from realm.arena.forming import Cut, cut_of, mantra_of, recorded_cut
from realm.arena.quests import board, intake, validation
from realm.arena.quests.quest import Quest, quest_path
from realm.arena.quests.yardstick import hero_template
from realm.armory.heroes import active_config, active_hero
from realm.armory.profiles import dress, get_profile, with_system
from realm.armory.template import TRAINED_ROLE, ChatTemplate, Encoded, Message, with_mantra
from realm.core.errors import Unknown, unknown_name
from realm.core.ids import sha256_file
from realm.core.paths import Paths


@dataclass(frozen=True)
class Told:
    """A row's messages, the system text for rows that have none, the cut it is or would be trained with."""

    messages: Sequence[Message]
    mantra: str | None
    cut: Cut


def read_one(path: Path, place: int) -> Sequence[Message]:
    """Return the messages of row `place` of a file; raises Unknown past its end, RowError for a row that is none."""
    number = 0
    with board.open_plain(path) as handle:
        while line := handle.readline(validation.MAX_LINE + 1):
            if not line.strip():
                continue
            if number == place:
                if len(line) > validation.MAX_LINE:
                    raise validation.RowError(f"row {number}: longer than {validation.MAX_LINE} bytes")
                row = validation.parse_row(line, number)
                return cast("Sequence[Message]", validation.check_messages(row, number))
            number += 1
    raise Unknown(f"{path.name} has {number} rows, asked was row {place}", hint="rows count from 0")


def inbox_file(paths: Paths, name: str) -> Path:
    """Return the file of the inbox that the quest page shows under this name; raises Unknown for any other."""
    known = {intake.shown(path.relative_to(paths.inbox).as_posix()): path for path in intake.waiting_files(paths.inbox)}
    if name not in known:
        raise unknown_name("file in the inbox", name, list(known)[:20])
    return known[name]


def quest_tokens(paths: Paths, quest: Quest, place: int) -> dict[str, Any]:
    """Return row `place` of a quest of any state; raises Unknown when its file was let go."""
    if not quest_path(paths, quest).exists():
        raise Unknown(f"the file of {quest.name} is not kept any more", hint="retention.quests says how many completed ones stay")
    cut = recorded_cut(quest_path(paths, quest)) or cut_of(active_config(paths).config)
    found = _view(paths, quest_path(paths, quest), place, cut, mantra_of(active_hero(paths), quest), quest.sha256)
    return {"quest": quest.id, "name": quest.name, "state": quest.state, **found}


def file_tokens(paths: Paths, path: Path, place: int) -> dict[str, Any]:
    """Return row `place` of a file that is no quest yet, as it would be trained now (a `{date}` in the mantra stays)."""
    cut = cut_of(active_config(paths).config)
    found = _view(paths, path, place, cut, active_hero(paths).mantra, sha256_file(path))
    return {"quest": None, "name": path.name, "state": "inbox", **found}


def _view(paths: Paths, path: Path, place: int, cut: Cut, mantra: str | None, digest: str) -> dict[str, Any]:
    profile = get_profile(cut.profile)
    row = dress(profile, read_one(path, place), place, digest, cut.seed)
    told = Told(row, with_system(profile, mantra), cut)
    max_length = active_config(paths).config.max_length
    return {"row": place, "profile": cut.profile, **row_view(told, hero_template(active_hero(paths)), max_length)}


def row_view(told: Told, template: ChatTemplate, max_length: int) -> dict[str, Any]:
    """Return tokens and segments of a row; `reason` says why it cannot be trained, null when it can."""
    encoded = template.render(told.messages, mantra=told.mantra)
    scanned = template.scan_labels(encoded.ids)
    differs = next((n for n, (a, b) in enumerate(zip(encoded.trained, scanned, strict=True)) if a != b), None)
    full = with_mantra(told.messages, told.mantra)
    tokens = [
        {"id": number, "text": template.decode([number]), "trained": trained, "scanned": seen}
        for number, trained, seen in zip(encoded.ids, encoded.trained, scanned, strict=True)
    ]
    return {
        "tokens": tokens, "segments": segments(encoded, template, [message["role"] for message in full]),
        "length": len(tokens), "trained": sum(encoded.trained), "masked_share": encoded.trained.count(False) / len(tokens),
        "max_length": max_length, "methods_agree": differs is None, "differs_at": differs,
        "reason": why_not(encoded, differs, max_length),
    }  # fmt: skip


def segments(encoded: Encoded, template: ChatTemplate, roles: Sequence[str]) -> list[dict[str, Any]]:
    """Return role, first and last token (exclusive) and trained tokens of every message; frame tokens cannot be forged."""
    begins = [place for place, number in enumerate(encoded.ids) if number == template.start_id]
    ends = [*begins[1:], len(encoded.ids)]
    return [
        {"role": role, "begin": begin, "end": end, "trained": sum(encoded.trained[begin:end]), "answers": role == TRAINED_ROLE}
        for role, begin, end in zip(roles, begins, ends, strict=True)
    ]


def why_not(encoded: Encoded, differs: int | None, max_length: int) -> str | None:
    if differs is not None:
        return f"rendered and scanned labels differ at token {differs}"
    if not any(encoded.trained):
        return "no token is trained: the row needs an assistant message"
    if len(encoded.ids) > max_length:
        return f"{len(encoded.ids)} tokens, over max_length {max_length}"
    return None
