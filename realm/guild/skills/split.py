"""Train and eval problems are parted by content, for ever: the hash of a problem decides, not the seed that drew it."""

from __future__ import annotations

import hashlib
from typing import Literal

EVAL_BUCKETS = (0, 1)
BUCKETS = 20


def split_of(skill: str, level: int, key: str) -> Literal["train", "eval"]:
    """Return the partition of a problem: `blake2b("skill|level|key") mod 20` in {0, 1} is eval, the rest train.

    The digest is eight bytes, read big endian. "gate", "probe" and "eval" items all come from the eval partition.
    """
    digest = hashlib.blake2b(f"{skill}|{level}|{key}".encode(), digest_size=8).digest()
    return "eval" if int.from_bytes(digest, "big") % BUCKETS in EVAL_BUCKETS else "train"
