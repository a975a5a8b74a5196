"""What an arriving file is held against: rows of recent quests (STANDARD), prompts that evals asked (DEEP); as digests."""

from __future__ import annotations

import json
from pathlib import Path

from realm.arena.quests.quest import id_of_file
from realm.arena.quests.validation_report import digest, normalised
from realm.core.paths import BOARD_FOLDERS, Paths

QUESTS = 20
ROWS = 50_000
MAX_LINE = 1024 * 1024
PROMPTS = 200_000


def recent_rows(paths: Paths) -> frozenset[bytes]:
    """Return the digests of up to 50,000 rows of the 20 quests that arrived last; refused files do not count."""
    folders = [paths.queue(name) for name in BOARD_FOLDERS if name != "failed"]
    files = [path for folder in folders for path in folder.glob("*.jsonl") if id_of_file(path.name)]
    found: set[bytes] = set()
    for path in sorted(files, key=lambda path: path.name, reverse=True)[:QUESTS]:
        _read(path, found)
    return frozenset(found)


def _read(path: Path, found: set[bytes]) -> None:
    try:
        with path.open("rb") as handle:
            while len(found) < ROWS and (line := handle.readline(MAX_LINE)):
                if line.strip():
                    found.add(digest(json.loads(line)["messages"]))
    except FileNotFoundError:
        return  # moved to another folder just now
    except (ValueError, KeyError, TypeError):
        return  # damaged after it was accepted; the doctor tells


def asked_prompts(paths: Paths) -> frozenset[bytes]:
    """Return the digests of the prompts in stored eval reports, of any skill, the newest first, up to 200,000."""
    files = sorted(paths.evals.glob("*/*.jsonl"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    found: set[bytes] = set()
    for path in files:
        if len(found) >= PROMPTS:
            break
        try:
            for line in path.read_text(encoding="utf-8").splitlines():
                found.add(normalised(str(json.loads(line)["prompt"])))
        except FileNotFoundError:
            continue  # dropped with its checkpoint just now
        except (ValueError, KeyError, TypeError):
            continue  # damaged after it was written; the doctor tells
    return frozenset(found)
