"""The last versions of config.json, as plain copies in config/history/, named by the moment they were replaced."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from realm.core.clock import Clock, stamp
from realm.core.durable import copy_file, remove_file
from realm.core.errors import Corrupt, unknown_name
from realm.core.paths import Paths

KEPT = 20
_FORMAT = "%Y%m%dT%H%M%S.%fZ"
_NAME = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z")


def folder(paths: Paths) -> Path:
    """Return the folder of the earlier versions."""
    return paths.user_config / "history"


def _path(paths: Paths, version: str) -> Path:
    return folder(paths) / f"{version}.json"


def list_versions(paths: Paths) -> list[str]:
    """Return the ids of the kept versions, newest first."""
    names = [path.stem for path in folder(paths).glob("*.json")] if folder(paths).is_dir() else []
    return sorted((name for name in names if _NAME.fullmatch(name)), reverse=True)


def replaced_at(version: str) -> str:
    """Return when a version was replaced, as a time stamp."""
    return stamp(_moment(version))


def _moment(version: str) -> datetime:
    return datetime.strptime(version, _FORMAT).replace(tzinfo=UTC)


def read_version(paths: Paths, version: str) -> dict[str, Any]:
    """Return a kept version as it was written; raises Unknown for an id that is not kept, Corrupt when it is damaged."""
    known = list_versions(paths)
    if version not in known:
        raise unknown_name("version of config.json", version, known)
    try:
        raw = json.loads(_path(paths, version).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"version {version} of config.json is not JSON: {error}", hint="restore another one") from error
    if not isinstance(raw, dict):
        raise Corrupt(f"version {version} of config.json is not a table of keys", hint="restore another one")
    return raw


def keep_version(paths: Paths, clock: Clock) -> str:
    """Copy the config.json in force into the history, drop all but the newest versions, and return the copy's id."""
    folder(paths).mkdir(parents=True, exist_ok=True)
    known, now = list_versions(paths), clock.now()
    if known:  # A clock that stands still or was set back does not disturb the order.
        now = max(now, _moment(known[0]) + timedelta(microseconds=1))
    version = now.strftime(_FORMAT)
    copy_file(paths.config, _path(paths, version))
    for old in list_versions(paths)[KEPT:]:
        remove_file(_path(paths, old))
    return version
