"""Makes the tables of the documents from the code: commands, endpoints, events, settings, services, formats.

    .venv/bin/python scripts/doc_tables.py          prints which documents differ, exit code 1 when one does
    .venv/bin/python scripts/doc_tables.py --write  writes them

A table stands between `<!-- table: NAME -->` and `<!-- end of table -->`; the names are the keys of TABLES.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from scripts.doc_meanings import ENVIRONMENT, SETTINGS  # noqa: E402

DOCUMENTS = (
    "README.md", "QUICKSTART.md", "ARCHITECTURE.md", "TROUBLESHOOTING.md", "REMOTE_INFERENCE.md", "DEVELOPMENT.md", "CHANGELOG.md",
)  # fmt: skip
_SLOT = re.compile(r"(<!-- table: (\w+) -->\n)(.*?)(<!-- end of table -->)", re.S)
_EVERY_PORT = ("/health",)


class DocumentError(Exception):
    """A table cannot be made; the message names what is missing and where to add it."""


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table; bars and line ends in cells are made harmless."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def code(value: Any) -> str:
    """Return a value as JSON in code marks, empty for none."""
    return "" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


# --- commands -------------------------------------------------------------------------------------------------------


def walk(command: click.Command, words: str) -> Iterator[tuple[str, click.Command]]:
    """Yield every runnable command below one, with its words."""
    if not isinstance(command, click.Group):
        yield words, command
        return
    if command.invoke_without_command:
        yield words, command
    context = click.Context(command)
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        yield from walk(child, f"{words} {name}")


def _usage(command: click.Command) -> str:
    from realm.cli import GLOBAL_OPTIONS

    common = {option.opts[0] for option in GLOBAL_OPTIONS}
    words = []
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            words.append(parameter.make_metavar(click.Context(command)))
        elif parameter.opts[0] not in common:
            words.append(parameter.opts[-1] if parameter.opts[-1].startswith("--") else parameter.opts[0])
    return " ".join(words)


def commands() -> str:
    from realm.cli import PLACES, root

    context, rows = click.Context(root), []
    for place in PLACES:
        command = root.get_command(context, place)
        assert command is not None
        for words, one in walk(command, f"realm {place}"):
            rows.append((f"`{words}`", f"`{usage}`" if (usage := _usage(one)) else "", one.get_short_help_str(200)))
    return table(("Command", "Arguments and options", "What it does"), rows)


# --- HTTP -----------------------------------------------------------------------------------------------------------


def apps(home: Path) -> list[tuple[str, Any]]:
    """Return every HTTP service as (port and name, app), built on an empty base directory."""
    from realm.core.hosts import DEFAULT, PORTS
    from realm.core.paths import Paths
    from realm.gate import Realm
    from realm.guild.skills.server import skill_app
    from realm.oracle.server import build_app

    paths = Paths(home).ensure()
    realm = Realm(paths)
    found = [
        (f"{PORTS['tavern']} Tavern", realm.tavern_app(PORTS["tavern"])),
        (f"{PORTS['vault']} Vault", realm.vault_app(PORTS["vault"])),
        (f"{PORTS['inference']} Oracle", build_app(paths, port=PORTS["inference"])),
    ]
    for name in sorted(DEFAULT.hosts["local"].services):
        if name.startswith("skill_"):
            skill, port = name.removeprefix("skill_"), PORTS[name]
            found.append((f"{port} Skill {skill.upper()}", skill_app(skill, port)))
    return found


def endpoints() -> str:
    rows: list[tuple[str, ...]] = [
        ("every one", "GET", f"`{path}`", text)
        for path, text in (
            ("/health", "Answer while the service lives; `instance` tells which start of it answered."),
            ("/openapi.json", "The description of all routes of the port."),
            ("/docs", "The same as a page without outside resources."),
        )
    ]
    with tempfile.TemporaryDirectory(prefix="realm-docs-") as home:
        described = [(port, app.openapi()["paths"]) for port, app in apps(Path(home))]
    for port, paths in described:
        for path, methods in sorted(paths.items()):
            for method, route in methods.items() if path not in _EVERY_PORT else ():
                text = (route.get("description") or route.get("summary") or "").split("\n\n")[0]
                rows.append((port, method.upper(), f"`{path}`", text))
    return table(("Port", "Method", "Path", "What it does"), rows)


def pages() -> str:
    from realm.tavern.pages import PAGES

    return ", ".join(f"`{page}`" for page in PAGES) + "\n"


def services() -> str:
    from realm.core.hosts import DEFAULT
    from realm.weaver.services import SERVED_BY, TABLE, plan_services

    host, rows = DEFAULT.hosts["local"], []
    for planned in plan_services(host, 8000):
        kind = TABLE.get(planned.name)
        words = " ".join(planned.argv[3:])
        port = str(host.services[planned.name].port) if planned.port else ""
        rows.append((f"`{planned.name}`", port, f"`realm {words}`", planned.sign, "yes" if kind and kind.torch else ""))
    for name, other in SERVED_BY.items():
        entry = host.services[name]
        rows.append((f"`{name}`", str(entry.port), f"no process: `{entry.path}` of `{other}`", "", ""))
    return table(("Service", "Port", "Process", "Sign of life", "Imports torch"), rows)


def ports() -> str:
    from realm.core.hosts import DEFAULT, PORTS

    used = DEFAULT.hosts["local"].services
    rows = [(str(port), f"`{name}`", "in use" if name in used else "reserved") for name, port in PORTS.items()]
    return table(("Default port", "Service", "State"), sorted(rows))


# --- events and store -----------------------------------------------------------------------------------------------

_READERS = ("core", "watchtower", "tavern")


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
    return {p.name: "".join(f.read_text(encoding="utf-8") for f in sorted(p.rglob("*.py"))) for p in places}


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
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid")
        for (name,) in names.fetchall():
            columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA table_info({name})"))
            rows.append((f"`{file}`", f"`{name}`", columns))
    return table(("File", "Table", "Columns"), rows)


def moves() -> str:
    from realm.arena.quest import _FOLDER, MOVES

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


# --- formats --------------------------------------------------------------------------------------------------------


def _fields(model: type[BaseModel], prefix: str = "") -> list[tuple[str, ...]]:
    rows = []
    for name, field in model.model_fields.items():
        kind = str(field.annotation).replace("realm.vault.ledger.", "") if not isinstance(field.annotation, type) else field.annotation.__name__
        rows.append((f"`{prefix}{name}`", f"`{kind}`"))
    return rows


def record() -> str:
    from realm.vault.ledger import ConsumedRows, Record

    return table(("Field of .ledger.json", "Type"), _fields(Record) + _fields(ConsumedRows, "quests[]."))


# --- settings -------------------------------------------------------------------------------------------------------


def meaning(place: str, name: str) -> str:
    """Return the line on a setting; raises DocumentError when scripts/doc_meanings.py has none."""
    try:
        return SETTINGS[place][name]
    except KeyError:
        raise DocumentError(f"scripts/doc_meanings.py says nothing about {place} {name}") from None


def refuse_stale(place: str, names: set[str]) -> None:
    """Raise DocumentError for a line about a setting that is gone."""
    if stale := sorted(set(SETTINGS[place]) - names):
        raise DocumentError(f"scripts/doc_meanings.py describes {place} {', '.join(stale)}, which the code does not have")


def _resolved(preset: str) -> Any:
    from realm.armory.config import resolve
    from realm.armory.hero_presets import get_preset

    raw = {"hero": "dio", "model_name": preset, "base_model": "models/dio"}
    return resolve(raw, get_preset(preset), {})


def settings() -> str:
    from realm.armory.config import LOCKED, leaves

    tiny, dio = _resolved("tiny"), _resolved("dio")
    other = leaves(dio.config.model_dump(mode="json"))
    values = leaves(tiny.config.model_dump(mode="json"))
    refuse_stale("config", set(values))
    rows = []
    for name, value in values.items():
        source = {"config.json": "`realm hero create`", "preset tiny": "preset"}.get(tiny.origins[name], tiny.origins[name])
        lock = "; locked" if name in LOCKED else ""
        rows.append((f"`{name}`", code(value), code(other[name]), source + lock, meaning("config", name)))
    return table(("Key of config.json", "With preset `tiny`", "With preset `dio`", "Value from", "Meaning"), rows)


def _defaults(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if inspect.isclass(inner) and issubclass(inner, BaseModel):
            yield from _defaults(inner, f"{prefix}{name}.")
        else:
            needed = field.is_required()
            yield f"{prefix}{name}", "needed" if needed else code(_plain(field.get_default(call_default_factory=True)))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _described(place: str, rows: list[tuple[str, Any]], head: tuple[str, str, str]) -> str:
    refuse_stale(place, {name for name, _ in rows})
    return table(head, [(f"`{name}`", default, meaning(place, name)) for name, default in rows])


def schedule() -> str:
    from realm.guild.schedule import Schedule, SkillPlan, load_schedule
    from realm.core.paths import Paths

    shipped = load_schedule(Paths(Path("/nonexistent")))
    from realm.armory.config import leaves

    values = leaves(shipped.model_dump(mode="json", exclude={"skills"}))
    rows = [(name, code(value)) for name, value in values.items()]
    rows[1:1] = [(f"skills.ID.{name}", default) for name, default in _defaults(SkillPlan)]
    assert set(Schedule.model_fields) == {"strategy", "skills", "board", "gate"}
    return _described("schedule", rows, ("Key of schedule.yaml", "Shipped value", "Meaning"))


def skill_file() -> str:
    from realm.guild.skills.config import SkillConfig

    return _described("skill", list(_defaults(SkillConfig)), ("Key of a skill's YAML", "Default", "Meaning"))


def curriculum_presets() -> str:
    from realm.guild.schedule import PRESETS

    return table(("Preset", "Strategy", "Meaning"), [(f"`{n}`", p.strategy, p.title) for n, p in PRESETS.items()])


def hero_presets() -> str:
    from realm.armory.hero_presets import list_presets

    rows = []
    for preset in list_presets():
        numbers, base = preset.training, preset.base.model_dump(mode="json", exclude_none=True)
        made = f"made here: {base['layers']} layers of {base['hidden']}" if "make" in base else f"`{base.get('hub') or base.get('folder')}`"
        matrices = {"muon": "Muon on matrices, AdamW on the rest", "adamw": "AdamW"}[numbers.matrices]
        rows.append((f"`{preset.id}`", preset.title, made, f"{numbers.rows_per_step} rows", matrices, numbers.precision, str(numbers.max_length)))
    return table(("Preset", "Title", "Base", "An optimiser step", "Optimiser", "Precision", "max_length"), rows)


def environment() -> str:
    return table(("Variable", "Meaning"), [(f"`{name}`", text) for name, text in ENVIRONMENT.items()])


def errors() -> str:
    from realm.core.errors import RealmError

    kinds = [RealmError, *(kind for kind in RealmError.__subclasses__() if kind.__module__ == "realm.core.errors")]
    rows = []
    for kind in kinds:
        text = (kind.__doc__ or "").split(";")[0].split("\n")[0].rstrip(".")
        rows.append((f"`{kind.code}`", str(kind.status), str(kind.exit_code), text))
    return table(("Code", "HTTP status", "Exit code", "Meaning"), rows)


def levels() -> str:
    from realm.guild.skills.bin.levels import LEVELS

    rows = []
    for row in LEVELS.values():
        styles = ", ".join(f"{name} {share:.0%}" for name, share in row.styles.items())
        rows.append((str(row.level), str(row.width), row.title, str(row.max_ops), f"{row.key_share:.0%}", styles))
    return table(("Level", "Bits", "New", "Operators, at most", "With a symbol key", "Answer styles"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "commands": commands,
    "curriculum_presets": curriculum_presets,
    "endpoints": endpoints,
    "environment": environment,
    "errors": errors,
    "events": events,
    "hero_presets": hero_presets,
    "levels": levels,
    "moves": moves,
    "orders": orders,
    "pages": pages,
    "ports": ports,
    "record": record,
    "schedule": schedule,
    "services": services,
    "settings": settings,
    "skill_file": skill_file,
    "store": store,
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
