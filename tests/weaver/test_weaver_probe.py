from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from realm.core import durable
from realm.weaver.ports import holder_of, is_free
from realm.weaver.probe import MAX_BODY, ask_health, judge_answer, read_sign
from realm.weaver.states import Answered, Silent


@contextmanager
def server(status: int, body: bytes) -> Iterator[int]:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    found = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield found.server_port
    finally:
        found.shutdown()
        thread.join()
        found.server_close()


def ask(port: int) -> Answered | Silent:
    with httpx.Client(trust_env=False) as client:
        return ask_health(client, "tavern", f"http://127.0.0.1:{port}/health", 2.0)


def test_a_health_answer_names_its_instance():
    with server(200, b'{"status": "ok", "instance": "abc", "pid": 12}') as port:
        found = ask(port)
    assert isinstance(found, Answered)
    assert (found.instance, found.pid, found.busy) == ("abc", 12, False)


def test_a_closed_port_is_silence():
    with server(200, b"{}") as port:
        pass
    assert isinstance(ask(port), Silent)


def test_an_endless_answer_is_cut():
    with server(200, b"x" * (MAX_BODY * 4)) as port:
        found = ask(port)
    assert isinstance(found, Silent)
    assert "too long" in found.why


def test_other_answers():
    assert judge_answer("t", 503, b"Service Unavailable", 1.0) == Answered("t", "", 1.0, busy=True)
    assert judge_answer("t", 404, b"{}", 1.0) == Silent("t", "/health answered 404")
    assert judge_answer("t", 200, b"<html>", 1.0) == Answered("t", "", 1.0)
    assert judge_answer("t", 200, b'["instance"]', 1.0) == Answered("t", "", 1.0)


def test_heartbeats(tmp_path):
    path = tmp_path / "arena.heartbeat"
    assert read_sign(path, "arena") == Silent("arena", "no heartbeat yet")
    durable.write_json_fast(path, {"pid": 5, "instance": "abc", "monotonic": 12.5, "progress": ""})
    assert read_sign(path, "arena") == Answered("arena", "abc", 12.5, 5)
    for damaged in ("{", json.dumps({"pid": 5}), json.dumps([1]), json.dumps({"pid": None, "instance": "", "monotonic": 1})):
        path.write_text(damaged)
        assert isinstance(read_sign(path, "arena"), Silent)


def test_the_holder_of_a_port_is_named():
    with server(200, b"{}") as port:
        assert not is_free(port)
        assert holder_of(port).startswith("process ")
    assert is_free(port)
    assert holder_of(port) == ""
