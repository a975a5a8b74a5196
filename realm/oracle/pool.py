"""The pool of loaded minds, keyed by exact step: asked for a step it gives that step or an error, never another one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from realm.core.clock import SYSTEM, Clock, stamp
from realm.core.errors import Conflict, Unknown
from realm.core.logs import get_logger
from realm.core.manifest import NAME as MANIFEST
from realm.core.manifest import WEIGHTS, read_manifest
from realm.core.paths import Paths
from realm.oracle.batching import Answer, Sampling
from realm.oracle.checkpoints import Source, Verified, find_source, list_sources, read_verified

log = get_logger("oracle")


class MindLike(Protocol):
    """What the pool and the routes need of a mind; `realm.oracle.mind.Mind` in production, a fake in tests."""

    step: int
    model: str
    model_path: str
    weights_sha256: str
    template_hash: str
    profile: str
    hero: str
    device: str
    nbytes: int

    def answer(
        self,
        rows: Sequence[Sequence[Any]],
        *,
        max_new_tokens: int,
        sampling: Sampling = ...,
        check: Callable[[], None] = ...,
        on_text: Callable[[str], None] | None = ...,
    ) -> list[Answer]: ...


@dataclass
class Loaded:
    """One entry of the pool; `used` orders by last use, `pins` counts answers being made from it."""

    source: Source
    mind: MindLike
    loaded_at: str
    used: int
    pins: int = field(default=0)

    @property
    def dropped(self) -> bool:
        """True when retention removed the folder; the mind goes on from memory."""
        return not (self.source.folder / MANIFEST).is_file()

    def describe(self) -> dict[str, Any]:
        mind = self.mind
        return {
            "step": mind.step,
            "model": mind.model,
            "model_path": mind.model_path,
            "weights_sha256": mind.weights_sha256,
            "loaded_at": self.loaded_at,
            "bytes": mind.nbytes,
            "hero": mind.hero,
            "template_hash": mind.template_hash,
            "device": mind.device,
            "dropped": self.dropped,
        }


def plan_eviction(loaded: Sequence[Loaded], needed: int, budget: int) -> list[int]:
    """Return the steps to unload, least recently used first, so that `needed` bytes fit into `budget`. Pure.

    Raises Conflict when that is impossible, because of the size alone or because minds in use are pinned.
    """
    if needed > budget:
        raise Conflict(
            f"this checkpoint needs {needed} bytes, the oracle's memory budget is {budget}",
            hint="raise REALM_ORACLE_BUDGET_MB",
        )
    held = sum(entry.mind.nbytes for entry in loaded)
    chosen: list[int] = []
    for entry in sorted(loaded, key=lambda one: one.used):
        if held + needed <= budget:
            break
        if not entry.pins:
            chosen.append(entry.mind.step)
            held -= entry.mind.nbytes
    if held + needed > budget:
        raise Conflict(f"no room for {needed} bytes: the loaded checkpoints are in use", hint="try again after the answers")
    return chosen


class Pool:
    """Minds in memory up to `budget` bytes; safe for threads."""

    def __init__(
        self, paths: Paths, open_mind: Callable[[Verified], MindLike], *, budget: int, clock: Clock = SYSTEM
    ) -> None:
        self.budget = budget
        self._paths, self._open, self._clock = paths, open_mind, clock
        self._entries: dict[int, Loaded] = {}
        self._lock = threading.RLock()
        # Held through a whole load: two requests for one step load it once, and the budget is planned for one at a time.
        self._loading = threading.Lock()
        self._uses = 0

    def available(self) -> list[int]:
        """Return the steps that can be loaded from the folders as they are now."""
        return list(list_sources(self._paths))

    def describe(self) -> list[dict[str, Any]]:
        """Return the facts of every loaded mind, by step."""
        with self._lock:
            entries = [self._entries[step] for step in sorted(self._entries)]
        return [entry.describe() for entry in entries]

    def load(self, step: int) -> dict[str, Any]:
        """Load a step, or do nothing when it is loaded already; returns its facts.

        Raises Unknown for a step that is not there, Corrupt when its bytes do not match, Conflict without room.
        """
        with self._loading:
            with self._lock:
                entry = self._entries.get(step)
            if entry is not None and self._is_current(entry):
                self._touch(entry)
                return entry.describe()
            source = find_source(self._paths, step)
            size = int(read_manifest(source.folder)["files"][WEIGHTS]["size"])
            self._make_room(size, but=step)
            entry = self._add(source, self._open(read_verified(source)))
            log.info("loaded step %d from %s, %d bytes", step, source.model_path, entry.mind.nbytes)
            return entry.describe()

    def _is_current(self, entry: Loaded) -> bool:
        """A mind stays right until another folder claims its step, or its folder was made anew."""
        if entry.dropped:
            return entry.mind.step not in list_sources(self._paths)
        same_folder = find_source(self._paths, entry.mind.step).folder == entry.source.folder
        return same_folder and read_manifest(entry.source.folder)["weights_sha256"] == entry.mind.weights_sha256

    def _make_room(self, needed: int, *, but: int) -> None:
        with self._lock:
            others = [entry for step, entry in self._entries.items() if step != but]
            for step in plan_eviction(others, needed, self.budget):
                del self._entries[step]
                log.info("unloaded step %d to make room", step)

    def _add(self, source: Source, mind: MindLike) -> Loaded:
        # Converted weights can be larger than the file.
        self._make_room(mind.nbytes, but=source.step)
        with self._lock:
            self._uses += 1
            entry = Loaded(source, mind, stamp(self._clock.now()), self._uses)
            self._entries[source.step] = entry
            return entry

    def _touch(self, entry: Loaded) -> None:
        with self._lock:
            self._uses += 1
            entry.used = self._uses

    def unload(self, step: int) -> None:
        """Forget a step; raises Unknown when it is not loaded, Conflict while it answers."""
        with self._lock:
            if self.get(step).pins:
                raise Conflict(f"step {step} is answering", hint="try again after the answer")
            del self._entries[step]

    def get(self, step: int) -> Loaded:
        """Return the entry of exactly this step; raises Unknown naming what is loaded."""
        with self._lock:
            if step not in self._entries:
                raise Unknown(
                    f"Step {step} is not loaded. Loaded: {sorted(self._entries)}",
                    hint=f'POST /models/load {{"step": {step}}}',
                    loaded=sorted(self._entries),
                )
            return self._entries[step]

    def by_name(self, model: str) -> int:
        """Return the loaded step whose canonical name is `model`; raises Unknown naming what is loaded."""
        with self._lock:
            names = {entry.mind.model: step for step, entry in self._entries.items()}
        if model not in names:
            raise Unknown(
                f"model {model!r} is not loaded. Loaded: {sorted(names)}", hint="POST /models/load", loaded=sorted(names)
            )
        return names[model]

    @contextmanager
    def use(self, step: int) -> Iterator[MindLike]:
        """Pin a loaded step while it answers; raises Unknown when it is not loaded."""
        with self._lock:
            entry = self.get(step)
            entry.pins += 1
        self._touch(entry)
        try:
            yield entry.mind
        finally:
            with self._lock:
                entry.pins -= 1
