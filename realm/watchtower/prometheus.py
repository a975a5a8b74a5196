"""Metrics in the Prometheus text format, from one snapshot per scrape; a value that is not known has no sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

# metric -> (block of the snapshot, field, what it is)
GAUGES: dict[str, tuple[str, str, str]] = {
    "realm_hero_step": ("hero", "step", "optimiser steps of the hero"),
    "realm_hero_level": ("hero", "level", "steps / 1000, rounded down"),
    "realm_hero_gold": ("hero", "gold", "100 per completed quest"),
    "realm_hero_train_loss": ("hero", "loss", "smoothed training loss, nats per trained token"),
    "realm_hero_val_loss": ("hero", "val_loss", "validation loss, nats per trained token"),
    "realm_hero_accuracy_ratio": ("hero", "acc", "correct / n of the newest gate eval of the skill in training"),
    "realm_hero_quests_completed": ("hero", "quests_completed", "completed quests"),
    "realm_battle_learning_rate": ("battle", "lr", "learning rate of the last step"),
    "realm_battle_grad_norm": ("battle", "grad_norm", "gradient norm of the last step"),
    "realm_battle_tokens_per_second": ("battle", "tokens_per_s", "tokens a second, recently"),
    "realm_battle_steps_per_second": ("battle", "steps_per_s", "optimiser steps a second, recently"),
    "realm_battle_steps_done": ("battle", "steps_done_in_quest", "steps done of the quest in training"),
    "realm_battle_steps_in_quest": ("battle", "steps_in_quest", "steps of the quest in training"),
    "realm_battle_heartbeat_age_seconds": ("battle", "heartbeat_age_s", "seconds since the arena's last heartbeat"),
    "realm_checkpoints": ("checkpoints", "count", "checkpoints present"),
    "realm_checkpoints_bytes": ("checkpoints", "size_bytes", "their size"),
    "realm_checkpoint_latest_step": ("checkpoints", "latest", "step of the newest checkpoint"),
    "realm_checkpoint_champion_step": ("checkpoints", "champion", "step of the champion"),
    "realm_disk_free_bytes": ("checkpoints", "free_bytes", "free space of the base directory"),
    "realm_forge_cpu_percent": ("forge", "cpu_percent", "processor in use"),
    "realm_forge_ram_used_bytes": ("forge", "ram_used_bytes", "memory in use"),
    "realm_forge_gpu_percent": ("forge", "gpu_percent", "GPU in use"),
    "realm_forge_vram_used_bytes": ("forge", "vram_used_bytes", "GPU memory in use"),
    "realm_forge_power_watts": ("forge", "power_w", "GPU power"),
}
BATTLE_STATES = ("training", "paused", "idle", "stopped", "evaluating", "error", "offline", "starting")


class SnapshotCollector(Collector):
    """Turns the snapshot of the moment into samples."""

    def __init__(self, look: Callable[[], Mapping[str, Any]]) -> None:
        self._look = look

    def collect(self) -> Iterable[Metric]:
        """Yield every family; read once, so that the samples of a scrape belong together."""
        seen = self._look()
        for name, (block, field, text) in GAUGES.items():
            family = GaugeMetricFamily(name, text)
            value = seen[block].get(field)
            if isinstance(value, int | float):
                family.add_metric([], float(value))
            yield family
        yield from (_battle(seen["battle"]), _queue(seen["queue"]), *_services(seen["services"]), *_skills(seen["skills"]))
        yield _events(seen)


def _battle(block: Mapping[str, Any]) -> Metric:
    family = GaugeMetricFamily("realm_battle_state", "1 for the present state of the battle", labels=["state"])
    for state in BATTLE_STATES:
        family.add_metric([state], float(block["state"] == state))
    return family


def _queue(block: Mapping[str, Any]) -> Metric:
    family = GaugeMetricFamily("realm_quests", "quests by priority (waiting) or state", labels=["place"])
    for place, number in block.items():
        if isinstance(number, int):
            family.add_metric([place], float(number))
    return family


def _services(block: Mapping[str, Any]) -> tuple[Metric, Metric]:
    up = GaugeMetricFamily("realm_service_up", "1 while the weaver sees the service running", labels=["service", "state"])
    restarts = CounterMetricFamily("realm_service_restarts", "restarts by the weaver", labels=["service"])
    for name, service in block.items():
        up.add_metric([name, service["state"]], float(service["state"] == "running"))
        restarts.add_metric([name], float(service["restarts"]))
    return up, restarts


def _skills(block: Mapping[str, Any]) -> tuple[Metric, Metric]:
    mastered = GaugeMetricFamily("realm_skill_mastered_level", "highest mastered level", labels=["skill"])
    accuracy = GaugeMetricFamily("realm_skill_accuracy_ratio", "correct / n of the newest gate eval", labels=["skill"])
    for name, skill in block.items():
        mastered.add_metric([name], float(skill["mastered"]))
        if isinstance(skill["acc"], int | float):
            accuracy.add_metric([name], float(skill["acc"]))
    return mastered, accuracy


def _events(seen: Mapping[str, Any]) -> Metric:
    family = CounterMetricFamily("realm_events", "number of the newest event in the log")
    family.add_metric([], float(seen["cursor"]))
    return family


def registry_of(look: Callable[[], Mapping[str, Any]]) -> CollectorRegistry:
    """Return a registry of its own, so that two realms in one process do not share samples."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(look))
    return registry


def scrape(registry: CollectorRegistry) -> bytes:
    """Return the text of one scrape (Prometheus exposition format 0.0.4)."""
    return generate_latest(registry)
