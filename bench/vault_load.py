"""The vault under load: pages and search among 100,000 assets, a scan of 10,000 unchanged files, memory, start.

Goals (`theirs`): a page < 20 ms (99th percentile) and a search < 100 ms over HTTP, the scan < 5 s, the service < 200 MB,
vault, Tavern, watchtower and oracle healthy within 15 s on a base directory with 1,000 checkpoints.
Run: .venv/bin/python bench/vault_load.py [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from realm.core import manifest
from realm.core.paths import Paths
from realm.core.store import open_facts, transaction
from realm.vault import ledger
from realm.vault.keeper.assets import AssetFile, make_manifest
from realm.vault.keeper.catalogue import Catalogue, Place
from realm.vault.keeper.discovery import VaultDiscovery

Row = dict[str, Any]
BASE = 13000
PORTS = {"vault": BASE + 767, "tavern": BASE + 888, "watchtower": BASE + 81, "oracle": BASE + 765}
BATCH = 5000


def row(work: str, ours: float, goal: float | None, unit: str, rounds: int) -> Row:
    """Return one row; `ratio` is above 1 when ours is better than the goal."""
    ratio = round(goal / ours, 2) if goal and ours else None
    return {"work": work, "peer": "goal" if goal else None, "ours": round(ours, 3), "theirs": goal, "ratio": ratio,
            "unit": unit, "rounds": rounds}  # fmt: skip


def enter_assets(paths: Paths, count: int) -> Iterator[Row]:
    """Put assets with a copy each into the catalogue: nine data files to one checkpoint, every tenth on a NAS too."""
    began = time.perf_counter()
    with closing(open_facts(paths.ensure())) as facts:
        catalogue = Catalogue(facts, quiet=True)
        for start in range(0, count, BATCH):
            with transaction(facts):
                for number in range(start, min(count, start + BATCH)):
                    enter(catalogue, number)
    yield row(f"enter_{count}_assets", time.perf_counter() - began, None, "s", 1)


def enter(catalogue: Catalogue, number: int) -> None:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    if number % 10:
        name = f"train_bin_level{number % 30}_{number}.jsonl"
        files, kind, path = [AssetFile(path=name, size=number, sha256=digest)], "data", f"data/{name}"
    else:
        name = f"checkpoint-{number}-20260101-0000"
        files = [AssetFile(path=f"file{part}", size=number, sha256=digest) for part in range(8)]
        kind, path = "checkpoint", f"models/current_model/{name}"
    made = make_manifest("data" if kind == "data" else "checkpoint", name, files)
    catalogue.put(made, created_at="2026-01-01T00:00:00.000Z", meta={"step": number, "skill": "bin"})
    catalogue.place(made.id, Place(zone="local", stronghold="archive", kind="nas", path=path))
    if number % 100 == 0:
        catalogue.place(made.id, Place(zone="cellar", stronghold="nas1", kind="nas", path=path))


@contextmanager
def served(paths: Paths, *places: str) -> Iterator[list[psutil.Process]]:
    """Run services on a base directory until the block ends."""
    environment = {**os.environ, "REALM_HOME": str(paths.home), "REALM_PORT_BASE": str(BASE)}
    started = [subprocess.Popen([sys.executable, "-m", "realm.cli", place, "serve"], env=environment) for place in places]
    try:
        for place in places:
            wait_healthy(PORTS[place])
        yield [psutil.Process(one.pid) for one in started]
    finally:
        for one in started:
            one.terminate()
        for one in started:
            one.wait(timeout=30)


def wait_healthy(port: int) -> None:
    for _ in range(1200):
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.05)
    raise SystemExit(f"port {port} did not become healthy")


def over_http(paths: Paths, count: int, rounds: int) -> Iterator[Row]:
    """Time pages, searches and single assets, each request on its own, and read the service's memory afterwards.

    `/health` says what a request costs by itself on this machine at this load; processor time is the service's.
    """
    works: list[tuple[str, float | None, Callable[[int], str]]] = [
        ("health", None, lambda n: "/health"),
        ("page_of_50", 20.0, lambda n: f"/api/checkpoints?limit=50&after={1 + n * 7919 % count}"),
        ("search_rare", 100.0, lambda n: f"/api/search?q={n * 7919 % count}&type=data"),
        ("search_every_row", 100.0, lambda n: f"/api/search?q=bin+level{n % 30}&after={1 + n * 7919 % count}"),
        ("locate", 20.0, lambda n: f"/api/locate/checkpoint_{n * 7919 % (count // 10) * 10}"),
        ("stats", None, lambda n: "/api/stats"),
    ]
    with served(paths, "vault") as (process,), httpx.Client(base_url=f"http://127.0.0.1:{PORTS['vault']}") as client:
        for name, goal, url in works:
            spent, cpu = [], sum(process.cpu_times()[:2])
            for number in range(rounds):
                begin = time.perf_counter()
                answer = client.get(url(number))
                spent.append((time.perf_counter() - begin) * 1e3)
                if answer.status_code != 200:
                    raise SystemExit(f"{url(number)}: {answer.text}")
            spent.sort()
            yield row(f"{name}_p50", spent[len(spent) // 2], None, "ms", rounds)
            yield row(f"{name}_p99", spent[int(len(spent) * 0.99)], goal, "ms", rounds)
            used = (sum(process.cpu_times()[:2]) - cpu) / rounds * 1e3
            yield row(f"{name}_processor_time", used, goal, "ms", rounds)
        yield row("memory_of_the_service", process.memory_info().rss / 1e6, 200.0, "MB", 1)


def scans(paths: Paths, count: int) -> Iterator[Row]:
    """Scan files for the first time, then unchanged."""
    paths.ensure()
    for number in range(count):
        (paths.data / f"train_{number}.jsonl").write_bytes(b'{"messages": []}\n')
    for name, goal in ((f"first_scan_of_{count}_files", None), (f"scan_of_{count}_unchanged_files", 5.0)):
        begin, cpu = time.perf_counter(), time.process_time()
        VaultDiscovery(paths).scan()
        yield row(name, time.perf_counter() - begin, goal, "s", 1)
        yield row(f"{name}_processor_time", time.process_time() - cpu, goal, "s", 1)


def make_checkpoint(paths: Paths, step: int) -> None:
    """Write a small whole checkpoint folder."""
    name = f"checkpoint-{step}-20260101-0000"
    folder = paths.current_model / name
    folder.mkdir()
    head = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / manifest.WEIGHTS).write_bytes(struct.pack("<Q", len(head)) + head + struct.pack("<f", step))
    for file in ("config.json", "tokenizer.json", "hero.json", "state.json", "optimizer.safetensors"):
        (folder / file).write_bytes(b"{}" * 4096)
    told = {
        "canonical_name": name, "step": step, "timestamp": "2026-01-01T00:00:00.000Z", "hero": "tiny", "train_loss": 1.0,
        "val_loss": None, "learning_rate": 0.001, "epoch": 0.0, "skill_name": None, "skill_level": None, "training_file": None,
        "parent": None, "generation": 1, "weights_sha256": "0" * 64, "template_hash": "", "tokens": 0, "trained_tokens": 0,
        "seconds": 0.0, "quests": [],
    }  # fmt: skip
    (folder / ledger.SIDECAR).write_text(json.dumps(told))
    manifest.write_manifest(folder, step, name)


def start(paths: Paths, count: int) -> Iterator[Row]:
    """Time from nothing to four healthy services on a base directory with many checkpoints."""
    paths.ensure()
    for step in range(1, count + 1):
        make_checkpoint(paths, step)
    with closing(open_facts(paths)) as facts:
        ledger.adopt(paths, facts)
    begin = time.perf_counter()
    with served(paths, *PORTS) as processes:
        spent = time.perf_counter() - begin
        cpu = sum(sum(one.cpu_times()[:2]) for one in processes)
        yield row(f"healthy_with_{count}_checkpoints", spent, 15.0, "s", 1)
        yield row(f"healthy_with_{count}_checkpoints_processor_time", cpu, None, "s", 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the load")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    part = 10 if asked.quick else 1
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        homes = [Paths(Path(folder) / name) for name in ("load", "scan", "start", "one")]
        works = (enter_assets(homes[0], 100_000 // part), over_http(homes[0], 100_000 // part, 1000 // part),
                 scans(homes[1], 10_000 // part), start(homes[2], 1000 // part), start(homes[3], 1))  # fmt: skip
        for work in works:
            for one in work:
                rows.append(one)
                print(f"{one['work']:50} {one['ours']:>12} {one['unit']:4} goal {one['theirs']}", flush=True)
    machine = f"{platform.machine()}, {psutil.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    versions = {"python": platform.python_version(), "httpx": httpx.__version__}
    if asked.json:
        asked.json.write_text(json.dumps({"machine": machine, "versions": versions, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
