"""Moving an asset: pulled over loopback from a branch officer, and copied to a folder stronghold, beside a plain copy.

Ours hashes every byte on both sides, keeps a journal and ends with fsync and rename. Peers, in turns with ours: `copy` is
`shutil.copyfile` and fsync; `copy_hashed` adds one SHA-256 of the source and one of the copy. Rates in MB/s of the asset;
`cpu` rows are processor seconds a GB of giver and receiver together. Goals: 200 MB/s, or half of the plain copy.
Run: .venv/bin/python bench/transfer.py [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psutil

from realm.core.paths import Paths
from realm.core.store import open_facts
from realm.vault.keeper.asset_files import check_asset
from realm.vault.keeper.discovery import VaultDiscovery
from realm.vault.zones.elsewhere import move_now
from realm.vault.zones.registry import move_asset
from realm.vault.zones.strongholds import StorageRegistry
from realm.vault.zones.transfer_landing import RESERVE

Row = dict[str, Any]


def make_asset(paths: Paths, size: int) -> str:
    """Put a backup of one large and some small files into a home and return its id."""
    folder = paths.backups / "bench"
    folder.mkdir(parents=True)
    block = os.urandom(8 * 1024**2)
    with (folder / "weights.bin").open("wb") as handle:
        for number in range(size // len(block)):
            handle.write(number.to_bytes(8, "big") + block[8:])
    for number in range(8):
        (folder / f"small{number}.json").write_bytes(os.urandom(2000))
    return VaultDiscovery(paths).scan().registered[0]


def zone_home(folder: Path, name: str, other: str, port: int) -> Paths:
    paths = Paths(folder).ensure()
    paths.hosts.write_text(json.dumps({"zone": name, "zones": {other: {"host": "127.0.0.1", "port": port}}}))
    return paths


def officer(home: Path, port: int) -> psutil.Popen:
    """Start a branch officer in a process of its own and wait until it answers."""
    argv = [sys.executable, "-m", "realm.cli", "vault", "branch", "--home", str(home), "--port", str(port)]
    process = psutil.Popen(argv, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    for _ in range(300):
        try:
            httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).raise_for_status()
            return process
        except httpx.HTTPError:
            time.sleep(0.1)
    raise RuntimeError("the officer does not answer")


def forget(paths: Paths, asset: str) -> None:
    """Make a home as if it never had the asset."""
    shutil.rmtree(paths.backups, ignore_errors=True)
    with closing(open_facts(paths)) as facts:
        for table in ("locations", "scanned_files"):
            facts.execute(f"DELETE FROM {table} WHERE asset_id = ?", (asset,))


def copy(source: Path, target: Path, *, hashed: bool) -> None:
    """Copy a folder durably, and with `hashed` compare digests of both."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in source.iterdir():
        shutil.copyfile(file, target / file.name)
        with (target / file.name).open("rb") as handle:
            os.fsync(handle.fileno())
        if hashed:
            digests = [hashlib.file_digest(path.open("rb"), "sha256").digest() for path in (file, target / file.name)]
            assert digests[0] == digests[1]


def timed(work: Callable[[], object], processes: list[psutil.Process]) -> tuple[float, float]:
    """Return wall seconds and processor seconds of this and other processes."""
    def spent() -> float:
        return sum(sum(one.cpu_times()[:2]) for one in processes)

    os.sync()
    before, begun = spent(), time.perf_counter()
    work()
    return time.perf_counter() - begun, spent() - before


def measure(root: Path, size: int, rounds: int) -> list[Row]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    far, near = zone_home(root / "far", "far", "near", 1), zone_home(root / "near", "near", "far", port)
    asset = make_asset(far, size)
    source, plain = far.backups / "bench", root / "plain"
    StorageRegistry(far).register_stronghold("shelf", "local", path=root / "shelf")
    served, own = officer(far.home, port), psutil.Process()
    works: dict[str, Callable[[], object]] = {
        "pull_loopback": lambda: move_asset(asset, "far", "pull", near),
        "copy": lambda: copy(source, plain, hashed=False),
        "copy_hashed": lambda: copy(source, plain, hashed=True),
        "push_folder": lambda: move_now(far, asset, "shelf", "push", lambda progress: None),
    }
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    try:
        for _ in range(rounds):
            for name, work in works.items():
                forget(near, asset)
                shutil.rmtree(root / "shelf" / "realm", ignore_errors=True)
                spent[name].append(timed(work, [own, served]))
        moved = move_asset(asset, "far", "pull", near)
        with closing(open_facts(near)) as facts:
            from realm.vault.keeper.catalogue import Catalogue

            check_asset(near.home, Catalogue(facts).manifest(asset), "backups/bench")
        assert moved.success
    finally:
        served.terminate()
        served.wait(20)
    total = sum(file.stat().st_size for file in source.iterdir())
    return rows_of({name: [total / 1e6 / wall for wall, _ in found] for name, found in spent.items()},
                   {name: statistics.median(cpu / (total / 1e9) for _, cpu in found) for name, found in spent.items()}, rounds)


def rows_of(rates: dict[str, list[float]], cpu: dict[str, float], rounds: int) -> list[Row]:
    found = []
    for work in ("pull_loopback", "push_folder"):
        for peer in ("copy", "copy_hashed"):
            ratio = statistics.median(a / b for a, b in zip(rates[work], rates[peer], strict=True))
            found.append({"work": work, "peer": peer, "ours": round(statistics.median(rates[work]), 1),
                          "theirs": round(statistics.median(rates[peer]), 1), "ratio": round(ratio, 2), "unit": "MB/s",
                          "rounds": rounds})  # fmt: skip
        found.append({"work": work, "peer": "goal", "ours": round(statistics.median(rates[work]), 1), "theirs": 200.0,
                      "ratio": round(statistics.median(rates[work]) / 200, 2), "unit": "MB/s", "rounds": rounds})  # fmt: skip
        found.append({"work": f"{work}_cpu", "peer": "copy_hashed", "ours": round(cpu[work], 2),
                      "theirs": round(cpu["copy_hashed"], 2), "ratio": round(cpu["copy_hashed"] / cpu[work], 2),
                      "unit": "s/GB", "rounds": rounds})  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    size, rounds = (128 * 1024**2, 3) if arguments.quick else (1024**3, 5)
    with tempfile.TemporaryDirectory(prefix="realm-transfer-") as folder:
        free = shutil.disk_usage(folder).free
        if free < 5 * size + RESERVE:
            sys.exit(f"error: {free / 1e9:.1f} GB are free in {folder}, {5 * size / 1e9:.1f} GB are needed")
        found = measure(Path(folder), size, rounds)
    machine = {"platform": platform.platform(), "cores": os.cpu_count(), "processor": platform.processor(),
               "load": os.getloadavg()[0]}  # fmt: skip
    told = {"machine": machine, "versions": {"python": platform.python_version(), "httpx": httpx.__version__}, "rows": found}
    for row in found:
        print(f"{row['work']:<20} {row['ours']:>8} {row['unit']:<5} {row['peer']:<12} {row['theirs']:>8}  x{row['ratio']}")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
