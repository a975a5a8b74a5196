"""Every random choice takes a seed derived from its address, so the same input gives the same item."""

from __future__ import annotations

import hashlib


def derive_seed(*address: str | int) -> int:
    """Return a 64-bit seed: blake2b over the parts of the address joined with `|`."""
    text = "|".join(str(part) for part in address)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
