"""Where sparring meets its neighbours: the oracle answers, the skill's server grades, the board takes the rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from realm.arena.evals.asking import OracleAsk, oracle_key
from realm.arena.quests import board
from realm.arena.quests.quest import id_of_file, sidecar_of
from realm.arena.quests.sparring_age import KIND, stale_reason
from realm.arena.quests.validation import RowError, parse_row
from realm.arena.quests.validation_keys import eval_problem
from realm.arena.quests.yardstick import yardstick_of
from realm.armory.heroes import active_hero, active_preset
from realm.core import events, manifest
from realm.core.clock import SYSTEM, stamp
from realm.core.daemon import single_instance
from realm.core.durable import read_projection, write_json_fast
from realm.core.errors import BadInput, Conflict, Corrupt, RealmError, Unknown
from realm.core.hosts import Hosts, get_service_url
from realm.core.ids import new_ulid
from realm.core.paths import BOARD_FOLDERS, Paths
from realm.core.seeds import derive_seed
from realm.core.store import open_facts, transaction
from realm.gate.founding import answer_styles
from realm.guild import sparring
from realm.guild.mastery import mastered_level, training_level
from realm.guild.schedule import Sparring, load_schedule
from realm.guild.skill_client import SkillClient, SkillSource
from realm.guild.skills.loader import all_skills, get_skill
from realm.guild.sparring import Ask, Bout, Fighter, Order, Said, Sampling
from realm.guild.sparring_check import Report, check_rows
from realm.guild.sparring_exam import Exam, hold_exam, raise_alarms

STATUS = "sparring.json"


@dataclass(frozen=True)
class Wish:
    """What a player asks for; what is not named is chosen: the newest checkpoint, the level in training, a new draw."""

    skill: str
    count: int = 100
    level: int | None = None
    checkpoint: str | None = None
    step: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Held:
    """A finished session: its rows and the quest they became."""

    bout: Bout
    fighter: Fighter
    quest: str
    name: str
    exam: Exam | None = None


def find_fighter(paths: Paths, connection: sqlite3.Connection, wish: Wish) -> Fighter:
    """Return the checkpoint that is asked: by name, by step (0 is the base hero), else the newest.

    Raises Unknown for one that is not there, BadInput when both are named.
    """
    if wish.checkpoint is not None and wish.step is not None:
        raise BadInput("both a checkpoint and a step are named", hint="name one of them")
    if wish.step == 0:
        hero = active_hero(paths)
        return Fighter(hero.id, 0, str(manifest.read_manifest(hero.folder)["weights_sha256"]))
    where, named = "state = 'present'", []
    if wish.checkpoint is not None:
        where, named = f"{where} AND name = ?", [wish.checkpoint]
    elif wish.step is not None:
        where, named = f"{where} AND step = ?", [str(wish.step)]
    found = connection.execute(
        f"SELECT name, step, weights_sha256 FROM checkpoints WHERE {where} ORDER BY step DESC LIMIT 1", named
    ).fetchone()
    if found is None:
        asked = wish.checkpoint or (f"of step {wish.step}" if wish.step is not None else "at all")
        raise Unknown(f"there is no checkpoint {asked}", hint="realm ledger list shows them; --step 0 is the base hero")
    return Fighter(found["name"], found["step"], found["weights_sha256"])


def newest_step(connection: sqlite3.Connection) -> int:
    """Return the step of the newest checkpoint on disk, 0 before the first."""
    return int(
        connection.execute("SELECT coalesce(max(step), 0) FROM checkpoints WHERE state = 'present'").fetchone()[0]
    )


def oracle_ask(paths: Paths) -> Ask:
    """Return the hero's function: the oracle that this base directory's hosts name."""
    url = get_service_url("inference", Hosts.load(paths))
    oracle = OracleAsk(url, key=oracle_key(paths) if url.startswith("http://127.0.0.1:") else None)

    def ask(step: int, prompts: Sequence[str], sampling: Sampling) -> Said:
        said = oracle.sample(step, prompts, sampling.max_new_tokens, sampling.temperature, sampling.seed)
        bare: Said = replace(said, texts=said.bare)
        return bare

    return ask


def skill_source(paths: Paths, skill: str) -> SkillSource:
    """Return the client of a skill's server."""
    found = get_skill(skill, paths)
    return SkillClient(skill, found.api_url, found.max_level)


def fits_hero(paths: Paths) -> sparring.Fits:
    """Return what says which rows the hero's context takes; one in which an answer quotes an eval problem is left out."""
    by = yardstick_of(paths)

    def fits(rows: Sequence[dict[str, Any]]) -> list[bool]:
        lengths = by.measure([row["messages"] for row in rows])
        return [
            length <= by.max_length and eval_problem(row["messages"]) is None
            for row, length in zip(rows, lengths, strict=True)
        ]

    return fits


class _Status:
    """`status/sparring.json`; the session that holds the lock is its only writer."""

    def __init__(self, paths: Paths, facts: dict[str, Any]) -> None:
        self._path = paths.status / STATUS
        self._facts = {**facts, "started_at": stamp(SYSTEM.now())}

    def say(self, state: str, **facts: Any) -> None:
        self._facts |= {"state": state, "at": stamp(SYSTEM.now()), **facts}
        write_json_fast(self._path, self._facts)


@contextmanager
def _told(status: _Status) -> Iterator[None]:
    """Leave the reason of an error in the status."""
    try:
        yield
    except RealmError as error:
        status.say("failed", reason=error.message)
        raise


def hold_session(
    paths: Paths,
    wish: Wish,
    *,
    ask: Ask | None = None,
    source: SkillSource | None = None,
    say: Callable[[str], None] = lambda _progress: None,
) -> Held:
    """Hold a session and put its rows on the board with priority high; raises Conflict when one is held already.

    `ask` and `source` are the oracle and the skill's server unless given.
    """
    with single_instance(paths, "sparring"), closing(open_facts(paths)) as connection:
        status = _Status(paths, {"skill": wish.skill, "count": wish.count})
        with _told(status):
            return _hold(
                paths,
                connection,
                wish,
                ask or oracle_ask(paths),
                source or skill_source(paths, wish.skill),
                status,
                say,
            )


def _hold(
    paths: Paths, connection: sqlite3.Connection, wish: Wish, ask: Ask, source: SkillSource, status: _Status,
    say: Callable[[str], None],
) -> Held:  # fmt: skip
    rules, skill = load_schedule(paths).sparring, wish.skill
    fighter, mastered = find_fighter(paths, connection, wish), mastered_level(connection, skill)
    made = {"checkpoint": fighter.checkpoint, "checkpoint_step": fighter.step, "weights_sha256": fighter.weights_sha256,
            "mastered": mastered, "max_age_steps": rules.max_age_steps, "balance": rules.balance}  # fmt: skip
    stale = stale_reason(made, newest_step(connection), mastered)
    if stale is not None:
        raise Conflict(f"{fighter.checkpoint} is too old to spar: {stale}", hint="leave --checkpoint and --step out")
    order = _order(paths, connection, wish, rules, source.max_level)
    status.say("asking", level=order.level, checkpoint=fighter.checkpoint, checkpoint_step=fighter.step)

    def beat(progress: str) -> None:
        status.say("asking", progress=progress)
        say(progress)

    bout = sparring.spar(fighter, source, ask, order, fits=fits_hero(paths), beat=beat)
    exam = _exam(fighter, source, ask, order, bout.level, rules.exam, beat)
    found = exam.numbers() if exam else None
    now = SYSTEM.now()
    name = sparring.quest_name(skill, bout.level, len(bout.rows), now)
    params = {**made, "seed": str(order.seed), "skill_version": source.version(), "styles": order.fed(bout.level) or {},
              **bout.numbers, "check": bout.report.numbers, "exam": found}  # fmt: skip
    origin = board.made_here(
        sparring.GENERATOR_ID, sparring.GENERATOR_VERSION, kind=KIND, skill=skill, level=bout.level, params=params
    )
    quest = board.submit_rows(paths, connection, bout.rows, name=name, priority="high", origin=origin)
    told = {"skill": skill, "level": bout.level, "checkpoint": fighter.checkpoint, "name": name, "exam": found, **bout.numbers}
    with transaction(connection):
        events.append(connection, "sparring.finished", subject=quest, step=fighter.step, data=told)
        if exam and _was_trained(connection, skill):
            raise_alarms(connection, skill, exam, fighter.step)
    status.say("finished", level=bout.level, quest=quest, name=name, reason=bout.reason, **bout.numbers,
               check=bout.report.numbers, exam=found)  # fmt: skip
    return Held(bout, fighter, quest, name, exam)


def _was_trained(connection: sqlite3.Connection, skill: str) -> bool:
    """Say whether the hero ever trained sparring rows of a skill: before that it knows no verdicts, which is no alarm."""
    found = connection.execute("SELECT 1 FROM quests WHERE kind = ? AND skill = ? AND state = 'completed'", (KIND, skill))
    return found.fetchone() is not None


def _exam(
    fighter: Fighter, source: SkillSource, ask: Ask, order: Order, level: int, count: int, beat: Callable[[str], None]
) -> Exam | None:
    """Hold the exam on held-out problems in the style examined, None when the schedule wants none."""
    if not count:
        return None
    beat(f"exam: {count} held-out problems")
    return hold_exam(fighter, source, ask, level, count, order.seed, order.examined(level))


def _order(paths: Paths, connection: sqlite3.Connection, wish: Wish, rules: Sparring, max_level: int) -> Order:
    level = wish.level if wish.level is not None else training_level(connection, wish.skill, max_level)
    seed = wish.seed if wish.seed is not None else derive_seed("session", wish.skill, new_ulid())
    styles = answer_styles(active_preset(paths))
    return Order(
        level, wish.count, seed, styles, rules.balance, rules.samples, rules.temperature,
        may_rise=wish.level is None, rehearsal=rules.rehearsal,
    )  # fmt: skip


@dataclass(frozen=True)
class Checked:
    """One sparring file on the board and what the check found."""

    path: Path
    report: Report


def sparring_files(paths: Paths) -> list[Path]:
    """Return the sparring files on the board, oldest first."""
    found = [path for folder in BOARD_FOLDERS for path in paths.queue(folder).glob("*.sparring_*.jsonl")]
    return sorted((path for path in found if id_of_file(path.name)), key=lambda path: path.name)


def check_files(paths: Paths, files: Sequence[Path], sources: dict[str, SkillSource] | None = None) -> list[Checked]:
    """Check sparring files by their sidecars' balance; raises what a skill's server raises."""
    clients = sources if sources is not None else {name: skill_source(paths, name) for name in all_skills(paths)}
    return [Checked(path, _check_file(path, clients)) for path in files]


def _check_file(path: Path, sources: dict[str, SkillSource]) -> Report:
    try:
        lines = path.read_bytes().splitlines()
        rows = [parse_row(line, number) for number, line in enumerate(lines, 1) if line.strip()]
        balance = (read_projection(sidecar_of(path)) or {}).get("params", {}).get("balance", "full")
        wanted = {row["metadata"]["skill"] for row in rows if isinstance(row.get("metadata"), dict)}
        return check_rows(rows, {name: source for name, source in sources.items() if name in wanted}, balance)
    except (RowError, Corrupt) as error:
        return Report(problems=[error.message])


def read_status(paths: Paths) -> dict[str, Any]:
    """Return what the last session said of itself."""
    return read_projection(paths.status / STATUS) or {"state": None, "reason": "no session was held here"}
