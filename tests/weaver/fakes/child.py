"""A tiny service for tests: `child.py beat NAME`, `child.py stubborn NAME` (ignores SIGTERM), `child.py web PORT`."""

import http.server
import json
import os
import signal
import sys
import time
from pathlib import Path

INSTANCE = os.environ["REALM_INSTANCE"]


def beat(name: str) -> None:
    path = Path(os.environ["REALM_HOME"], "run", f"{name}.heartbeat")
    while True:
        part = path.with_suffix(".new")
        facts = {"pid": os.getpid(), "instance": INSTANCE, "monotonic": time.monotonic(), "at": "", "progress": ""}
        part.write_text(json.dumps(facts))
        part.replace(path)
        time.sleep(0.2)


def web(port: int) -> None:
    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"instance": INSTANCE, "pid": os.getpid()}).encode())

        def log_message(self, *_: object) -> None: ...

    http.server.HTTPServer(("127.0.0.1", port), Health).serve_forever()


if __name__ == "__main__":
    kind, argument = sys.argv[1:3]
    if kind == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    web(int(argument)) if kind == "web" else beat(argument)
