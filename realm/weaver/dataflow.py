"""The data flow: takes in what lies in the inbox and keeps the board filled with what the curriculum decides."""

from __future__ import annotations

import json
import logging
import os
import random
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from realm.arena import control
from realm.arena.forming import validation_name
from realm.arena.quests import board, intake
from realm.arena.quests.validation import RowError
from realm.arena.quests.yardstick import Yardstick, yardstick_of
from realm.arena.tidy import Limits, tidy
from realm.armory.heroes import active_config, active_hero
from realm.core import events, logs
from realm.core.clock import SYSTEM, Clock, parse_stamp, stamp
from realm.core.daemon import Heartbeat, StopFlag, run_loop, single_instance
from realm.core.durable import write_json_fast
from realm.core.errors import BadInput, Corrupt, RealmError
from realm.core.logs import get_logger
from realm.core.paths import Paths
from realm.core.seeds import derive_seed
from realm.core.store import open_facts, open_telemetry, transaction
from realm.guild.curriculum import Decision, HeroDiet, decide
from realm.guild.schedule import Schedule, load_schedule
from realm.guild.skill_client import CHUNK, Sample, SkillClient, SkillSource, check_golden, training_row
from realm.guild.skills.loader import all_skills
from realm.guild.skills.server import BUILTIN, builtin_skill
from realm.guild.skills.types import Item
from realm.guild.standing import read_state
from realm.weaver.dailies import Dailies
from realm.weaver.held_out import ensure_held_out

log = get_logger("dataflow")

TICK_S = 0.5
TIDY_S = 60.0
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 10.0
PATIENCE = 6  # tries in a row at the first pause, before it doubles
KIND = "generated"


class SubmitRows(Protocol):
    """`board.submit_rows`: validates rows, stores them as a quest and returns its id."""

    def __call__(
        self,
        paths: Paths,
        connection: sqlite3.Connection,
        rows: Sequence[dict[str, Any]],
        *,
        name: str,
        priority: str,
        kind: str,
        skill: str,
        level: int,
        generator_id: str,
        generator_version: str,
        params: dict[str, Any],
        clock: Clock = SYSTEM,
    ) -> str: ...


Sweep = Callable[[Paths, sqlite3.Connection], list[str]]
Judge = Callable[[str, Sequence[Sample]], None]


def quest_name(skill: str, level: int, rows: int, at: datetime) -> str:
    """Return the file name of a generated quest, e.g. `train_bin_level3_4000_20260101_120000.jsonl`."""
    return f"train_{skill}_level{level}_{rows}_{at:%Y%m%d_%H%M%S}.jsonl"


@dataclass(frozen=True)
class Order:
    """A recorded decision that is to become a quest; everything about the rows follows from it and the run's seed."""

    seq: int
    at: datetime
    decision: Decision
    seed: int

    @property
    def name(self) -> str:
        return quest_name(self.decision.skill, self.decision.level, self.decision.rows, self.at)

    @property
    def plan(self) -> dict[str, Any]:
        """Return what the `decisions` row and the sidecar keep, as JSON values."""
        d = self.decision
        return {
            "mix": {str(level): round(share, 6) for level, share in d.mix.items()},
            "counts": {str(level): count for level, count in d.counts.items()},
            "styles": dict(d.styles),
            "rule": d.rule,
            "seed": str(self.seed),
        }


def taken_up(left: sqlite3.Row, decision: Decision, seed: int) -> Order | None:
    """Return a decision that was left without a quest as an order, when the curriculum still wants the same; else None."""
    plan = json.loads(left["plan"])
    then = (left["skill"], left["level"], plan["rule"], plan["styles"], plan["seed"])
    if then != (decision.skill, decision.level, decision.rule, dict(decision.styles), str(seed)):
        return None
    counts = {int(level): count for level, count in plan["counts"].items()}
    mix = {int(level): share for level, share in plan["mix"].items()}
    same = replace(decision, rows=left["rows"], counts=counts, mix=mix)
    return Order(left["seq"], parse_stamp(left["at"]), same, seed)


def run_seed(diet: HeroDiet) -> int:
    """Return `REALM_SEED`, else the hero's seed; raises BadInput when the variable is not a number."""
    text = os.environ.get("REALM_SEED")
    if text is None:
        return diet.seed
    if not text.lstrip("-").isdigit():
        raise BadInput(f"REALM_SEED {text!r} is not a whole number")
    return int(text)


def measured_rows_per_s(paths: Paths) -> float | None:
    """Return the battle's present speed from its status file, None while none is measured."""
    path = paths.status / "training_status.json"
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8")).get("rows_per_s")
    return float(found) if isinstance(found, int | float) and found > 0 else None


def waiting_quests(connection: sqlite3.Connection) -> int:
    """Return how many quests wait on the board."""
    return int(connection.execute("SELECT count(*) FROM quests WHERE state = 'queued'").fetchone()[0])


def collect_rows(
    order: Order, source: SkillSource, beat: Callable[[str], None] = lambda _progress: None,
    judge: Judge = lambda _skill, _samples: None,
) -> list[dict[str, Any]]:
    """Ask a skill for the rows of an order and shuffle them by its seed; raises Unavailable, BadInput or Corrupt."""
    samples: list[Sample] = []
    for level, part, count in _portions(order.decision.counts):
        beat(f"generating {order.name}: {len(samples)} of {order.decision.rows}")
        seed = derive_seed("rows", order.decision.skill, level, order.seq, part, order.seed)
        samples += source.generate(level, count, seed, "train", order.decision.styles)
    judge(order.decision.skill, samples)
    check_golden(source, samples)
    rows = [training_row(sample) for sample in samples]
    random.Random(derive_seed("shuffle", order.seq, order.seed)).shuffle(rows)
    return rows


def judge_golden(skill: str, samples: Sequence[Sample]) -> None:
    """Raise Corrupt for a golden answer that the package's own scorer finds wrong; skills of others are not known here.

    SY puzzles are solved anew for it, which takes long at high levels: a twentieth of them is looked at.
    """
    if skill not in BUILTIN:
        return
    scorer = builtin_skill(skill)
    for sample in samples if skill == "bin" else samples[::20]:
        if scorer.score(Item.from_sample(sample), sample["assistant_response"]).strict != 1:
            raise Corrupt(f"{skill} sent a wrong golden answer to {sample['id']!r}")


def _portions(counts: Mapping[int, int]) -> Iterator[tuple[int, int, int]]:
    for level, wanted in counts.items():
        for part, start in enumerate(range(0, wanted, CHUNK)):
            yield level, part, min(CHUNK, wanted - start)


class DataFlow:
    """One data flow on one base directory; skills, board, inbox and clock are given."""

    def __init__(
        self,
        paths: Paths,
        connection: sqlite3.Connection,
        diet: HeroDiet,
        skills: Callable[[], Mapping[str, SkillSource]],
        *,
        submit: SubmitRows = board.submit_rows,
        sweep: Sweep = intake.sweep,
        judge: Judge | None = None,
        yardstick_of: Callable[[Paths], Yardstick] = yardstick_of,
        intake_only: bool = False,
        clock: Clock = SYSTEM,
        beat: Callable[[str], None] = lambda _progress: None,
    ) -> None:
        self._paths, self._connection, self._diet, self._skills = paths, connection, diet, skills
        self._submit, self._sweep, self._yardstick_of = submit, sweep, yardstick_of
        self._judge = judge or judge_golden
        self._intake_only = intake_only
        self._clock, self._beat = clock, beat
        self._seed = run_seed(diet)
        self._rows_per_s: float | None = None
        self._rests_until = -1e9
        self._failures = 0
        self._shown: dict[str, Any] = {}

    def tick(self) -> float:
        """Take in the inbox, then generate at most one quest when the board is low; returns the seconds to wait."""
        self._sweep(self._paths, self._connection)
        if self._intake_only:
            self._show("intake only", "generation is switched off (REALM_DATAFLOW)")
            return TICK_S
        if control.read_orders(self._paths).stop:
            self._show("stopped", "training was stopped; nothing is generated")
            return TICK_S
        self._rows_per_s = measured_rows_per_s(self._paths) or self._rows_per_s
        if self._clock.monotonic() < self._rests_until:
            return TICK_S
        try:
            return 0.0 if self._fill() else TICK_S
        except RealmError as error:
            self._rest(error)
            return TICK_S

    def _fill(self) -> bool:
        """Generate one quest when fewer wait than wanted; returns whether it did."""
        schedule = load_schedule(self._paths)
        waiting = waiting_quests(self._connection)
        if waiting >= schedule.board.low:
            self._show("waiting", f"{waiting} quests wait, {schedule.board.low} are wanted")
            return False
        skills = self._skills()
        order = self._open_order(schedule, skills)
        if order is None:
            return True
        self._show("generating", order.name)
        source = skills[order.decision.skill]
        version = source.version()
        made = order.decision
        ensure_held_out(self._paths, source, made.level, made.styles, validation_name(made.skill, made.level))
        rows = collect_rows(order, source, self._beat, self._judge)
        try:
            quest = self._hand_over(order, rows, version)
        except RowError as error:
            order, rows = self._leave_out_long_rows(order, rows, error)
            quest = self._hand_over(order, rows, version)
        self._close(order.seq, order.name, quest, made.skill, made.level, len(rows))
        self._failures = 0
        return True

    def _hand_over(self, order: Order, rows: Sequence[dict[str, Any]], version: str) -> str:
        return self._submit(
            self._paths,
            self._connection,
            rows,
            name=order.name,
            priority="normal",
            kind=KIND,
            skill=order.decision.skill,
            level=order.decision.level,
            generator_id=f"skill:{order.decision.skill}",
            generator_version=version,
            params={**order.plan, "decision": order.seq},
            clock=self._clock,
        )

    def _leave_out_long_rows(
        self, order: Order, rows: list[dict[str, Any]], error: RowError
    ) -> tuple[Order, list[dict[str, Any]]]:
        """Keep the rows that fit the hero's max_length and record how many they are.

        Raises `error` when length was not what is wrong, or when fewer than half of the rows fit.
        """
        by = self._yardstick_of(self._paths)
        lengths = by.measure([row["messages"] for row in rows])
        kept = [row for row, length in zip(rows, lengths, strict=True) if length <= by.max_length]
        if len(kept) == len(rows) or 2 * len(kept) < len(rows):
            raise error
        log.info("%s: %d of %d rows are over max_length %d", order.name, len(rows) - len(kept), len(rows), by.max_length)
        with transaction(self._connection):
            self._connection.execute("UPDATE decisions SET rows = ? WHERE seq = ?", (len(kept), order.seq))
        return replace(order, decision=replace(order.decision, rows=len(kept))), kept

    def _open_order(self, schedule: Schedule, skills: Mapping[str, SkillSource]) -> Order | None:
        """Decide and record the decision; one that was left open is taken up again when it still holds.

        Returns None when an open decision turned out to have its quest already (a crash came between the two).
        """
        levels = {name: source.max_level for name, source in skills.items()}
        decision = decide(read_state(self._connection, levels, self._diet, self._rows_per_s), schedule, self._seed)
        left = self._connection.execute("SELECT * FROM decisions ORDER BY seq DESC LIMIT 1").fetchone()
        if left is None or left["quest"] is not None:
            return self._record(decision)
        if self._adopt(left):
            return None
        return taken_up(left, decision, self._seed) or self._record(decision)

    def _record(self, decision: Decision) -> Order:
        connection, now = self._connection, self._clock.now()
        with transaction(connection):
            seq = int(connection.execute("SELECT coalesce(max(seq), 0) + 1 FROM decisions").fetchone()[0])
            order = Order(seq, now, decision, self._seed)
            connection.execute(
                "INSERT INTO decisions(seq, at, skill, level, strategy, reason, plan, rows) VALUES (?,?,?,?,?,?,?,?)",
                (seq, stamp(now), decision.skill, decision.level, decision.strategy, decision.reason,
                 json.dumps(order.plan), decision.rows),
            )  # fmt: skip
            data = {"decision": seq, "skill": decision.skill, "level": decision.level, "rows": decision.rows,
                    "strategy": decision.strategy, "reason": decision.reason, "mix": order.plan["mix"]}  # fmt: skip
            events.append(connection, "data.generating", subject=decision.skill, data=data, clock=self._clock)
        return order

    def _adopt(self, left: sqlite3.Row) -> bool:
        """Close an open decision whose quest is on the board: the process died after the hand-over."""
        name = quest_name(left["skill"], left["level"], left["rows"], parse_stamp(left["at"]))
        found = self._connection.execute(
            "SELECT id FROM quests WHERE kind = ? AND name = ? AND id NOT IN"
            " (SELECT quest FROM decisions WHERE quest IS NOT NULL) ORDER BY id LIMIT 1",
            (KIND, name),
        ).fetchone()
        if found is None:
            return False
        self._close(left["seq"], name, found["id"], left["skill"], left["level"], left["rows"])
        return True

    def _close(self, seq: int, name: str, quest: str, skill: str, level: int, rows: int) -> None:
        with transaction(self._connection):
            self._connection.execute("UPDATE decisions SET quest = ? WHERE seq = ?", (quest, seq))
            data = {"decision": seq, "name": name, "skill": skill, "level": level, "rows": rows}
            events.append(self._connection, "data.generated", subject=quest, data=data, clock=self._clock)

    def _rest(self, error: RealmError) -> None:
        """A skill server is away or wrong, or the schedule is not valid: say so, wait, try the same again."""
        pause = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** max(0, self._failures - PATIENCE))
        self._failures += 1
        self._rests_until = self._clock.monotonic() + pause
        # Services start side by side: a skill server that is not up yet is nothing to warn of.
        level = logging.WARNING if self._failures > PATIENCE else logging.INFO
        log.log(level, "nothing generated (%d times): %s; next try in %.1f s", self._failures, error, pause)
        self._show("error", str(error))

    def _show(self, state: str, reason: str) -> None:
        facts = {"state": state, "reason": reason, "failures": self._failures, "rows_per_s": self._rows_per_s}
        if facts != self._shown:
            self._shown = facts
            write_json_fast(self._paths.status / "dataflow.json", {**facts, "at": stamp(self._clock.now())})


def main(paths: Paths, diet: HeroDiet) -> None:
    """Run the data flow until SIGTERM; raises Conflict when one runs on this base directory already."""
    logs.setup(paths, "dataflow")
    with single_instance(paths, "dataflow"):
        stop, heartbeat = StopFlag().install(), Heartbeat(paths, "dataflow")
        connection = open_facts(paths)
        clients: dict[tuple[str, str, int], SkillClient] = {}

        def skills() -> Mapping[str, SkillSource]:
            found = {name: (name, one.api_url, one.max_level) for name, one in all_skills(paths).items()}
            for address in found.values():
                if address not in clients:
                    clients[address] = SkillClient(*address)
            return {name: clients[address] for name, address in found.items()}

        flow = DataFlow(
            paths, connection, diet, skills,
            intake_only=os.environ.get("REALM_DATAFLOW") == "intake-only",
            beat=lambda progress: heartbeat.beat(progress),
        )  # fmt: skip
        kept = active_config(paths).config.retention
        limits = Limits(kept.quests, kept.eval_reports, kept.full_steps)
        telemetry = open_telemetry(paths)
        dailies = Dailies(paths, connection, active_hero(paths).folder)
        tidied_at = -1e9

        def tick() -> float:
            nonlocal tidied_at
            if SYSTEM.monotonic() - tidied_at >= TIDY_S:
                tidied_at = SYSTEM.monotonic()
                tidy(paths, connection, telemetry, limits)
                dailies.look()
            return flow.tick()

        run_loop(tick, stop, heartbeat, name="dataflow")
        telemetry.close()
        connection.close()
