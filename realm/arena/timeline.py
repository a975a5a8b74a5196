"""Which quest and which rows every optimiser step of the hero's line was made of, from the sidecars of its checkpoints.

A record lists the steps of its quests in the order they were trained, so the steps between two checkpoints are counted out;
the rows of a step follow from the number of rows of the quest, its digest and its cut.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from realm.arena.forming import Cut, order_of, recorded_cut
from realm.arena.quests import board
from realm.arena.quests.quest import Quest, from_row, quest_path
from realm.core.errors import Corrupt, Unknown
from realm.core.paths import Paths
from realm.core.store import read_facts, read_telemetry
from realm.vault import ledger
from realm.vault.ledger import Record

SHOWN = 160


@dataclass(frozen=True)
class Place:
    """Optimiser step `step` of the hero was step `number` (from 0) of the `steps` of `quest`; `checkpoint` contains it first."""

    step: int
    quest: str
    name: str
    number: int
    steps: int
    checkpoint: str


def line_of_records(paths: Paths) -> list[Record]:
    """Return the records from the first checkpoint to the newest present one, along its parents."""
    known = {record.canonical_name: record for record in ledger.dropped_records(paths)}
    present = [ledger.read_record(folder / ledger.SIDECAR) for folder in ledger.folders(paths)]
    known.update({record.canonical_name: record for record in present})
    line: list[Record] = []
    name = present[-1].canonical_name if present else None
    while name is not None and name in known:
        line.append(known[name])
        name = known[name].parent
    return line[::-1]


def places_of(record: Record, begin: int) -> list[Place]:
    """Return the steps a record contains beyond step `begin`, its parent's.

    Raises Corrupt when they are not that many, Unknown when a school took them.
    """
    if record.by_school:
        raise Unknown(f"steps {begin + 1} to {record.step} were taken in a school ({record.training_file}): the answers they"
                      " learnt from were not kept, they cannot be replayed",
                      hint=f"begin at {record.canonical_name}")  # fmt: skip
    found = [
        (part, number) for part in record.quests for number in range(part.from_step, part.to_step)
    ]
    if len(found) != record.step - begin:
        raise Corrupt(f"{record.canonical_name} lists {len(found)} steps of quests, it is {record.step - begin} after its parent")
    return [
        Place(begin + 1 + at, part.quest, part.name, number, part.steps, record.canonical_name)
        for at, (part, number) in enumerate(found)
    ]


def find_places(paths: Paths, first: int, last: int) -> list[Place]:
    """Return the places of the recorded steps `first` to `last`, both included; fewer when fewer are recorded."""
    found: list[Place] = []
    for record in line_of_records(paths):
        begin = ledger.extract_step(record.parent) if record.parent else 0
        if begin < last and record.step >= first:
            found += places_of(record, begin)
    return [place for place in found if first <= place.step <= last]


def find_quest(facts: sqlite3.Connection, quest_id: str) -> Quest | None:
    row = facts.execute("SELECT * FROM quests WHERE id = ?", (quest_id,)).fetchone()
    return from_row(row) if row else None


def cut_at(paths: Paths, quest: Quest, checkpoint: str) -> Cut | None:
    """Return the cut a quest was trained with: from its sidecar, else from the state of a checkpoint; None when neither tells."""
    cut = recorded_cut(quest_path(paths, quest))
    state = paths.current_model / checkpoint / "state.json"
    if cut is not None or not state.is_file():
        return cut
    told = json.loads(state.read_text(encoding="utf-8"))
    if quest.id in told["cuts"]:
        return Cut(**told["cuts"][quest.id])
    config = told["config"]
    rows = config["training"]["batch_size"] * config["training"]["gradient_accumulation"]
    return Cut(rows, config["seed"], config.get("profile", "none"))


def rows_of(quest: Quest, place: Place, cut: Cut) -> list[int]:
    """Return the rows (from 0) of a step; raises Corrupt when the cut does not give the number of steps recorded."""
    steps = order_of([0] * quest.rows, quest, cut)
    if len(steps) != place.steps:
        raise Corrupt(f"{quest.name} was {place.steps} steps, its cut gives {len(steps)}")
    return steps[place.number]


def step_rows(paths: Paths, step: int) -> dict[str, Any]:
    """Return what step `step` was made of, with its loss; raises Unknown for a step that no checkpoint contains."""
    places = find_places(paths, step, step)
    if not places:
        newest = next((record.step for record in reversed(line_of_records(paths))), 0)
        raise Unknown(f"no checkpoint contains step {step}", hint=f"recorded are steps 1 to {newest}")
    place = places[0]
    with closing(read_facts(paths)) as facts, closing(read_telemetry(paths)) as telemetry:
        quest = find_quest(facts, place.quest)
        point = telemetry.execute("SELECT loss, lr, grad_norm, quest FROM steps WHERE step = ?", (step,)).fetchone()
    found: dict[str, Any] = {**asdict(place), "rows": None, "examples": None, "texts": None, "loss": None, "lr": None,
                             "grad_norm": None}  # fmt: skip
    if point is not None:
        found |= {name: point[name] for name in ("loss", "lr", "grad_norm")}
    else:
        found["loss_reason"] = "the loss curve keeps every tenth of the old steps"
    cut = cut_at(paths, quest, place.checkpoint) if quest else None
    if quest is None or cut is None:
        return {**found, "rows_reason": "the store does not know how this quest was cut into steps"}
    rows = rows_of(quest, place, cut)
    found |= {"rows": rows, "examples": [f"{quest.sha256[:12]}:{row}" for row in rows], "texts": _texts(paths, quest, rows)}
    traced = traced_examples(step)
    return found if traced is None else {**found, "trace_agrees": traced == found["examples"]}


def _texts(paths: Paths, quest: Quest, rows: list[int]) -> dict[int, str] | None:
    """Return the beginning of the last user turn of each row, None when the file is not kept."""
    if not quest_path(paths, quest).exists():
        return None
    wanted, found = set(rows), {}
    for place, row in enumerate(board.read_rows(paths, quest, max(rows) + 1)):
        if place in wanted:
            asked = [message["content"] for message in row["messages"] if message["role"] == "user"]
            found[place] = asked[-1][:SHOWN] if asked else ""
    return found


def traced_examples(step: int) -> list[str] | None:
    """Return the examples of a step in the file that REALM_TRACE_EXAMPLES names, None without one or without the step."""
    name = os.environ.get("REALM_TRACE_EXAMPLES")
    if not name or not Path(name).is_file():
        return None
    found = None
    with Path(name).open(encoding="utf-8") as lines:
        for line in lines:
            told = json.loads(line)
            if told["step"] == step:
                found = list(told["examples"])  # the last line of a step wins: it was repeated after a restart
    return found


def rows_text(found: dict[str, Any]) -> str:
    """Return `step_rows` as lines for a terminal."""
    loss = found.get("loss_reason") or f"loss {found['loss']:.5f}, rate {found['lr']:.3g}, gradient norm {found['grad_norm']:.3g}"
    lines = [f"step {found['step']}: step {found['number'] + 1} of {found['steps']} of {found['name']} ({found['quest']})",
             f"{loss}; first in {found['checkpoint']}"]  # fmt: skip
    if found["rows"] is None:
        return "\n".join([*lines, found["rows_reason"]])
    texts = found["texts"]
    lines += [f"  row {row}" if texts is None else f"  row {row}: {texts[row]!r}" for row in found["rows"]]
    if texts is None:
        lines.append("the training file is not kept any more")
    if "trace_agrees" in found:
        lines.append(f"the trace of examples {'agrees' if found['trace_agrees'] else 'DIFFERS'}")
    return "\n".join(lines)
