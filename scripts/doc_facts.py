"""Tables of what is recorded: events, store, states of a quest, orders, the ledger record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from scripts.doc_shape import ROOT, table

_READERS = ("core", "watchtower", "tavern")
# Modules of writing places that only count what others wrote.
_COUNTING = ("progression.py", "achievements.py", "rounds.py")


def writers(kind: str, sources: Mapping[str, str]) -> list[str]:
    """Return the places whose sources name an event kind, literally or as an f-string of its first half."""
    head = kind.split(".")[0]
    found = {place for place, text in sources.items() if f'"{kind}"' in text}
    return sorted(found or {place for place, text in sources.items() if f'f"{head}.{{name}}"' in text and _named(kind, text)})


def _named(kind: str, text: str) -> bool:
    return f'"{kind.split(".")[1]}"' in text


def source_texts() -> dict[str, str]:
    """Return place -> all its source text, without the places that only read events."""
    places = [folder for folder in sorted((ROOT / "realm").iterdir()) if folder.is_dir() and folder.name not in _READERS]
    return {p.name: "".join(f.read_text(encoding="utf-8") for f in _sources(p)) for p in places}


def _sources(place: Path) -> list[Path]:
    return sorted(path for path in place.rglob("*.py") if path.name not in _COUNTING)


def events() -> str:
    from realm.core.events import EVENT_KINDS

    sources = source_texts()
    rows = [(f"`{kind}`", text, ", ".join(writers(kind, sources)) or "not yet") for kind, text in EVENT_KINDS.items()]
    return table(("Event", "Meaning", "Written by"), rows)


def store() -> str:
    import sqlite3

    from realm.core.migrations import FACTS, TELEMETRY

    rows = []
    for file, steps in (("realm.db", FACTS), ("telemetry.db", TELEMETRY)):
        connection = sqlite3.connect(":memory:")
        for step in steps:
            step(connection)
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
        for (name,) in connection.execute(query).fetchall():
            columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA table_info({name})"))
            rows.append((f"`{file}`", f"`{name}`", columns))
    return table(("File", "Table", "Columns"), rows)


def moves() -> str:
    from realm.arena.quests.quest import _FOLDER, MOVES

    where = {"queued": "`queue/high`, `queue/normal`, `queue/low`", "deleted": "`trash/`"}
    rows = [
        (f"`{state}`", where.get(state) or f"`queue/{_FOLDER[state]}`", ", ".join(f"`{to}`" for to in sorted(targets)))
        for state, targets in MOVES.items()
    ]
    return table(("State", "Folder", "May become"), rows)


def orders() -> str:
    from realm.arena.control import _FLAGS, ACTIONS

    rows = [(f"`{name}`", f"`control/{flag}`" if (flag := _FLAGS.get(name)) else "", text) for name, text in ACTIONS.items()]
    return table(("Order", "Flag file", "What happens"), rows)


def _fields(model: type[BaseModel], prefix: str = "") -> list[tuple[str, ...]]:
    rows = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        text = kind.__name__ if isinstance(kind, type) else str(kind).replace("realm.vault.ledger.", "")
        rows.append((f"`{prefix}{name}`", f"`{text}`"))
    return rows


def record() -> str:
    from realm.vault.ledger import ConsumedRows, Record

    return table(("Field of .ledger.json", "Type"), _fields(Record) + _fields(ConsumedRows, "quests[]."))
