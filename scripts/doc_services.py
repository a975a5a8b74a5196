"""Tables of what can be called: commands, endpoints, pages, services, ports."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from scripts.doc_shape import table

_EVERY_PORT = ("/health",)


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
        (f"{PORTS['branch']} Branch officer", realm.branch_app(PORTS["branch"])),
        (f"{PORTS['watchtower']} Watchtower", realm.watchtower_app(PORTS["watchtower"])),
        (f"{PORTS['taskmaster']} Task master", _taskmaster(realm)),
        (f"{PORTS['inference']} Oracle", build_app(paths, port=PORTS["inference"])),
    ]
    for name in sorted(DEFAULT.hosts["local"].services):
        if name.startswith("skill_"):
            skill, port = name.removeprefix("skill_"), PORTS[name]
            found.append((f"{port} Skill {skill.upper()}", skill_app(skill, port)))
    return found


def _taskmaster(realm: Any) -> Any:
    from realm.core.hosts import PORTS
    from realm.core.store import open_facts
    from realm.core.web import make_app
    from realm.gate.tasks import works
    from realm.guild.tasks.load import machine_load
    from realm.guild.tasks.master import TaskMaster
    from realm.guild.tasks.routes import task_router

    master = TaskMaster(realm.paths, open_facts(realm.paths), works(realm), machine_load)
    return make_app("taskmaster", [task_router(realm.paths, master)], port=PORTS["taskmaster"])


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
