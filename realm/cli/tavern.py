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


@command.command("record", help="Record what a running realm shows into FILE, for `realm tavern demo`.")
@click.argument("file", type=click.Path(dir_okay=False, writable=True))
@click.option("--seconds", type=click.FloatRange(min=1), default=600.0, show_default=True, help="how long; Ctrl-C ends it")
def record_realm(file: str, seconds: float) -> None:
    """Look at the stores and status files once a second and write what changed; no weights, no training rows."""
    from pathlib import Path

    from realm.core.daemon import StopFlag
    from realm.core.paths import open_home
    from realm.tavern.recorder import record
    from realm.tavern.recording import write_recording

    stop = StopFlag().install()
    header, frames = record(open_home(), seconds, stop.wait)
    write_recording(Path(file), header, frames)
    size = Path(file).stat().st_size
    click.echo(f"{len(frames)} moments of {frames[-1].t:.0f} s recorded in {file}, {size / 1000:.0f} kB")


@command.command("demo", help="Serve the Tavern over a replayed recording: nothing trains, every page says DEMO.")
@click.argument("file", type=click.Path(dir_okay=False, exists=True), required=False)
@click.option("--speed", type=click.FloatRange(0.1, 1000), default=4.0, show_default=True, help="how much faster than recorded")
def serve_demo(file: str | None, speed: float) -> None:
    """Replay a recording (the shipped one without FILE) into a temporary home and serve it until SIGTERM or Ctrl-C."""
    from pathlib import Path

    from realm.core import logs
    from realm.core.daemon import StopFlag
    from realm.core.hosts import port_of
    from realm.core.web import serve
    from realm.gate import Realm
    from realm.tavern.demo import demo_home, refuse_changes, replaying, shipped_recording

    port = port_of("tavern")
    # The server hands a signal on once it has ended: taken here, it leaves time to clear the temporary home away.
    StopFlag().install()
    with demo_home() as paths:
        logs.setup(paths, "tavern")
        with replaying(paths, Path(file) if file else shipped_recording(), speed):
            app = Realm(paths).tavern_app(port)
            refuse_changes(app)
            click.echo(f"The Tavern shows a recording, at {speed:g} times its speed: http://127.0.0.1:{port}/")
            serve(app)
