"""The Tavern on a real socket: the live stream, reconnection, the end of the server."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator

import httpx
import pytest
import realm_facts as write
from tavern_scene import MakeApp

from realm.core.clock import SYSTEM
from realm.core.web import serve_in_thread
from tests.free_ports import free_port


class Served:
    def __init__(self, make: MakeApp) -> None:
        self.port = free_port()
        app = make(port=self.port, clock=SYSTEM)
        self.app = app
        self.server, self.thread = serve_in_thread(app)
        app.state.server = self.server
        self.url = f"http://127.0.0.1:{self.port}"
        transport = httpx.HTTPTransport(retries=8)
        self.client = httpx.Client(base_url=self.url, transport=transport, timeout=10, trust_env=False)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def served(make: MakeApp) -> Iterator[Served]:
    found = Served(make)
    yield found
    found.stop()
    found.client.close()


def read_events(lines: Iterator[str], wanted: int) -> list[tuple[int, str]]:
    """Read (id, kind) of the next events of a stream."""
    found: list[tuple[int, str]] = []
    number = ""
    while len(found) < wanted:
        line = next(lines)
        if line.startswith("id: "):
            number = line[4:]
        elif line.startswith("data: ") and number:
            found.append((int(number), json.loads(line[6:])["kind"]))
            number = ""
    return found


def test_the_stream_resumes_at_the_last_id_without_loss_or_doubling(served: Served, db: sqlite3.Connection) -> None:
    write.happen(db, "queue.added")
    write.happen(db, "queue.claimed")
    with served.client.stream("GET", "/api/events?after=0") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        lines = stream.iter_lines()
        assert read_events(lines, 2) == [(1, "queue.added"), (2, "queue.claimed")]
        write.happen(db, "battle.started")
        assert read_events(lines, 1) == [(3, "battle.started")]
    write.happen(db, "battle.best_loss")
    # EventSource keeps the address it began with and sends the last id beside it: the id counts.
    with served.client.stream("GET", "/api/events?after=0", headers={"Last-Event-ID": "3"}) as stream:
        lines = stream.iter_lines()
        assert read_events(lines, 1) == [(4, "battle.best_loss")]
        write.happen(db, "queue.completed")
        assert read_events(lines, 1) == [(5, "queue.completed")]


def test_an_open_stream_does_not_hold_up_the_end_of_the_server(served: Served, db: sqlite3.Connection) -> None:
    write.happen(db, "queue.added")
    with served.client.stream("GET", "/api/events?after=0") as stream:
        lines = stream.iter_lines()
        assert read_events(lines, 1) == [(1, "queue.added")]
        started = SYSTEM.monotonic()
        served.stop()
        for _ in lines:
            pass
        # uvicorn cuts streams off after 2 s; ours ends by itself before that.
        assert SYSTEM.monotonic() - started < 1.8


def test_clients_that_left_are_counted_out(served: Served) -> None:
    with served.client.stream("GET", "/api/events") as stream:
        lines = stream.iter_lines()
        next(lines)
        assert served.client.get("/health").json()["listening_pages"] == 1
    for _ in range(50):
        if served.client.get("/health").json()["listening_pages"] == 0:
            return
    raise AssertionError("the client is still counted")
