"""Starts `realm` from the checkout's own environment; used by the short script names of a checkout."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def realm(*words: str) -> None:
    """Replace this process by `.venv/bin/realm WORDS ARGUMENTS`; ends with code 1 when nothing is installed yet."""
    command = ROOT / ".venv" / "bin" / "realm"
    if not command.exists():
        sys.exit(f"error: {command} is missing\n  run ./scripts/start_all.sh first")
    os.execv(command, [str(command), *words, *sys.argv[1:]])
