"""Making a hero for a page: `realm hero create` in a process of its own, watched until it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

from realm.armory.hero_routes import HeroBody
from realm.armory.heroes import list_heroes
from realm.core.clock import SYSTEM, Clock
from realm.core.errors import BadInput, Conflict
from realm.core.logs import get_logger
from realm.core.paths import Paths
from realm.guild.skills.loader import all_skills

log = get_logger("smith")
FIRST_ID = "dio"
LIMIT_S = 3600.0
WORDS = 600


class HeroSmith:
    """One hero at a time; what happened to the last one stays readable until the next is begun."""

    def __init__(self, paths: Paths, clock: Clock = SYSTEM) -> None:
        self._paths = paths
        self._clock = clock
        self._lock = threading.Lock()
        self._state, self._text, self._hero = "idle", "", ""
        self._began = clock.monotonic()

    def begin(self, wish: HeroBody) -> None:
        """Start the command; raises Conflict while one runs, BadInput for a skill that is not there."""
        unknown = sorted(set(wish.skills) - set(all_skills(self._paths)))
        if unknown:
            raise BadInput(f"there is no skill {unknown[0]!r}", hint=f"known: {', '.join(all_skills(self._paths))}")
        with self._lock:
            if self._state == "making":
                raise Conflict("a hero is being made already", hint="wait until it is done")
            hero_id = free_id({hero.id for hero in list_heroes(self._paths)})
            self._state, self._text, self._hero = "making", "the hero is being made", hero_id
            self._began = self._clock.monotonic()
        threading.Thread(target=self._make, args=(wish, hero_id), name="smith", daemon=True).start()

    def state(self) -> dict[str, Any]:
        """Return how the present or last one goes."""
        with self._lock:
            seconds = round(self._clock.monotonic() - self._began, 1) if self._state == "making" else None
            return {"state": self._state, "text": self._text, "seconds": seconds, "hero": self._hero or None}

    def _make(self, wish: HeroBody, hero_id: str) -> None:
        try:
            text = self._run(command_of(wish, hero_id))
            self._end("made", text)
        except (BadInput, OSError, subprocess.TimeoutExpired) as error:
            log.warning("no hero was made: %s", error)
            self._end("failed", str(error)[:WORDS])

    def _run(self, words: list[str]) -> str:
        environment = {**os.environ, "REALM_HOME": str(self._paths.home), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "realm.cli", *words], env=environment, capture_output=True, text=True, timeout=LIMIT_S
        )
        if done.returncode != 0:
            raise BadInput(done.stderr.strip()[-WORDS:] or f"realm {' '.join(words[:2])} ended with {done.returncode}")
        return done.stdout.strip()[-WORDS:]

    def _end(self, state: str, text: str) -> None:
        with self._lock:
            self._state, self._text = state, text


def free_id(taken: set[str]) -> str:
    """Return a folder name that no hero has. Pure."""
    number = 1
    while (found := FIRST_ID if number == 1 else f"{FIRST_ID}{number}") in taken:
        number += 1
    return found


def command_of(wish: HeroBody, hero_id: str) -> list[str]:
    """Return the words after `realm` that make a wish come true. Pure."""
    base = ["--preset", wish.preset] if wish.preset is not None else ["--base", str(wish.folder)]
    look = ["--look", wish.look] if wish.look is not None else []
    skills = [word for skill in wish.skills for word in ("--skill", skill)]
    return ["hero", "create", *base, "--id", hero_id, "--name", wish.name, *look, *skills]
