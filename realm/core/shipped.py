"""Content that ships with the code (skill, hero and schedule tables), read-only, in a checkout and in a wheel."""

from __future__ import annotations

from pathlib import Path

from realm.core.errors import Unknown

_PACKAGE = Path(__file__).resolve().parent.parent


def checkout_root() -> Path | None:
    """Return the root of the source checkout this code runs from, or None when it runs from a wheel."""
    root = _PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() and (root / "configs").is_dir() else None


def shipped_dir(name: str) -> Path:
    """Return a shipped folder such as `configs/skills`; raises Unknown when this installation lacks it."""
    root = checkout_root()
    folder = (root if root else _PACKAGE / "_shipped") / name
    if not folder.exists():
        raise Unknown(f"this installation lacks {name}", hint=f"looked at {folder}")
    return folder
