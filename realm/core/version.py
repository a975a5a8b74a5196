"""The version of the package and the build id of the web app it serves."""

from __future__ import annotations

import json
from functools import cache
from importlib import metadata
from pathlib import Path

STATIC = Path(__file__).resolve().parent.parent / "tavern" / "static"


@cache
def version() -> str:
    """Return the installed version of the package."""
    return metadata.version("realm-of-training")


def build_id() -> str:
    """Return the id of the built web app, or an empty string when it is not built."""
    path = STATIC / "build.json"
    if not path.is_file():
        return ""
    return str(json.loads(path.read_text())["build"])
