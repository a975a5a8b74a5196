"""A wanted change of config.json as a plan: what it would become, what differs, which fields are wrong. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from realm.armory.config import LOCKED, Resolved, in_force, leaves, locked_changes, resolve, set_value
from realm.armory.config_fields import FIXED, fixed_reason, shapes
from realm.armory.hero_presets import HeroPreset
from realm.armory.settings import SETTINGS
from realm.core.errors import BadInput
from realm.core.field_errors import printable

MAX_TEXT = 1000
MAX_WHOLE = 2**53


@dataclass(frozen=True)
class Plan:
    """The file that would be written, the leaves that would differ, and what forbids it (`errors` by field)."""

    raw: dict[str, Any]
    diff: list[dict[str, Any]] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)


def without(raw: dict[str, Any], key: str) -> dict[str, Any]:
    """Return `raw` with the dotted `key` left out, and the tables that become empty by it."""
    first, _, rest = key.partition(".")
    if not rest:
        return {name: value for name, value in raw.items() if name != first}
    inner = raw.get(first)
    if not isinstance(inner, dict):
        return raw
    left = without(inner, rest)
    return {name: left if name == first else value for name, value in raw.items() if name != first or left}


def plan_changes(
    raw: dict[str, Any], preset: HeroPreset, changes: dict[str, Any], reset: list[str], environment: dict[str, Any] | None = None
) -> Plan:
    """Return what `changes` (dotted name -> value) and `reset` (names that go back to their default) would do."""
    now = resolve(raw, preset, environment)
    errors = _refusals(now, changes, reset)
    new = raw
    for name in reset:
        new = without(new, name)
    for name, value in changes.items():
        if printable(name) not in errors:
            new = set_value(new, name, value, now.origins)
    plan = plan_version(raw, new, preset, environment)
    if errors or plan.errors:
        return Plan(raw, errors={**plan.errors, **errors})
    return Plan(_as_resolved(new, plan.diff, changes), plan.diff, plan.locked)


def plan_version(
    raw: dict[str, Any], new: dict[str, Any], preset: HeroPreset, environment: dict[str, Any] | None = None
) -> Plan:
    """Return what it would do to write `new` over `raw`."""
    before = resolve(raw, preset, environment)
    if new.get("hero") != raw.get("hero"):
        return Plan(raw, errors={"hero": FIXED["hero"]})
    try:
        after = resolve(new, preset, environment)
    except BadInput as error:
        found = error.facts.get("fields") or {"": error.message}
        return Plan(raw, errors={_leaf(name): message for name, message in found.items()})
    return Plan(new, difference(before, after), locked_changes(in_force(raw, preset), in_force(new, preset)))


def _leaf(name: str) -> str:
    """Return the leaf that a place inside a value belongs to: `training.betas.1` is in `training.betas`."""
    return next((leaf for leaf in shapes() if name.startswith(f"{leaf}.")), name)


def difference(before: Resolved, after: Resolved) -> list[dict[str, Any]]:
    """Return every leaf whose value in force differs."""
    old, new = (leaves(one.config.model_dump(mode="json")) for one in (before, after))
    return [
        {"name": name, "before": old[name], "after": value, "origin": after.origins[name],
         "effect": SETTINGS[name].effect, "locked": LOCKED.get(name)}
        for name, value in new.items() if value != old[name]
    ]  # fmt: skip


def _refusals(now: Resolved, changes: dict[str, Any], reset: list[str]) -> dict[str, str]:
    """Return what is wrong with names and kinds, before the model looks at the values."""
    found = {}
    for name in (*changes, *reset):
        shape = shapes().get(name)
        if shape is None:
            found[printable(name)] = "no such setting"
        elif reason := fixed_reason(name, now.origins[name]):
            found[name] = reason
        elif name in changes and name in reset:
            found[name] = "both a new value and the default are asked for"
        elif name in changes and not _fits(shape["kind"], changes[name], shape["nullable"]):
            found[name] = {"integer": "must be a whole number", "number": "must be a number", "numbers": "must be numbers",
                           "boolean": "must be true or false"}.get(shape["kind"], "must be printable text")  # fmt: skip
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _fits(kind: str, value: Any, nullable: bool) -> bool:
    if value is None:
        return nullable
    if kind == "numbers":
        return isinstance(value, list) and all(_is_number(one) for one in value)
    if kind == "integer":
        return _is_number(value) and abs(value) <= MAX_WHOLE and value == int(value)
    text = isinstance(value, str) and value.isprintable() and len(value) <= MAX_TEXT
    return {"number": _is_number(value), "boolean": isinstance(value, bool)}.get(kind, text)


def _as_resolved(new: dict[str, Any], diff: list[dict[str, Any]], changes: dict[str, Any]) -> dict[str, Any]:
    """Write changed leaves as the model reads them: 16.0 for a whole number becomes 16."""
    for row in diff:
        if row["name"] in changes:
            new = set_value(new, row["name"], row["after"], {row["name"]: ""})
    return new
