"""Fields of a block: a value, or null with the reason beside it under `<field>_reason`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Block = dict[str, Any]
Number = int | float


def put(block: Block, field: str, value: Any, reason: str) -> None:
    """Set a field; a None or a non-finite number becomes null with its reason."""
    if isinstance(value, float) and not math.isfinite(value):
        value, reason = None, f"the value is {value}, not a number that can be shown"
    block[field] = value
    if value is None:
        block[f"{field}_reason"] = reason


def number(source: Mapping[str, Any] | None, field: str) -> Number | None:
    """Return a number from a JSON object, None when it is absent or something else; NaN is passed on to `put`."""
    value = (source or {}).get(field)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def whole(source: Mapping[str, Any] | None, field: str) -> int | None:
    """Return a whole number from a JSON object, None when it is absent or something else."""
    value = (source or {}).get(field)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def text(source: Mapping[str, Any] | None, field: str) -> str | None:
    """Return a non-empty text from a JSON object, None when it is absent or something else."""
    value = (source or {}).get(field)
    return value if isinstance(value, str) and value else None


def inverse(value: Number | None, cap: float | None = None) -> float | None:
    """Return 1 / value, at most `cap`; None when the value is missing, NaN or negative, or 0 without a cap."""
    if value is None or math.isnan(value) or value < 0 or (value == 0 and cap is None):
        return None
    if value == 0:
        return cap
    return min(1 / value, cap) if cap is not None else 1 / value
