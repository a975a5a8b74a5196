"""Makes the tables of the documents from the code: commands, endpoints, events, settings, services, formats.

    .venv/bin/python scripts/doc_tables.py          prints which documents differ, exit code 1 when one does
    .venv/bin/python scripts/doc_tables.py --write  writes them

A table stands between `<!-- table: NAME -->` and `<!-- end of table -->`; the names are the keys of TABLES.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

if (_root := str(Path(__file__).resolve().parent.parent)) not in sys.path:
    sys.path.insert(0, _root)

from scripts import doc_facts, doc_services, doc_settings
from scripts.doc_shape import ROOT, DocumentError

NAMES = ("README", "QUICKSTART", "ARCHITECTURE", "TROUBLESHOOTING", "REMOTE_INFERENCE", "DEVELOPMENT", "CHANGELOG")
DOCUMENTS = tuple(f"{name}.md" for name in NAMES)
_SLOT = re.compile(r"(<!-- table: (\w+) -->\n)(.*?)(<!-- end of table -->)", re.S)

TABLES: dict[str, Callable[[], str]] = {
    "commands": doc_services.commands,
    "curriculum_presets": doc_settings.curriculum_presets,
    "endpoints": doc_services.endpoints,
    "environment": doc_settings.environment,
    "errors": doc_settings.errors,
    "events": doc_facts.events,
    "hero_presets": doc_settings.hero_presets,
    "levels": doc_settings.levels,
    "moves": doc_facts.moves,
    "orders": doc_facts.orders,
    "pages": doc_services.pages,
    "ports": doc_services.ports,
    "record": doc_facts.record,
    "schedule": doc_settings.schedule,
    "services": doc_services.services,
    "settings": doc_settings.settings,
    "skill_file": doc_settings.skill_file,
    "store": doc_facts.store,
}


def filled(text: str) -> str:
    """Return a document with every table made anew; raises DocumentError for a name that no table has."""

    def fill(slot: re.Match[str]) -> str:
        if slot[2] not in TABLES:
            raise DocumentError(f"no table {slot[2]!r}; known: {', '.join(TABLES)}")
        return slot[1] + TABLES[slot[2]]() + slot[4]

    return _SLOT.sub(fill, text)


def main(arguments: list[str]) -> int:
    """Write the tables, or say which documents differ."""
    write, different = "--write" in arguments, []
    for name in DOCUMENTS:
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        made = filled(text)
        if made != text:
            different.append(name)
            if write:
                path.write_text(made, encoding="utf-8")
    for name in different:
        print(f"{'written' if write else 'differs from the code'}: {name}")
    return 1 if different and not write else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
