"""The Tavern under load: snapshot, loss curve, requests beside a bare FastAPI route, live streams, memory.

The home holds 5,000 quests, 2,000 events, 500 checkpoints and their evals. Goals (`theirs` where no peer is named):
snapshot < 5 ms, curve of a million steps < 200 ms, half of the bare route's requests, p99 of the live lag < 500 ms,
less than half a core for the streams, memory < 120 MB.
Run: .venv/bin/python bench/status_api.py [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fastapi
import psutil
import uvicorn

from realm.core import events
from realm.core.paths import Paths
from realm.core.store import open_facts, open_telemetry, transaction
from realm.watchtower import SkillCard, Watchtower

CARDS = {skill: SkillCard(skill, skill.upper(), max_level=30) for skill in ("bin", "sy")}
AT = "2026-01-01T00:00:00.000Z"
Row = dict[str, Any]


def make_home(paths: Paths, steps: int) -> None:
    """Fill a base directory with the facts the goals name."""
    facts, telemetry = open_facts(paths.ensure()), open_telemetry(paths)
    with transaction(facts):
        facts.executemany(
            "INSERT INTO quests(id,name,file,sha256,size,state,priority,arrived_at,changed_at) VALUES (?,?,?,'0',1,?,?,?,?)",
            [(f"q{n}", f"q{n}", f"q{n}", ("queued", "completed", "failed")[n % 3], ("high", "low")[n % 2], AT, AT)
             for n in range(5000)],
        )  # fmt: skip
        for step in range(0, 50_000, 100):
            name, level = f"checkpoint-{step}-20260101-0000", 1 + step // 2500
            facts.execute(
                "INSERT INTO checkpoints(name,step,state,generation,weights_sha256,manifest_sha256,size,created_at,record)"
                " VALUES (?,?,'present',1,'a','b',10,?,?)", (name, step, AT, json.dumps({"train_loss": 1.0})),
            )  # fmt: skip
            facts.executemany(
                "INSERT INTO evals(id,checkpoint,step,skill,level,kind,state,n,correct,queued_at,finished_at,finished)"
                " VALUES (?,?,?,?,?,'gate','done',20,16,?,?,?)",
                [(f"{skill}{step}", name, step, skill, level, AT, AT, step) for skill in CARDS],
            )
        for number in range(2000):
            events.append(facts, "checkpoint.saved", subject=f"checkpoint-{number}", step=number, data={"loss": 1.0})
    with transaction(telemetry):
        telemetry.executemany(
            "INSERT INTO steps VALUES (?,?,?,0.001,1.0,10,20,0.1,'q')",
            ((step, AT, 1 + step % 97 / 97) for step in range(steps)),
        )
    facts.close()
    telemetry.close()


def measure(work: Callable[[], object], rounds: int) -> list[float]:
    """Return the seconds of each round."""
    found = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return found


def views(paths: Paths, steps: int, rounds: int) -> Iterator[Row]:
    """Time the snapshot after a commit, unchanged, and the loss curve cold and warm."""
    tower, facts = Watchtower(paths, CARDS), open_facts(paths)

    def commit_and_look() -> None:
        nonlocal spent
        with transaction(facts):
            events.append(facts, "queue.low")
        started = time.perf_counter()
        tower.snapshot_json()
        spent.append(time.perf_counter() - started)

    spent: list[float] = []
    tower.snapshot_json()
    measure(commit_and_look, rounds * 10)
    yield row("snapshot_after_commit", statistics.median(spent) * 1e3, 5.0, "ms", rounds * 10)
    yield row("snapshot_unchanged", statistics.median(measure(tower.snapshot_json, rounds * 100)) * 1e3, 5.0, "ms", rounds)
    cold = measure(lambda: tower.metrics(None, None, 600), 1)[0]
    warm = statistics.median(measure(lambda: tower.metrics(None, None, 600), rounds))
    yield row(f"curve_of_{steps}_steps_first", cold * 1e3, None, "ms", 1)
    yield row(f"curve_of_{steps}_steps", warm * 1e3, 200.0, "ms", rounds)
    tower.close()
    facts.close()


def row(work: str, ours: float, theirs: float | None, unit: str, rounds: int, peer: str = "goal") -> Row:
    """Return one row; `ratio` is above 1 when ours is the better one, whichever way the unit counts."""
    better = None if not theirs else (ours / theirs if unit == "req/s" else theirs / ours if ours else None)
    return {"work": work, "peer": peer if theirs else None, "ours": round(ours, 3), "theirs": theirs,
            "ratio": None if better is None else round(better, 2), "unit": unit, "rounds": rounds}  # fmt: skip


# --- over HTTP ---

BARE = """
import sys, uvicorn
from fastapi import FastAPI
from fastapi.responses import Response
app, body = FastAPI(), b"x" * int(sys.argv[2])
@app.get("/api/snapshot")
async def get_snapshot() -> Response:
    return Response(body, media_type="application/json")
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
"""
OURS = """
import sys
from pathlib import Path
from realm.core.paths import Paths
from realm.core.web import make_server
from realm.tavern.app import make_tavern
from realm.watchtower import SkillCard, Watchtower
paths = Paths(Path(sys.argv[2]))
cards = {skill: SkillCard(skill, skill.upper(), max_level=30) for skill in ("bin", "sy")}
app = make_tavern(paths, int(sys.argv[1]), watchtower=Watchtower(paths, cards))
app.state.server = make_server(app)
app.state.server.run()
"""


@contextmanager
def served(code: str, argument: str) -> Iterator[tuple[int, psutil.Process]]:
    """Run a server in a process of its own until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen([sys.executable, "-c", code, str(port), argument])
    try:
        for _ in range(200):
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(10)


async def requests(port: int, connections: int, seconds: float) -> tuple[float, float]:
    """Return requests per second and the 99th percentile in ms, over kept-open connections."""
    spent: list[float] = []
    asked = f"GET /api/snapshot HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    end = time.perf_counter() + seconds

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < end:
            started = time.perf_counter()
            writer.write(asked)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
            spent.append(time.perf_counter() - started)
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return len(spent) / seconds, sorted(spent)[int(len(spent) * 0.99)] * 1e3


async def streams(port: int, paths: Paths, clients: int, happenings: int) -> tuple[float, int]:
    """Open live streams, append events twice a second; return p99 of the lag in ms and how many never came."""
    facts, born, lags = open_facts(paths), dict[int, float](), list[float]()
    first = events.cursor(facts)

    async def listen(ready: asyncio.Semaphore) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /api/events?after={first} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        await reader.readuntil(b": open")
        ready.release()
        seen = 0
        while seen < happenings:
            line = await reader.readline()
            if line.startswith(b"id: "):
                lags.append(time.perf_counter() - born[int(line[4:])])
                seen += 1
        writer.close()

    ready = asyncio.Semaphore(0)
    tasks = [asyncio.create_task(listen(ready)) for _ in range(clients)]
    for _ in range(clients):
        await ready.acquire()
    for _ in range(happenings):
        with transaction(facts):
            born[events.append(facts, "queue.low")] = time.perf_counter()
        await asyncio.sleep(0.5)
    _, late = await asyncio.wait(tasks, timeout=10)
    for task in late:
        task.cancel()
    facts.close()
    return sorted(lags)[int(len(lags) * 0.99)] * 1e3, clients * happenings - len(lags)


def over_http(paths: Paths, quick: bool) -> Iterator[Row]:
    """Measure the served app: requests, streams, processor and memory."""
    seconds, clients, happenings = (2.0, 100, 6) if quick else (8.0, 450, 20)
    with served(OURS, str(paths.home)) as (port, process):
        rate, p99 = asyncio.run(requests(port, 50, seconds))
        size = len(Watchtower(paths, CARDS).snapshot_json())
        before, cpu, started = process.memory_info().rss, sum(process.cpu_times()[:2]), time.perf_counter()
        lag, lost = asyncio.run(streams(port, paths, clients, happenings))
        used = (sum(process.cpu_times()[:2]) - cpu) / (time.perf_counter() - started)
        after = process.memory_info().rss
    with served(BARE, str(size)) as (port, _):
        bare, _ = asyncio.run(requests(port, 50, seconds))
    yield row("status_requests", rate, round(bare, 1), "req/s", 1, "bare_fastapi")
    yield row("status_p99", p99, 50.0, "ms", 1)
    yield row(f"lag_p99_of_{clients}_streams", lag, 500.0, "ms", happenings)
    yield row(f"lost_events_of_{clients}_streams", lost, None, "events", happenings)
    yield row(f"processor_of_{clients}_streams", used, 0.5, "cores", 1)
    yield row("memory", before / 1e6, 120.0, "MB", 1)
    yield row(f"memory_with_{clients}_streams", after / 1e6, 120.0, "MB", 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    steps, rounds = (50_000, 3) if chosen.quick else (1_000_000, 10)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        paths = Paths(Path(folder) / "home")
        make_home(paths, steps)
        for found in (*views(paths, steps, rounds), *over_http(paths, chosen.quick)):
            rows.append(found)
            print(f"{found['work']:36} {found['ours']:>12,.3f} {found['unit']:6} goal or peer {found['theirs']}")
    machine = {"platform": platform.platform(), "cores": psutil.cpu_count(), "processor": platform.machine()}
    versions = {"python": platform.python_version(), "fastapi": fastapi.__version__, "uvicorn": uvicorn.__version__}
    if chosen.json:
        chosen.json.write_text(json.dumps({"machine": machine, "versions": versions, "rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
