"""`realm up`: run the services of this host in the foreground, or start them in the background."""

from __future__ import annotations

import click

from realm.core.hosts import port_of
from realm.core.paths import Paths, open_home


@click.command("up")
@click.option("--until-idle", is_flag=True, help="end when no quest, eval or inbox file is left; nothing is generated")
@click.option("--detach", is_flag=True, help="start in the background and return when the Tavern answers")
def command(until_idle: bool, detach: bool) -> int:
    """Run all services of this host in the foreground until SIGTERM or Ctrl-C.

    One line is printed for each service that becomes ready. A second SIGTERM ends everything at once. Exit code 3 when
    a weaver already runs on this base directory.
    """
    paths = open_home()
    if until_idle and detach:
        raise click.UsageError("--until-idle and --detach exclude each other")
    return up_detached(paths) if detach else up_foreground(paths, until_idle=until_idle)


def say(text: str) -> None:
    """Print a line at once; a closed terminal is no reason to end, the log has the same lines."""
    try:
        click.echo(text)
    except OSError:
        return


def up_foreground(paths: Paths, *, until_idle: bool = False) -> int:
    from realm.core import logs
    from realm.weaver.weave import weave

    logs.setup(paths, "weaver")
    say(f"base directory {paths.home}")
    return weave(paths, say=say, until_idle=until_idle)


def up_detached(paths: Paths) -> int:
    from realm.weaver import handle
    from realm.weaver.tapestry import weaver_pid
    from realm.weaver.weave import local_services

    services = local_services(paths)
    holder = weaver_pid(paths)
    if holder is None:
        holder = handle.wait_for_lock(paths, handle.start_detached(paths))
        say(f"the weaver runs as process {holder} on {paths.home}, its output is in logs/weaver.out")
    else:
        say(f"the weaver already runs as process {holder} on {paths.home}")
    well = handle.wait_ready(paths, services, say)
    if well and any(service.name == "tavern" for service in services):
        say(f"the Tavern: http://127.0.0.1:{port_of('tavern')}/")
    return 0 if well else 1
