"""JSON as it leaves the watchtower: strict for browsers whatever text and numbers the facts hold."""

from __future__ import annotations

import json
import math
from typing import Any


def to_json(value: Any) -> bytes:
    """Return compact UTF-8 JSON; NaN and infinities become the words `NaN`, `Infinity`, `-Infinity`.

    JSON has no such numbers (RFC 8259 section 6) and one of them would make a browser refuse the whole answer. Lone
    surrogates, which no UTF-8 text can hold, come out as the JSON escape that means them.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        text = json.dumps(_worded(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


def _worded(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {key: _worded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_worded(item) for item in value]
    return value
