"""`realm doctor`: exit code 0 only if folders, sidecars, databases and weights agree."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click

from realm.core.paths import open_home


@click.command(help="Check that folders, sidecars, databases and weights agree; exit code 1 when something does not.")
@click.option("--json", "as_json", is_flag=True)
@click.option("--rebuild", "anew", is_flag=True, help="make the store anew from journal, folders and sidecars, then check")
def command(as_json: bool, anew: bool) -> None:
    from realm.gate import Realm
    from realm.gate.rebuild import rebuild

    realm = Realm(open_home())
    rebuilt, told = rebuild(realm.paths) if anew else ({}, [])
    patrol = realm.sentinels.inspector.full_patrol()
    if as_json:
        found = [asdict(finding) for finding in patrol.findings]
        answer = {"all_clear": patrol.is_all_clear, "checks": patrol.checks, "findings": found, "rebuilt": rebuilt,
                  "mended": told}  # fmt: skip
        click.echo(json.dumps(answer, ensure_ascii=False, indent=1))
    else:
        if rebuilt:
            click.echo("made anew: " + ", ".join(f"{number} {name}" for name, number in rebuilt.items()))
        for line in told:
            click.echo(f"while rebuilding: {line}")
        for finding in patrol.findings:
            click.echo(f"{finding.check}: {finding.subject}: {finding.found}" + (f" ({finding.hint})" if finding.hint else ""))
        verdict = "all clear" if patrol.is_all_clear else f"{len(patrol.findings)} findings"
        click.echo(f"{len(patrol.checks)} checks: {verdict}")
    if not patrol.is_all_clear:
        sys.exit(1)
