"""The evaluator: takes queued evals, asks the oracle, has the skill grade, records counts, judges the level-up gate.

An answer that cannot be believed (nobody answers, other weights, half a reply) is no contest: counted, shown, asked
again, never graded.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from realm.arena.crown import crown
from realm.arena.evals import evaluations
from realm.arena.evals.alarms import raise_alarms
from realm.arena.evals.asking import Answers, Ask, OracleAsk, oracle_key
from realm.arena.evals.evaluations import Result, Waiting
from realm.arena.evals.report import Graded, Paper, write_report
from realm.arena.evals.sprt import Sitting, go_on
from realm.armory.heroes import active_config, active_preset
from realm.core import events, logs
from realm.core.clock import SYSTEM, Clock
from realm.core.daemon import Heartbeat, StopFlag, run_loop, single_instance
from realm.core.errors import BadInput, Corrupt, RealmError, Unavailable
from realm.core.hosts import Hosts, get_service_url
from realm.core.logs import get_logger
from realm.core.paths import Paths
from realm.core.seeds import derive_seed
from realm.core.store import open_facts, transaction
from realm.guild.answer_styles import AnswerStyles
from realm.guild.gate import GateRules, gate_rules
from realm.guild.gate_look import due_probes, look, note_rust
from realm.guild.mastery import failed_looks, mastered_level, training_level
from realm.guild.rebuild import keep_masteries
from realm.guild.schedule import load_schedule
from realm.guild.skill_client import Sample, SkillSource, check_golden
from realm.guild.skill_sources import SkillSources
from realm.guild.skills.loader import get_skill

log = get_logger("evaluator")

POLL_S = 0.25
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 60.0
LONGEST_REST_S = 5.0
FULL_ITEMS = 100
PASSIVE_ITEMS = 20
UNSEEN_ITEMS = 40  # level 1 of SY has 42 such problems
UNSEEN = "unseen"  # the kind, and the answer style of a skill that holds words out of training
MOST_NEW_TOKENS = 1024
_REDRAWS = 4

RulesOf = Callable[[str], GateRules]


def fresh_count(kind: str, rules: GateRules) -> int:
    """Return how many fresh problems an eval of this kind asks."""
    return {"gate": rules.fresh_items, "probe": rules.probe_items, "static": 0, "full": FULL_ITEMS,
            "passive": PASSIVE_ITEMS, "unseen": UNSEEN_ITEMS}[kind]  # fmt: skip


def draw_fresh(
    source: SkillSource, level: int, count: int, seed: int, taken: set[str], styles: Mapping[str, float] | None
) -> list[Sample]:
    """Return `count` problems of the eval partition, no key twice and none of `taken`.

    Raises BadInput when the level has not enough of them.
    """
    fresh: list[Sample] = []
    for turn in range(_REDRAWS):
        missing = count - len(fresh)
        if missing == 0:
            break
        # Drawn again, more than is missing: a low level has few problems, and each draw begins with the commonest.
        wanted = missing if turn == 0 else (missing + 10) * (turn + 1)
        for sample in source.generate(level, wanted, derive_seed(seed, turn), "eval", styles):
            if sample["key"] not in taken and len(fresh) < count:
                taken.add(sample["key"])
                fresh.append(sample)
    if len(fresh) < count:
        raise BadInput(f"{source.skill} level {level} gave {len(fresh)} of {count} different eval problems")
    return fresh


def set_paper(
    asked: Waiting, digest: str, source: SkillSource, rules: GateRules, style: str | None
) -> Paper:
    """Choose the problems of an eval: the static ones first, then fresh ones seeded by skill, level, kind and weights.

    All are asked in one answer style, the one that the hero is fed most at this level; `unseen` in the style of that name.
    """
    style = UNSEEN if asked.kind == UNSEEN else style
    styles = {style: 1.0} if style else None
    static = source.static_items(asked.level, style) if asked.kind in ("gate", "static") else []
    weights = "" if asked.kind in evaluations.SAME_FOR_ALL else digest
    seed = derive_seed("eval", asked.skill, asked.level, weights, asked.kind)
    taken = {str(item["key"]) for item in static}
    fresh = draw_fresh(source, asked.level, fresh_count(asked.kind, rules), seed, taken, styles)
    items = (*static, *fresh)
    # Bytes of the longest right answer: no tokenizer needs more tokens than that.
    longest = max((len(str(item["assistant_response"]).encode()) for item in items), default=0)
    most = rules.max_new_tokens or min(MOST_NEW_TOKENS, longest + 16)
    return Paper(items, len(static), seed, styles, most)


def check_answers(answers: Answers, paper: Paper, digest: str) -> None:
    """Raise Corrupt unless every prompt has one answer and the weights that gave it are the checkpoint's."""
    n = len(paper.items)
    if len(answers.texts) != n or len(answers.finish_reasons) != n:
        raise Corrupt(f"{len(answers.texts)} answers to {n} prompts")
    if answers.weights_sha256 != digest:
        raise Corrupt(
            f"weights {answers.weights_sha256[:12]} answered, the checkpoint has {digest[:12]}",
            hint="the oracle serves other weights under this step",
        )


class Evaluator:
    """One evaluator on one base directory; `ask`, `skills`, `rules_of` and the clock are given."""

    def __init__(
        self,
        paths: Paths,
        connection: sqlite3.Connection,
        ask: Ask,
        skills: Mapping[str, SkillSource],
        rules_of: RulesOf,
        *,
        styles: AnswerStyles | None = None,
        champion_metric: str = "eval",
        clock: Clock = SYSTEM,
        beat: Callable[[str], None] = lambda _progress: None,
    ) -> None:
        self._paths, self._connection, self._ask, self._skills = paths, connection, ask, skills
        self._rules_of, self._styles, self._clock, self._beat = rules_of, styles, clock, beat
        self._champion_metric = champion_metric
        self._seen_version = -1
        self._look_again = True
        self._retry_at: dict[str, float] = {}
        self._rests_until: dict[str, float] = {}
        self._outages: dict[str, int] = {}
        self._disbelieved: dict[str, int] = {}

    def tick(self) -> float:
        """Do at most one eval; returns the seconds until the next look (0 when more waits)."""
        version = int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        if version == self._seen_version and not self._look_again:
            return POLL_S
        self._seen_version = version
        self._drop_useless()
        queue = evaluations.waiting(self._connection)
        self._look_again = bool(queue)
        now = self._clock.monotonic()
        asked = next((w for w in queue if self._may_ask(w, now)), None)
        if asked is None:
            return POLL_S
        self._contest(asked)
        return 0.0

    def work(self, eval_id: str) -> None:
        """Do one waiting eval now, out of turn; what came of it stands in its row."""
        asked = next((w for w in evaluations.waiting(self._connection) if w.id == eval_id), None)
        if asked is not None:
            self._contest(asked)

    def _may_ask(self, asked: Waiting, now: float) -> bool:
        tired = self._disbelieved.get(asked.id, 0) >= evaluations.MAX_ATTEMPTS
        due = max(self._retry_at.get(asked.id, -1e9), self._rests_until.get(asked.skill, -1e9))
        return not tired and now >= due

    def _forgive(self, skill: str) -> None:
        """After a believable eval of a skill: those that could not be believed may be asked again at once."""
        for waiting in evaluations.waiting(self._connection):
            if waiting.skill == skill:
                self._retry_at.pop(waiting.id, None)
                self._disbelieved.pop(waiting.id, None)

    def _drop_useless(self) -> None:
        connection = self._connection
        training = {s: training_level(connection, s, source.max_level) for s, source in self._skills.items()}
        drops = evaluations.plan_drops(
            evaluations.waiting(connection),
            evaluations.present_checkpoints(connection),
            training,
            evaluations.newest_done(connection),
        )
        if drops:
            with transaction(connection):
                evaluations.apply_drops(connection, drops, self._clock)
            log.info("%d evals dropped, the first: %s", len(drops), drops[0][1])

    def _contest(self, asked: Waiting) -> None:
        """Run one eval to its result, or record why there was no contest."""
        try:
            graded, record = self._run(asked)
        except RealmError as error:
            self._no_contest(asked, error)
            return
        self._outages.pop(asked.skill, None)
        self._forgive(asked.skill)
        self._finish(graded, write_report(self._paths, graded, record, self._clock))
        keep_masteries(self._paths, self._connection)

    def _run(self, asked: Waiting) -> tuple[Graded, dict[str, Any]]:
        self._beat(f"{asked.skill} level {asked.level}, step {asked.step}")
        found = self._connection.execute(
            "SELECT weights_sha256, record FROM checkpoints WHERE name = ?", (asked.checkpoint,)
        ).fetchone()
        source, begin = self._skills[asked.skill], self._clock.monotonic()
        digest, rules = found["weights_sha256"], self._rules_of(asked.skill)
        sitting = self._put(asked, digest, set_paper(asked, digest, source, rules, self._style(asked.level)))
        if asked.kind == "gate" and rules.rule == "sprt":
            sitting = self._ask_on(asked, digest, sitting, rules)
        wall = self._clock.monotonic() - begin
        return Graded(asked, sitting.paper, sitting.answers, sitting.grades, wall), json.loads(found["record"])

    def _style(self, level: int) -> str | None:
        return self._styles.examined(level) if self._styles else None

    def _put(self, asked: Waiting, digest: str, paper: Paper) -> Sitting:
        """Have a paper answered and graded; raises Corrupt for answers that cannot be believed."""
        answers = self._ask(asked.step, paper.prompts, paper.max_new_tokens)
        check_answers(answers, paper, digest)
        source = self._skills[asked.skill]
        # A verifier that takes anything, or refuses its own answers, grades nobody.
        check_golden(source, paper.items)
        grades = tuple(source.grade(paper.items, answers.bare))
        if len(grades) != len(paper.items):
            raise Corrupt(f"{len(grades)} grades for {len(paper.items)} answers")
        return Sitting(paper, answers, grades)

    def _ask_on(self, asked: Waiting, digest: str, sitting: Sitting, rules: GateRules) -> Sitting:
        """Ask fresh problems until the sequential test decides."""
        taken = {str(item["key"]) for item in sitting.paper.items}
        failed = len(failed_looks(self._connection, asked.skill, asked.level))

        def draw(count: int, turn: int) -> list[Sample]:
            seed = derive_seed(sitting.paper.seed, "sprt", turn)
            style = self._style(asked.level)
            return draw_fresh(self._skills[asked.skill], asked.level, count, seed, taken, {style: 1.0} if style else None)

        return go_on(sitting, draw, lambda paper: self._put(asked, digest, paper), rules, failed)

    def _no_contest(self, asked: Waiting, error: RealmError) -> None:
        """Count a try without a believable answer. An outage is waited out and never uses up the tries of an eval."""
        now = self._clock.monotonic()
        log.error("no contest, %s level %d at step %d: %s", asked.skill, asked.level, asked.step, error)
        if isinstance(error, Unavailable):
            # Only the evals of this skill rest: another skill's server may be well while this one's is away.
            times = self._outages[asked.skill] = self._outages.get(asked.skill, 0) + 1
            self._rests_until[asked.skill] = now + min(LONGEST_REST_S, FIRST_RETRY_S * 2 ** min(10, times - 1))
        else:
            tries = self._disbelieved[asked.id] = self._disbelieved.get(asked.id, 0) + 1
            self._retry_at[asked.id] = now + min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** (tries - 1))
        with transaction(self._connection):
            evaluations.record_no_contest(self._connection, asked.id, error.message)

    def _finish(self, graded: Graded, file: str) -> None:
        """Record counts, event, gate look and what follows from it in one transaction."""
        asked, connection = graded.asked, self._connection
        result = Result(
            n=graded.n,
            correct=graded.correct,
            errors=graded.errors,
            truncated=graded.truncated,
            static_n=graded.paper.static_n,
            static_correct=graded.static_correct,
            weights_sha256=graded.answers.weights_sha256,
            prompts_sha256=graded.paper.prompts_sha256,
            seed=str(graded.paper.seed),
            file=file,
        )
        data = {"skill": asked.skill, "level": asked.level, "kind": asked.kind, "n": graded.n,
                "correct": graded.correct, "eval": asked.id}  # fmt: skip
        with transaction(connection):
            if not evaluations.record_done(connection, asked.id, result, self._clock):
                return
            events.append(connection, "checkpoint.evaluated", subject=asked.checkpoint, step=asked.step, data=data,
                          clock=self._clock)  # fmt: skip
            follow_up(connection, asked, self._skills[asked.skill].max_level, self._rules_of(asked.skill), self._clock)
            raise_alarms(connection, asked.skill, self._skills[asked.skill].max_level, asked.step, self._clock)
            crown(connection, asked.checkpoint, asked.step, self._champion_metric, self._clock)


def follow_up(
    connection: sqlite3.Connection, asked: Waiting, max_level: int, rules: GateRules, clock: Clock = SYSTEM
) -> None:
    """After a recorded eval, in its transaction: rust, the gate look, probes to ask, evals of the next level."""
    if asked.kind == "probe":
        note_rust(connection, asked.skill, asked.level, asked.checkpoint, rules, clock)
        if _probes_left(connection, asked):
            return
    elif asked.kind != "gate":
        return
    result = look(connection, asked.skill, max_level, rules, clock)
    if result is not None and result.passed:
        _ask_next_level(connection, asked.skill, max_level, result.window[0].step, clock)
    elif result is not None and result.probe_on is not None:
        on = result.probe_on
        evaluations.enqueue_probes(connection, on.checkpoint, on.step, asked.skill, result.awaiting, clock)
    elif asked.kind == "gate":
        due = due_probes(connection, asked.skill, asked.checkpoint, asked.step, rules)
        evaluations.enqueue_probes(connection, asked.checkpoint, asked.step, asked.skill, due, clock)


def _probes_left(connection: sqlite3.Connection, asked: Waiting) -> bool:
    found = connection.execute(
        "SELECT 1 FROM evals WHERE checkpoint = ? AND skill = ? AND kind = 'probe' AND state = 'queued'",
        (asked.checkpoint, asked.skill),
    ).fetchone()
    return found is not None


def _ask_next_level(connection: sqlite3.Connection, skill: str, max_level: int, step: int, clock: Clock) -> None:
    """Ask checkpoints that exist already, from the mastering one on, about the next level: nothing waits for a save."""
    level = mastered_level(connection, skill) + 1
    if level > max_level:
        return
    rows: Sequence[sqlite3.Row] = connection.execute(
        "SELECT name, step FROM checkpoints WHERE state = 'present' AND step >= ? ORDER BY step", (step,)
    ).fetchall()
    for row in rows:
        evaluations.enqueue(connection, row["name"], row["step"], skill, level, "gate", clock)


def rules_from(paths: Paths) -> RulesOf:
    """Return the gate rules by skill, read anew at each call: a changed table holds from the next eval on."""

    def rules_of(skill: str) -> GateRules:
        return gate_rules(get_skill(skill, paths).eval, load_schedule(paths).gate)

    return rules_of


def open_evaluator(
    paths: Paths,
    connection: sqlite3.Connection,
    during: Callable[[str], AbstractContextManager[None]] = lambda _progress: nullcontext(),
    beat: Callable[[str], None] = lambda _progress: None,
) -> Evaluator:
    """Return an evaluator on the oracle and the skill servers; problems come in the answer style he is fed most."""
    skills = SkillSources(paths)
    url = get_service_url("inference", Hosts.load(paths))
    # This machine's key is for this machine's oracle only.
    ask = OracleAsk(url, key=oracle_key(paths) if url.startswith("http://127.0.0.1:") else None)
    preset = active_preset(paths)
    styles = AnswerStyles.of(preset.styles, preset.styles_from)
    metric = active_config(paths).config.champion_metric

    def patient_ask(step: int, prompts: Sequence[str], max_new_tokens: int) -> Answers:
        # An answer of a large hero may take longer than a heartbeat may be old.
        with during(f"asking step {step}"):
            return ask(step, prompts, max_new_tokens)

    return Evaluator(paths, connection, patient_ask, skills, rules_from(paths), styles=styles, champion_metric=metric, beat=beat)


def main(paths: Paths) -> None:
    """Run the evaluator process until SIGTERM.

    Raises Conflict when an evaluator runs on this base directory already.
    """
    logs.setup(paths, "evaluator")
    with single_instance(paths, "evaluator"):
        stop, heartbeat = StopFlag().install(), Heartbeat(paths, "evaluator")
        connection = open_facts(paths)
        evaluator = open_evaluator(paths, connection, heartbeat.during, heartbeat.beat)
        run_loop(evaluator.tick, stop, heartbeat, name="evaluator")
        connection.close()
