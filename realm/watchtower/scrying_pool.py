"""The scrying pool: what is going on right now, as an object for scripts (`pool.gaze().battle_state`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Vision:
    """One look; a value that is not known is None and `snapshot` holds its reason."""

    at: str
    battle_state: str
    battle_reason: str
    hero: str | None
    level: int | None
    step: int | None
    loss: float | None
    val_loss: float | None
    quest: str | None
    steps_per_s: float | None
    eta_s: float | None
    waiting_quests: int
    snapshot: dict[str, Any]


class ScryingPool:
    """Looks at the realm through a function that returns a snapshot."""

    def __init__(self, look: Callable[[], dict[str, Any]]) -> None:
        self._look = look

    def gaze(self) -> Vision:
        """Return what can be seen now."""
        seen = self._look()
        hero, battle, queue = seen["hero"], seen["battle"], seen["queue"]
        return Vision(
            at=seen["at"],
            battle_state=battle["state"],
            battle_reason=battle["state_reason"],
            hero=hero["name"],
            level=hero["level"],
            step=hero["step"],
            loss=hero["loss"],
            val_loss=hero["val_loss"],
            quest=battle["quest"],
            steps_per_s=battle["steps_per_s"],
            eta_s=battle["eta_s"],
            waiting_quests=queue["high"] + queue["normal"] + queue["low"],
            snapshot=seen,
        )
