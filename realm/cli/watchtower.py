"""`realm watchtower`: read-only views and metrics on a port of their own."""

from __future__ import annotations

import click

from realm.core.paths import open_home


@click.group(help="Read-only views and metrics on a port of their own.")
def command() -> None: ...


@command.command("serve")
@click.option("--port", type=click.IntRange(1, 65535), help="default: 8081, moved by --port-base")
def serve_(port: int | None) -> None:
    """Serve snapshot, champion board, lineage, loss curve and Prometheus metrics until stopped."""
    from realm.core.hosts import port_of
    from realm.core.logs import setup
    from realm.core.web import serve
    from realm.gate import Realm

    paths = open_home()
    setup(paths, "watchtower")
    serve(Realm(paths).watchtower_app(port or port_of("watchtower")))
