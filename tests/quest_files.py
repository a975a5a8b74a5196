"""Training files for the tests, and what the tests ask of a home after it trained."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from realm.core.paths import BOARD_FOLDERS, Paths

Row = dict[str, Any]


def row(number: int, **metadata: Any) -> Row:
    """A chat row of its own."""
    told: Row = {"messages": [{"role": "user", "content": f"Compute: add({number})"},
                              {"role": "assistant", "content": f"add = {number * 7 % 97}"}]}  # fmt: skip
    return {**told, "metadata": metadata} if metadata else told


def rows(count: int, start: int = 0) -> list[Row]:
    return [row(number) for number in range(start, start + count)]


def as_bytes(items: Iterable[Row]) -> bytes:
    return "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items).encode()


def write_quest(path: Path, count: int, start: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(as_bytes(rows(count, start)))
    return path


def settle(path: Path) -> None:
    """Nothing to do on disk; named so that a test reads well beside `FakeClock.advance`."""
    os.stat(path, follow_symlinks=False)


def configure(paths: Paths, **changes: Any) -> None:
    """Lay changes over config.json; a table is merged key by key."""
    raw = json.loads(paths.config.read_text())
    for key, value in changes.items():
        raw[key] = {**raw.get(key, {}), **value} if isinstance(value, dict) else value
    paths.config.write_text(json.dumps(raw))


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of the tensors of a checkpoint."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.glob("*.safetensors"))}


def board_files(paths: Paths) -> dict[str, str]:
    """File name -> folder, for every training file that lies on the board or in the trash; a file in two is an error."""
    found: dict[str, str] = {}
    places = [(name, paths.queue(name)) for name in BOARD_FOLDERS] + [("trash", paths.trash)]
    for name, folder in places:
        for path in folder.iterdir():
            if path.name.endswith(".jsonl"):
                assert path.name not in found, f"{path.name} lies in {found[path.name]} and in {name}"
                found[path.name] = name
    return found


def leftovers(paths: Paths) -> list[str]:
    """Names of half-made files and folders anywhere in a home."""
    ends = (".tmp", ".incoming", ".gone")
    return sorted(str(p.relative_to(paths.home)) for p in paths.home.rglob("*") if p.name.endswith(ends))


def trained_examples(trace: Path) -> tuple[dict[int, list[str]], Counter[str]]:
    """Fold a trace by step number, the last line of a step wins; returns steps and how often each example was trained."""
    steps: dict[int, list[str]] = {}
    for line in trace.read_text().splitlines():
        told = json.loads(line)
        steps[told["step"]] = told["examples"]
    return steps, Counter(example for examples in steps.values() for example in examples)


def wait_until(condition: Any, seconds: float = 30.0) -> None:
    """Wait for something that another process or thread does; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
