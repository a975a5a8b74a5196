"""The demo: a recording replayed into a temporary home, with the Tavern in front of it and every change refused."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.middleware import Middleware

from realm.core import durable
from realm.core.errors import RealmError, Refused, error_body
from realm.core.guard import SAFE_METHODS
from realm.core.logs import get_logger
from realm.core.paths import Paths
from realm.core.shipped import shipped_dir
from realm.tavern.recording import read_recording
from realm.tavern.replay import replay_into

log = get_logger("demo")

SHIPPED = "first_hour.realm.gz"
# Looking changes nothing that is recorded: what the page has seen may be noted in the demo's own home.
_ALLOWED = frozenset({"/api/ack"})
_REFUSAL = Refused("this is a demo: a recording is replayed, nothing in it can be changed", hint="start a realm with `realm up`")


def shipped_recording() -> Path:
    """Return the recording that comes with the realm."""
    return shipped_dir("configs/demo") / SHIPPED


class ReadOnly:
    """ASGI wrapper that refuses every request that would change something."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS and scope["path"] not in _ALLOWED:
            await JSONResponse(error_body(_REFUSAL), status_code=_REFUSAL.status)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def refuse_changes(app: FastAPI) -> None:
    """Make an app read-only; the guard stays in front."""
    app.user_middleware.append(Middleware(ReadOnly))


@contextmanager
def demo_home() -> Iterator[Paths]:
    """Yield an empty home below the machine's temporary folder, which is removed afterwards.

    Its registry names the Tavern alone: a demo never asks a service of a realm that lives on the same machine.
    """
    folder = Path(tempfile.mkdtemp(prefix="realm-demo-"))
    try:
        paths = Paths(folder / "demo").ensure()
        only = {"hosts": {"local": {"name": "Demo", "services": {"tavern": {"port": 8888}}}}}
        durable.write_json(paths.hosts, only)
        yield paths
    finally:
        shutil.rmtree(folder)


@contextmanager
def replaying(paths: Paths, recording: Path, speed: float) -> Iterator[None]:
    """Replay a recording from a thread while the block runs; raises BadInput for a recording that cannot be replayed."""
    header, frames = read_recording(recording)
    stop = threading.Event()
    thread = threading.Thread(target=_replay, args=(paths, header, frames, speed, stop.wait), name="replay")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _replay(paths: Paths, header: Any, frames: Any, speed: float, wait: Callable[[float], bool]) -> None:
    try:
        replay_into(paths, header, frames, speed, wait)
    except (RealmError, OSError, sqlite3.Error, ValueError):
        # A recording that is damaged further on: the page goes on showing what came so far, the log says why nothing follows.
        log.exception("the replay ended early")
