"""What a page or another client needs to show and edit every leaf of config.json."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, TypedDict

from realm.armory.config import LOCKED, Config, Resolved, leaves, resolve
from realm.armory.hero_presets import HeroPreset
from realm.armory.settings import SETTINGS

Kind = Literal["integer", "number", "boolean", "choice", "text", "numbers"]
# Leaves that are shown and not edited here, and why.
FIXED = {
    "hero": "a base directory holds the line of one hero; another hero is named with `realm config set hero`",
    "training.max_length": "it follows max_length",
}
_KINDS: dict[str, Kind] = {
    "integer": "integer", "number": "number", "boolean": "boolean", "string": "text", "array": "numbers",
}  # fmt: skip


class Shape(TypedDict):
    """Which values a leaf can have; bounds are inclusive unless `above` or `below` holds one that is not."""

    kind: Kind
    nullable: bool
    choices: list[str]
    minimum: float | None
    maximum: float | None
    above: float | None
    below: float | None


def _walk(schema: dict[str, Any], part: dict[str, Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in part["properties"].items():
        inner = schema["$defs"][field["$ref"].rsplit("/", 1)[1]] if "$ref" in field else field
        if "properties" in inner:
            yield from _walk(schema, inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", inner


def _shape(field: dict[str, Any]) -> Shape:
    options = field.get("anyOf", [field])
    [main] = [option for option in options if option.get("type") != "null"]
    choices = main.get("enum", [main["const"]] if "const" in main else [])
    return Shape(
        kind="choice" if choices else _KINDS[main["type"]],
        nullable=len(options) > 1,
        choices=choices,
        minimum=main.get("minimum"),
        maximum=main.get("maximum"),
        above=main.get("exclusiveMinimum"),
        below=main.get("exclusiveMaximum"),
    )


@cache
def shapes() -> dict[str, Shape]:
    """Return the shape of every leaf, read from the schema of the pydantic model."""
    schema = Config.model_json_schema()
    return {name: _shape(field) for name, field in _walk(schema, schema, "")}


def defaults(raw: dict[str, Any], preset: HeroPreset) -> dict[str, Any]:
    """Return the value of every leaf with nothing but the hero named; the three names themselves have no default."""
    named = {name: value for name, value in raw.items() if name in ("hero", "model_name", "base_model")}
    found = leaves(resolve(named, preset, {}).config.model_dump(mode="json"))
    return {name: None if name in named else value for name, value in found.items()}


def fixed_reason(name: str, origin: str) -> str | None:
    """Return why a leaf cannot be edited over HTTP, None when it can."""
    if origin == "environment":
        return "the environment of the services sets it, and that wins over config.json"
    return FIXED.get(name)


def describe(raw: dict[str, Any], resolved: Resolved, preset: HeroPreset) -> list[dict[str, Any]]:
    """Return every leaf with value, default, origin, lock, help, effect and shape, in the order of the model."""
    usual, rows = defaults(raw, preset), []
    for name, value in leaves(resolved.config.model_dump(mode="json")).items():
        setting, origin = SETTINGS[name], resolved.origins[name]
        has_default = usual[name] is not None or shapes()[name]["nullable"]
        row = {
            "name": name, "section": setting.section, "value": value, "default": usual[name], "has_default": has_default,
            "changed": has_default and value != usual[name], "origin": origin, "locked": LOCKED.get(name),
            "fixed": fixed_reason(name, origin), "help": setting.meaning, "effect": setting.effect, **shapes()[name],
        }  # fmt: skip
        rows.append(row)
    return rows
