"""What a check of the realm found; every place offers its own checks, the sentinels walk all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be: which check, about what, what was found, what to do."""

    check: str
    subject: str
    found: str
    hint: str = ""


Check = Callable[[], Sequence[Finding]]
