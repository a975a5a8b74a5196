"""Realm of Training: an RPG idler that really trains a small language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realm.gate import Realm

__all__ = ["Realm"]


def __getattr__(name: str) -> Any:
    # Lazily, so that `import realm.core` stays light.
    if name == "Realm":
        from realm.gate import Realm

        return Realm
    raise AttributeError(f"module 'realm' has no attribute {name!r}")
