"""The blocks below the battle: skills, queue, checkpoints, services, forge."""

from __future__ import annotations

from typing import Any

from realm.watchtower.fields import Block, put
from realm.watchtower.inputs import EvalRow, FactRows, Inputs, ServiceRow, SkillCard

_SETTLED = ("processing", "completed", "failed", "rejected", "skipped", "deleted")
_WAITING = ("high", "normal", "low")


def skills_block(inputs: Inputs) -> dict[str, Block]:
    """Build one card per skill that has a YAML. Pure."""
    return {skill: _skill(card, inputs.facts) for skill, card in inputs.cards.items()}


def _skill(card: SkillCard, facts: FactRows) -> Block:
    state = facts.skills[card.id]
    newest = next((found for found in state.last_evals if found.n), None)
    block: Block = {"name": card.name}
    for name in ("mastered", "training", "max_level", "passes", "passes_needed", "threshold"):
        block[name] = getattr(state, name)
    for name in ("icon", "game_icon", "color"):
        put(block, name, getattr(card, name) or None, f"configs/skills/{card.id}.yaml names none")
    why = f"no eval of level {state.training} has finished yet"
    put(block, "acc", newest.correct / newest.n if newest else None, why)
    put(block, "n", newest.n if newest else None, why)
    put(block, "correct", newest.correct if newest else None, why)
    block |= {"window_correct": state.correct, "window_n": state.n, "rusty": list(state.rusty)}
    block["last_evals"] = [_eval(row) for row in facts.newest_evals.get(card.id, ())]
    return block


def _eval(row: EvalRow) -> Block:
    return {"level": row.level, "correct": row.correct, "n": row.n, "step": row.step, "at": row.at}


def queue_block(inputs: Inputs) -> Block:
    """Count the quests: waiting ones by priority, the others by state. Pure."""
    quests = inputs.facts.quests
    block: Block = {name: quests.get(("queued", name), 0) for name in _WAITING}
    for state in _SETTLED:
        block[state] = quests.get((state, ""), 0)
    return block


def checkpoints_block(inputs: Inputs) -> Block:
    """Build the vault's summary. Pure."""
    facts = inputs.facts
    block: Block = {"count": facts.checkpoints, "size_bytes": facts.checkpoint_bytes}
    put(block, "latest", facts.latest.step if facts.latest else None, "no checkpoint has been saved yet")
    put(block, "latest_name", facts.latest.name if facts.latest else None, "no checkpoint has been saved yet")
    crown, why = facts.champion, "no checkpoint has been crowned yet"
    put(block, "champion", crown.step if crown else None, why)
    put(block, "champion_name", crown.checkpoint if crown else None, why)
    put(block, "champion_metric", crown.metric if crown else None, why)
    put(block, "champion_value", crown.value if crown else None, why)
    put(block, "free_bytes", inputs.free_bytes, "the disk of the base directory cannot be measured")
    return block


def services_block(inputs: Inputs) -> dict[str, Block]:
    """Build one row per service the weaver knows. Pure."""
    return {row.name: _service(row, row.name in inputs.gone) for row in inputs.facts.services}


def _service(row: ServiceRow, gone: bool) -> Block:
    block: Block = {"state": row.state, "since": row.since, "restarts": row.restarts, "reason": row.reason}
    if gone:
        block |= {"state": "down", "reason": f"process {row.pid} is gone and nothing has mended it"}
    put(block, "port", row.port, "this service listens on no port")
    return block


_FORGE = (
    "device", "name", "ram_used_bytes", "ram_total_bytes", "cpu_percent", "gpu_percent", "vram_used_bytes",
    "vram_total_bytes", "temperature_c", "power_w",
)  # fmt: skip


def forge_block(inputs: Inputs) -> Block:
    """Build the machine's block from the forge's readings. Pure."""
    block: Block = {}
    for name in _FORGE:
        put(block, name, inputs.forge.get(name), _forge_reason(inputs.forge, name))
    return block


def _forge_reason(forge: Any, name: str) -> str:
    return str(forge.get(f"{name}_reason") or "the forge was not asked")
