"""The record of conformance tests: which gym skills of a base directory passed, and why the others are quarantined.

A projection: `realm skills gym check` makes it anew. It counts for the table and the package it was made with only.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from realm.core.clock import SYSTEM, Clock, stamp
from realm.core.durable import read_projection, write_json
from realm.core.errors import RealmError, Refused
from realm.core.paths import Paths
from realm.guild.skills.config import SkillConfig
from realm.guild.skills.gym.conformance import Report, check
from realm.guild.skills.gym.task import package_version


def record_path(paths: Paths, skill_id: str) -> Path:
    """Return where the record of a skill lies."""
    return paths.status / "gym" / f"{skill_id}.json"


def digest_of(config: SkillConfig) -> str:
    """Return what a record is bound to: the gym table and the version of the package."""
    table = config.gym.model_dump(mode="json") if config.gym else {}
    text = json.dumps([config.id, table, package_version()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def checked(paths: Paths, config: SkillConfig, source: Path, clock: Clock = SYSTEM) -> Report:
    """Run the conformance test, keep its record and return the report; raises Unavailable without the package."""
    digest, report = digest_of(config), check(config, source)
    path = record_path(paths, config.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"skill": config.id, "digest": digest, "at": stamp(clock.now()), "passed": report.passed, **asdict(report)})
    return report


def _read(paths: Paths, skill_id: str) -> dict[str, Any]:
    path = record_path(paths, skill_id)
    found = read_projection(path) if path.is_file() else None
    return found if isinstance(found, dict) else {}


def why_not(paths: Paths, config: SkillConfig) -> str:
    """Return why a skill may not be enabled, "" when it may; skills of other servers always may."""
    if config.gym is None:
        return ""
    try:
        digest = digest_of(config)
    except RealmError as error:
        return error.message
    found = _read(paths, config.id)
    if found.get("digest") != digest:
        return "it has not passed its conformance test yet"
    return "" if found.get("passed") is True else f"quarantined: {'; '.join(map(str, found.get('problems', [])))[:400]}"


def refuse(paths: Paths, config: SkillConfig) -> None:
    """Raise Refused with the reason when a skill may not be enabled."""
    reason = why_not(paths, config)
    if reason:
        raise Refused(f"skill {config.id} cannot be enabled: {reason}", hint=f"realm skills gym check {config.id}")


def ensure_passed(paths: Paths, config: SkillConfig, source: Path) -> None:
    """Test a skill that has no record yet; raises Refused when it may not be enabled, Unavailable without the package."""
    if config.gym is not None and _read(paths, config.id).get("digest") != digest_of(config):
        checked(paths, config, source)
    refuse(paths, config)
