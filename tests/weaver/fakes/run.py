"""A weaver with a table of tiny services: `run.py HOME KIND:NAME[:PORT] ...`."""

import dataclasses
import sys
from pathlib import Path

from realm.core import logs
from realm.core.errors import RealmError
from realm.core.paths import open_home
from realm.weaver.services import HEALTH, HEARTBEAT, Service
from realm.weaver.weave import weave

CHILD = str(Path(__file__).with_name("child.py"))
QUICK = {"stop_limit_s": 1.0, "answer_s": 1.0, "ask_running_s": 0.5}


def service(order: int, text: str) -> Service:
    kind, name, *port = text.split(":")
    argv = (sys.executable, "-S", CHILD, kind, port[0] if port else name)
    rules = dataclasses.replace(HEALTH if port else HEARTBEAT, **QUICK)
    return Service(name, argv, int(port[0]) if port else None, "health" if port else "heartbeat", rules, order)


if __name__ == "__main__":
    paths = open_home(sys.argv[1])
    logs.setup(paths, "weaver")
    try:
        services = [service(order, text) for order, text in enumerate(sys.argv[2:])]
        sys.exit(weave(paths, say=lambda text: print(text, flush=True), services=services))
    except RealmError as error:
        sys.exit(print(f"error: {error}") or error.exit_code)
