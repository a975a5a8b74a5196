"""The reading edge of the watchtower: databases, status file, heartbeat, hero and machine become `Inputs`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from realm.core.clock import SYSTEM, Clock
from realm.core.errors import BadInput
from realm.core.ids import check_id
from realm.core.paths import Paths
from realm.core.version import build_id
from realm.watchtower.facts import read_fact_rows
from realm.watchtower.fields import text
from realm.watchtower.forge import Forge
from realm.watchtower.hero_block import hero_step
from realm.watchtower.inputs import FactRows, Inputs, ServiceRow, SkillCard
from realm.watchtower.life import judge_life
from realm.watchtower.reader import Reader, Version, facts_reader, telemetry_reader

Cards = Callable[[], Mapping[str, SkillCard]]
Alive = Callable[[int, float | None], bool]
Signature = tuple[int, int, int] | None
CARDS_EVERY_S = 5.0
# A home that holds this file is no realm but a replayed recording of one.
DEMO_MARK = "demo.json"


def process_alive(pid: int, created: float | None = None) -> bool:
    """Say whether a process exists; with its start time also that the number was not given to another one."""
    if created is None:
        return psutil.pid_exists(pid)
    try:
        return abs(psutil.Process(pid).create_time() - created) < 2.0
    except psutil.NoSuchProcess:
        return False


class Sources:
    """Open connections and the last facts read, which are read again only after a commit."""

    def __init__(
        self, paths: Paths, cards: Cards, *, forge: Forge | None = None, clock: Clock = SYSTEM,
        alive: Alive = process_alive,
    ) -> None:  # fmt: skip
        self.paths = paths
        self.clock = clock
        self.facts: Reader = facts_reader(paths)
        self.telemetry: Reader = telemetry_reader(paths)
        self._cards = cards
        self._forge = forge or Forge(clock=clock)
        self._alive = alive
        self._cards_now: Mapping[str, SkillCard] = {}
        self._cards_at = -1e9
        self._status_path = paths.status / "training_status.json"
        self._beat_path = paths.run / "arena.heartbeat"
        self._rows: FactRows | None = None
        self._rows_key: tuple[Version, tuple[SkillCard, ...]] | None = None

    def signature(self) -> tuple[Any, ...]:
        """Return a cheap value that changes when anything recorded has changed."""
        return self.facts.version(), file_signature(self._status_path), file_signature(self._beat_path)

    def gather(self) -> Inputs:
        """Read everything of this moment."""
        cards = self._skill_cards()
        hero, hero_reason = read_hero(self.paths)
        status, status_reason = read_json(self._status_path, "the arena has not run on this base directory")
        heartbeat, _ = read_json(self._beat_path, "")
        facts = self._fact_rows(cards)
        pid = (heartbeat or {}).get("pid")
        inputs = Inputs(
            now=self.clock.now(),
            monotonic=self.clock.monotonic(),
            facts=facts,
            cards=cards,
            home_name=self.paths.home.name,
            build=build_id(),
            hero=hero,
            hero_reason=hero_reason,
            status=status,
            status_reason=status_reason,
            heartbeat=heartbeat,
            arena_process=isinstance(pid, int) and self._alive(pid, None),
            gone=frozenset(row.name for row in facts.services if self._gone(row)),
            free_bytes=shutil.disk_usage(self.paths.home).free,
            forge=self._forge.read(),
            demo=read_json(self.paths.home / DEMO_MARK, "")[0],
        )
        return _with_validation(inputs, self.telemetry)

    def close(self) -> None:
        self.facts.close()
        self.telemetry.close()

    def _skill_cards(self) -> Mapping[str, SkillCard]:
        # The cards come from YAML files, which cost more to read than the rest and change by hand only.
        now = self.clock.monotonic()
        if now - self._cards_at >= CARDS_EVERY_S:
            self._cards_now, self._cards_at = self._cards(), now
        return self._cards_now

    def _gone(self, row: ServiceRow) -> bool:
        return row.pid is not None and row.state not in ("down", "fallen") and not self._alive(row.pid, row.created)

    def _fact_rows(self, cards: Mapping[str, SkillCard]) -> FactRows:
        with self.facts.open() as connection:
            key = (self.facts.version(), tuple(cards.values()))
            if self._rows is None or key != self._rows_key:
                self._rows, self._rows_key = read_fact_rows(connection, cards), key
            return self._rows


def _with_validation(inputs: Inputs, telemetry: Reader) -> Inputs:
    step, _ = hero_step(inputs, judge_life(inputs))
    if step is None:
        return inputs
    with telemetry.open() as connection:
        row = connection.execute(
            "SELECT step, loss FROM validation WHERE step <= ? ORDER BY step DESC LIMIT 1", (step,)
        ).fetchone()
    if row is None:
        return inputs
    return Inputs(**{**inputs.__dict__, "validation": (row["step"], row["loss"])})


def file_signature(path: Path) -> Signature:
    """Return (inode, mtime in ns, size) of a file, None when it is missing; an atomic replace changes the inode."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def read_json(path: Path, absent: str) -> tuple[dict[str, Any] | None, str]:
    """Return a JSON object, or None and why: the file is absent, or it is not an object."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None, absent
    except ValueError as error:
        return None, f"{path.name} is not JSON: {error}"
    return (found, "") if isinstance(found, dict) else (None, f"{path.name} is not a JSON object")


def read_hero(paths: Paths) -> tuple[dict[str, Any] | None, str]:
    """Return hero.json of the hero that config.json names, or None and why."""
    folder, why = _hero_folder(paths)
    if folder is None:
        return None, why
    return read_json(folder / "hero.json", f"models/{folder.name}/hero.json is missing")


def base_digest(paths: Paths) -> str | None:
    """Return the digest of the base hero's weights (step 0) from its manifest, None when there is none."""
    folder, _ = _hero_folder(paths)
    manifest, _ = read_json(folder / "manifest.json", "") if folder else (None, "")
    return text(manifest, "weights_sha256")


def _hero_folder(paths: Paths) -> tuple[Path | None, str]:
    config, why = read_json(paths.config, "there is no hero yet: run `realm hero create`")
    if config is None:
        return None, why
    hero_id = config.get("hero")
    if not isinstance(hero_id, str):
        return None, "config.json names no hero"
    try:
        check_id(hero_id)
    except BadInput as error:
        return None, f"config.json, hero: {error.message}"
    return paths.base_hero(hero_id), ""
