"""The eleven tasks as data: what they need, how urgent they are, how long they rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from realm.core.errors import unknown_name

Device = Literal["gpu", "cpu"]


@dataclass(frozen=True)
class Task:
    """One row; `by_itself` says whether the task master runs it unasked."""

    id: str
    title: str
    device: Device
    priority: int
    cooldown_s: int
    by_itself: bool = True


TASKS: dict[str, Task] = {task.id: task for task in (
    Task("process_eval_queue", "Answer the evals that wait", "gpu", 10, 60),
    Task("sparring_binary", "A sparring session in BIN", "gpu", 9, 1800),
    Task("sparring_sy", "A sparring session in SY", "gpu", 9, 1800, by_itself=False),
    Task("sparring_binary_large", "A long sparring session in BIN", "gpu", 8, 7200),
    Task("generate_binary", "Put a BIN quest on a low board", "cpu", 6, 300),
    Task("health_check", "Walk every check of the sentinels", "cpu", 4, 1800),
    Task("validate_queue", "Look at the waiting quests at the deepest level", "cpu", 4, 1800),
    Task("checkpoint_cleanup", "Drop the checkpoints that no retention rule keeps", "cpu", 3, 3600),
    Task("vault_scan", "Look for assets the vault does not know", "cpu", 3, 3600),
    Task("model_warmup", "Load the newest checkpoint into the oracle", "gpu", 2, 7200),
    Task("lineage_report", "Write status/lineage.json", "cpu", 2, 3600),
)}  # fmt: skip


def get_task(name: str) -> Task:
    """Return a task by id; raises Unknown listing the ids."""
    if name not in TASKS:
        raise unknown_name("task", name, list(TASKS))
    return TASKS[name]
