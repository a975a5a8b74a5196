"""`realm weaver`: the tapestry, mending, the daemon."""

from __future__ import annotations

import json

import click

from realm.cli.up import say, up_foreground
from realm.core.paths import Paths, open_home, resolve_home


@click.group("weaver", invoke_without_command=True)
@click.option("--status", is_flag=True, help="print the tapestry; changes nothing")
@click.option("--json", "as_json", is_flag=True, help="with --status: print JSON")
@click.option("--daemon", is_flag=True, help="supervise in the foreground until SIGTERM (the same as `realm up`)")
@click.option("--dry-run", is_flag=True, help="print what would be done; changes nothing")
@click.option("--health", is_flag=True, help="ask every service now; exit code 1 when one does not answer")
@click.pass_context
def command(
    context: click.Context, status: bool, as_json: bool, daemon: bool, dry_run: bool, health: bool
) -> int:
    """Watch the services of this host and mend what broke.

    Without a flag it checks and mends once: a running weaver is asked to start fallen and waiting services again now;
    when none runs, one is started in the background, because a service never runs without a weaver above it.
    """
    if context.invoked_subcommand is not None:
        return 0
    if status + daemon + dry_run + health > 1:
        raise click.UsageError("--status, --daemon, --dry-run and --health exclude each other")
    if health:
        return ask_all(Paths(resolve_home()[0]))
    if status:
        return show_status(Paths(resolve_home()[0]), as_json=as_json)
    if dry_run:
        return show_plan(Paths(resolve_home()[0]))
    return up_foreground(open_home()) if daemon else mend_once(open_home())


@command.command("dataflow")
def dataflow() -> None:
    """Keep the quest board filled (started by the weaver)."""
    from realm.gate import Realm
    from realm.weaver.dataflow import main

    paths = open_home()
    main(paths, Realm(paths).hero_diet())


def show_status(paths: Paths, *, as_json: bool) -> int:
    from realm.weaver.tapestry import read_tapestry, render, weaver_pid
    from realm.weaver.weave import local_services

    strands, holder = read_tapestry(paths, local_services(paths)), weaver_pid(paths)
    if as_json:
        shown = {"home": str(paths.home), "weaver": holder, "services": [strand.as_json() for strand in strands]}
        click.echo(json.dumps(shown, indent=1))
        return 0
    click.echo(f"weaver: {f'process {holder}' if holder else 'does not run'} on {paths.home}")
    click.echo(render(strands))
    return 0


def ask_all(paths: Paths) -> int:
    from realm.weaver.health import examine
    from realm.weaver.weave import local_services

    findings = examine(paths, local_services(paths))
    width = max(len(finding.service) for finding in findings)
    for finding in findings:
        click.echo(f"{finding.service.ljust(width)}  {'ok  ' if finding.well else 'FAIL'}  {finding.text}")
    return 0 if all(finding.well for finding in findings) else 1


def show_plan(paths: Paths) -> int:
    from realm.weaver.dry_run import intentions
    from realm.weaver.weave import local_services

    for line in intentions(paths, local_services(paths)):
        click.echo(line)
    return 0


def mend_once(paths: Paths) -> int:
    from realm.weaver import handle
    from realm.weaver.tapestry import read_tapestry, render, weaver_pid
    from realm.weaver.weave import local_services

    services = local_services(paths)
    holder = weaver_pid(paths)
    if holder is None:
        say("no weaver runs here: starting one in the background")
        holder = handle.wait_for_lock(paths, handle.start_detached(paths))
        well = handle.wait_ready(paths, services, say)
    else:
        broken = [strand.service for strand in read_tapestry(paths, services) if strand.state in ("fallen", "backoff")]
        say(f"weaver: process {holder}; to mend: {', '.join(broken) or 'nothing'}")
        well = True
        if broken:
            handle.ask_to_mend(paths)
            well = handle.wait_ready(paths, services, say)
    click.echo(render(read_tapestry(paths, services)))
    return 0 if well else 1
