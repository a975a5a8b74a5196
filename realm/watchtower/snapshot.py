"""The snapshot: one consistent view of the whole realm, a pure function of its inputs."""

from __future__ import annotations

from typing import Any

from realm.core.clock import stamp
from realm.watchtower.battle_block import battle_block
from realm.watchtower.fields import put
from realm.watchtower.hero_block import hero_block
from realm.watchtower.inputs import Inputs
from realm.watchtower.life import judge_life
from realm.watchtower.next_move import next_move
from realm.watchtower.realm_blocks import checkpoints_block, forge_block, queue_block, services_block, skills_block

STATUS_FIELDS = ("cursor", "at", "hero", "battle", "skills", "queue", "checkpoints", "services")
TICK_FIELDS = ("at", "hero", "battle", "forge")


def build_snapshot(inputs: Inputs) -> dict[str, Any]:
    """Return the object of `GET /api/snapshot`; a missing value is null with `<field>_reason` beside it. Pure."""
    life = judge_life(inputs)
    snapshot: dict[str, Any] = {"cursor": inputs.facts.cursor, "seen": inputs.facts.seen, "at": stamp(inputs.now)}
    put(snapshot, "build", inputs.build or None, "the web app is not built")
    put(snapshot, "home_name", inputs.home_name or None, "the base directory has no name")
    put(snapshot, "demo", inputs.demo, "this realm lives; nothing is replayed")
    snapshot |= {
        "hero": hero_block(inputs, life),
        "battle": battle_block(inputs, life),
        "skills": skills_block(inputs),
        "queue": queue_block(inputs),
        "checkpoints": checkpoints_block(inputs),
        "services": services_block(inputs),
        "forge": forge_block(inputs),
    }
    snapshot["next"] = next_move(snapshot)
    snapshot["log"] = list(inputs.facts.log)
    return snapshot


def status_of(snapshot: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a snapshot that `realm status --json` prints."""
    return {name: snapshot[name] for name in STATUS_FIELDS}


def tick_of(snapshot: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a snapshot that moves with every step."""
    return {name: snapshot[name] for name in TICK_FIELDS}
