"""`realm vault`: the ledger and training API."""

from __future__ import annotations

import click

from realm.core.paths import open_home


@click.group(help="Serve the ledger and training API.")
def command() -> None: ...


@command.command("serve")
@click.option("--port", type=click.IntRange(1, 65535), help="default: 8767, moved by --port-base")
def serve_(port: int | None) -> None:
    """Serve until stopped."""
    from realm.core.hosts import port_of
    from realm.core.logs import setup
    from realm.core.web import serve
    from realm.gate import Realm

    paths = open_home()
    setup(paths, "vault")
    serve(Realm(paths).vault_app(port or port_of("vault")))
