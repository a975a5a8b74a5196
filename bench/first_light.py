"""Seconds from `realm up` to services answering, first optimiser step, and mastered BIN levels, everything running.

    .venv/bin/python bench/first_light.py [--quick] [--json FILE] [--rounds N]

`peer` is the goal of the project for a machine of two cores (installation excluded), `theirs` that number. `--quick`
ends at BIN level 1; otherwise the levels up to 6 are waited for, at most `--limit` seconds a round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from realm.core.hosts import PORTS, moved_port
from realm.core.version import version

GOALS = {"services up": 15.0, "first step": 20.0, "BIN 1": 60.0, "BIN 3": 300.0, "BIN 6": 480.0}
REALM = [sys.executable, "-m", "realm.cli"]


def free_base() -> int:
    """Return a port base at which no service port is taken."""
    for base in range(30000, 60000, 1000):
        try:
            for default in PORTS.values():
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", moved_port(default, base)))
        except OSError:
            continue
        return base
    raise SystemExit("no free ports")


def answers(base: int, service: str) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{moved_port(PORTS[service], base)}/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def scalar(home: Path, database: str, sql: str) -> Any:
    path = home / "store" / database
    if not path.exists():
        return None
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        try:
            return connection.execute(sql).fetchone()[0]
        except sqlite3.OperationalError:
            return None  # the table is being made


def one_round(seed: int, last_level: int, limit: float) -> dict[str, float | None]:
    """Return work -> seconds since `realm up`, None for what did not happen within the limit."""
    times: dict[str, float | None] = dict.fromkeys(["services up", "first step", *(f"BIN {n}" for n in range(1, last_level + 1))])
    base = free_base()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        env = {**os.environ, "REALM_HOME": folder, "REALM_PORT_BASE": str(base), "REALM_SEED": str(seed)}
        subprocess.run([*REALM, "hero", "create", "--preset", "tiny"], env=env, check=True, capture_output=True)
        started = time.monotonic()
        weaver = subprocess.Popen([*REALM, "up"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while None in times.values() and time.monotonic() - started < limit:
                time.sleep(0.2)
                now = round(time.monotonic() - started, 1)
                if times["services up"] is None and all(answers(base, s) for s in ("tavern", "vault", "inference", "skill_bin")):
                    times["services up"] = now
                if times["first step"] is None and scalar(home, "telemetry.db", "SELECT count(*) FROM steps"):
                    times["first step"] = now
                mastered = scalar(home, "realm.db", "SELECT coalesce(max(level), 0) FROM masteries WHERE skill = 'bin'") or 0
                for level in range(1, min(mastered, last_level) + 1):
                    if times[f"BIN {level}"] is None:
                        times[f"BIN {level}"] = now
                        print(f"  seed {seed}: BIN {level} after {now} s", flush=True)
        finally:
            weaver.send_signal(signal.SIGTERM)
            weaver.wait(40)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, up to BIN level 1")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds a round may take")
    options = parser.parse_args()
    rounds = 1 if options.quick else options.rounds
    results = [one_round(seed, 1 if options.quick else 6, options.limit) for seed in range(rounds)]
    rows = []
    for work in results[0]:
        known = [value for result in results if (value := result[work]) is not None]
        # A round that did not get there makes the median unknown, not smaller.
        ours = round(statistics.median(known), 1) if len(known) == rounds else None
        goal = GOALS.get(work)
        ratio = round(ours / goal, 2) if ours is not None and goal else None
        rows.append({"work": work, "peer": "goal" if goal else None, "ours": ours, "theirs": goal, "ratio": ratio, "unit": "s",
                     "rounds": rounds, "reached": len(known)})  # fmt: skip
        print(f"{work:12} {ours if ours is not None else '-':>8} s   goal {goal or '-'}   reached {len(known)} of {rounds}")
    versions = {"realm": version(), "python": platform.python_version()}
    result = {"machine": {"processor": platform.processor(), "cores": os.cpu_count()}, "versions": versions, "rows": rows}
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
