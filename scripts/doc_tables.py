"""Makes the tables of the documents from the code: commands, endpoints, events, settings, services.

    .venv/bin/python scripts/doc_tables.py          prints which documents differ, exit code 1 when one does
    .venv/bin/python scripts/doc_tables.py --write  writes them
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md", "QUICKSTART.md", "ARCHITECTURE.md", "TROUBLESHOOTING.md", "REMOTE_INFERENCE.md", "DEVELOPMENT.md")
_SLOT = re.compile(r"(<!-- table: (\w+) -->\n)(.*?)(<!-- end of table -->)", re.S)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _walk(command: click.Command, words: str) -> Iterator[tuple[str, str]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        own = command.get_short_help_str(110)
        if command.invoke_without_command:
            yield words, own
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _walk(child, f"{words} {name}")
    else:
        yield words, command.get_short_help_str(110)


def commands() -> str:
    from realm.cli import PLACES, root

    context = click.Context(root)
    rows: list[tuple[str, ...]] = []
    for place in PLACES:
        command = root.get_command(context, place)
        assert command is not None
        rows += [(f"`{words}`", text) for words, text in _walk(command, f"realm {place}")]
    return _table(("Command", "What it does"), rows)


def endpoints() -> str:
    from realm.core.paths import Paths
    from realm.gate import Realm
    from realm.guild.skills.server import build_skill_router, builtin_skill
    from realm.oracle.server import build_app

    with tempfile.TemporaryDirectory() as home:
        paths = Paths(Path(home)).ensure()
        realm = Realm(paths)
        apps: list[tuple[str, Any]] = [
            ("8888 Tavern", realm.tavern_app(8888)),
            ("8767 Vault", realm.vault_app(8767)),
            ("8765 Oracle", build_app(paths, port=8765)),
        ]
        from realm.core.web import make_app

        apps.append(("8090 Skill BIN", make_app("skill_bin", [build_skill_router(builtin_skill("bin"))], port=8090)))
        rows: list[tuple[str, ...]] = []
        for port, app in apps:
            for path, methods in sorted(app.openapi()["paths"].items()):
                for method, route in methods.items():
                    text = (route.get("description") or route.get("summary") or "").split("\n\n")[0]
                    rows.append((port, method.upper(), f"`{path}`", text))
    return _table(("Port", "Method", "Path", "What it does"), rows)


def events() -> str:
    from realm.core.events import EVENT_KINDS

    return _table(("Event", "Meaning"), [(f"`{kind}`", text) for kind, text in EVENT_KINDS.items()])


def settings() -> str:
    from realm.armory.config import LOCKED, leaves, resolve
    from realm.armory.hero_presets import get_preset

    raw = {"hero": "dio", "model_name": "tiny", "base_model": "models/dio"}
    found = resolve(raw, get_preset("tiny"), {})
    values = leaves(found.config.model_dump(mode="json"))
    rows = [
        (f"`{name}`", "" if value is None else str(value), found.origins[name], "yes" if name in LOCKED else "")
        for name, value in values.items()
    ]
    return _table(("Key of config.json", "Value for the preset `tiny`", "From", "Locked"), rows)


def services() -> str:
    from realm.core.hosts import DEFAULT

    rows = []
    for name, service in DEFAULT.hosts["local"].services.items():
        rows.append((f"`{name}`", str(service.port or "none"), f"`{service.path}`" if service.path else ""))
    return _table(("Service", "Port", "API path"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "commands": commands,
    "endpoints": endpoints,
    "events": events,
    "settings": settings,
    "services": services,
}


def filled(text: str) -> str:
    """Return a document with every table made anew."""
    return _SLOT.sub(lambda slot: slot[1] + TABLES[slot[2]]() + slot[4], text)


def main() -> int:
    different = []
    for name in DOCUMENTS:
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        made = filled(text)
        if made != text:
            different.append(name)
            if "--write" in sys.argv:
                path.write_text(made, encoding="utf-8")
    for name in different:
        print(f"{'written' if '--write' in sys.argv else 'differs from the code'}: {name}")
    return 1 if different and "--write" not in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
