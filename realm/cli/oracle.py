"""`realm oracle`: serve the loaded checkpoints, ask one of them."""

from __future__ import annotations

import json
from typing import Any

import click

from realm.core.errors import RealmError, Unavailable


@click.group(help="Serve checkpoints and ask them.")
def command() -> None:
    """Hold the verbs."""


@command.command()
@click.option("--preload", type=click.Choice(["latest", "none"]), help="what to load at start (REALM_ORACLE_PRELOAD)")
def serve(preload: str | None) -> None:
    """Serve generation and chat on the inference port until SIGTERM."""
    from dataclasses import replace

    from realm.core.daemon import single_instance
    from realm.core.logs import setup
    from realm.core.paths import open_home
    from realm.core.web import make_server
    from realm.oracle.server import build_app
    from realm.oracle.service import Oracle, Settings

    paths = open_home()
    setup(paths, "oracle")
    settings = Settings.from_environment()
    with single_instance(paths, "oracle"):
        oracle = Oracle(paths, replace(settings, preload=preload or settings.preload))
        server = make_server(build_app(paths, oracle))
        oracle.leave_when(lambda: server.should_exit)
        server.run()


@command.command()
@click.argument("text")
@click.option("--step", type=click.IntRange(min=0), required=True, help="which checkpoint; 0 is the base hero")
@click.option("--max-new-tokens", type=click.IntRange(1, 1024), default=256, show_default=True)
@click.option("--temperature", type=click.FloatRange(0, 5), default=0.0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="print the whole answer of the server")
def ask(text: str, step: int, max_new_tokens: int, temperature: float, as_json: bool) -> None:
    """Load a checkpoint in the running oracle and ask it TEXT."""
    _post("/models/load", {"step": step})
    body = {"message": text, "step": step, "max_new_tokens": max_new_tokens, "temperature": temperature}
    answer = _post("/chat", body)
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False, indent=1))
        return
    click.echo(_visible(str(answer["response"])))
    click.echo(f"  {answer['model']}, step {answer['step']}, weights {answer['weights_sha256'][:12]}", err=True)


def _post(path: str, body: dict[str, Any]) -> dict[str, Any]:
    import httpx

    from realm.core.hosts import get_service_url
    from realm.core.paths import open_home
    from realm.oracle.server import read_token

    url = get_service_url("inference") + path
    token = read_token(open_home())
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = httpx.post(url, json=body, headers=headers, timeout=300.0, follow_redirects=False, trust_env=False)
    except httpx.HTTPError as error:
        raise Unavailable(f"the oracle does not answer at {url}: {error}", hint="start it: realm oracle serve") from error
    found: dict[str, Any] = answer.json()
    if answer.status_code != 200:
        raise _as_error(found, answer.status_code)
    return found


def _as_error(body: dict[str, Any], status: int) -> RealmError:
    """Turn an error body back into the error it was, with the same exit code."""
    told = body.get("error", {})
    kind = next((one for one in RealmError.__subclasses__() if one.status == status), RealmError)
    return kind(str(told.get("message", f"HTTP {status}")), hint=str(told.get("hint", "")))


def _visible(text: str) -> str:
    """Show control characters of a model's text instead of sending them to the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
