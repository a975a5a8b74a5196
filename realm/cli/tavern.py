"""`realm tavern serve`: the game on 127.0.0.1."""

from __future__ import annotations

import click


@click.group(help="The game: pages, live feed and their API.")
def command() -> None:
    """Group of the Tavern's commands."""


@command.command("serve", help="Serve the Tavern until SIGTERM or Ctrl-C.")
def serve_tavern() -> None:
    """Open the home, build the app through the gate and serve it."""
    from realm.core import logs
    from realm.core.hosts import port_of
    from realm.core.paths import open_home
    from realm.core.web import serve
    from realm.gate import Realm

    paths = open_home()
    logs.setup(paths, "tavern")
    port = port_of("tavern")
    app = Realm(paths).tavern_app(port)
    click.echo(f"The Tavern is open: http://127.0.0.1:{port}/")
    serve(app)
