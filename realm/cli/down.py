"""`realm down`: end the weaver of this base directory and everything it started."""

from __future__ import annotations

import click

from realm.core.paths import Paths, resolve_home


@click.command("down")
def command() -> None:
    """End the weaver of this base directory and everything it started, and nothing else.

    Waits until all of it is gone (at most about 30 seconds in good order). Exit code 0 also when nothing runs.
    """
    from realm.weaver.handle import bring_down

    paths = Paths(resolve_home()[0])
    ran = bring_down(paths, click.echo)
    click.echo("all services have ended" if ran else f"nothing runs on {paths.home}")
