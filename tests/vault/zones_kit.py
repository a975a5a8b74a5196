"""Zones for tests: homes with real assets, officers on loopback in threads, and a wire that cuts, lies and drips."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from realm.core import manifest
from realm.core.paths import Paths
from realm.core.store import open_facts, read_facts
from realm.core.web import serve_in_thread
from realm.vault import ledger
from realm.vault.keeper.discovery import VaultDiscovery
from realm.vault.zones import zones_client
from realm.vault.zones.branch_officer import officer_app
from tests.free_ports import free_port


def name_at(step: int, when: str = "20260101-0000") -> str:
    return f"checkpoint-{step}-{when}"


def make_checkpoint(paths: Paths, step: int, size: int = 1000, *, parent: int | None = None, hero: str = "dio",
                    when: str = "20260101-0000", seed: int = 0) -> Path:  # fmt: skip
    """Write and register a checkpoint whose weights are `size` random bytes."""
    folder = paths.current_model / name_at(step, when)
    folder.mkdir(parents=True)
    (folder / manifest.WEIGHTS).write_bytes(random.Random(f"{step} {seed}").randbytes(size))
    (folder / "config.json").write_text("{}")
    weights = manifest.sha256_file(folder / manifest.WEIGHTS)
    told = {"canonical_name": folder.name, "step": step, "timestamp": "2026-01-01T00:00:00.000Z", "hero": hero,
            "train_loss": 1.0, "val_loss": None, "learning_rate": 0.1, "epoch": 1.0, "skill_name": None, "skill_level": None,
            "training_file": None, "parent": None if parent is None else name_at(parent), "generation": 1,
            "weights_sha256": weights, "template_hash": "x", "tokens": 1, "trained_tokens": 1, "seconds": 1.0,
            "quests": []}  # fmt: skip
    (folder / ledger.SIDECAR).write_text(json.dumps(told))
    manifest.write_manifest(folder, step, folder.name)
    with closing(open_facts(paths)) as facts:
        ledger.adopt(paths, facts)
    VaultDiscovery(paths).scan()
    return folder


def make_home(folder: Path, zone: str, **zones: int) -> Paths:
    """Return a home that is a zone and knows others by their ports."""
    paths = Paths(folder).ensure()
    told = {"zone": zone, "zones": {name: {"host": "127.0.0.1", "port": port} for name, port in zones.items()}}
    paths.hosts.write_text(json.dumps(told))
    return paths


@contextmanager
def officer(paths: Paths, port: int) -> Iterator[Any]:
    """Serve a branch officer until the block ends."""
    app = officer_app(paths, port)
    server, thread = serve_in_thread(app)
    try:
        until(lambda: server.started)
        yield app
    finally:
        server.should_exit = True
        thread.join(10)


def until(true: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait until something is true and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.01)
    raise AssertionError("it did not become true in time")


def forget_outages() -> None:
    zones_client._breakers.clear()


def listed(paths: Paths) -> set[str]:
    """Return the ids of assets whose copy here is called present."""
    with closing(read_facts(paths)) as facts:
        rows = facts.execute("SELECT asset_id FROM locations WHERE kind = 'local' AND state = 'present'")
        return {row["asset_id"] for row in rows}


def files_below(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


class Wire:
    """A TCP relay in front of an officer; `spoil(connection number, bytes so far, block)` returns a block, or None to cut."""

    def __init__(self, target: int, spoil: Callable[[int, int, bytes], bytes | None]) -> None:
        self.port, self._target, self._spoil = free_port(), target, spoil
        self.cuts, self.relayed, self._count = 0, 0, 0
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._count += 1
                threading.Thread(target=self._relay, args=(near, self._count), daemon=True).start()

    def _relay(self, near: socket.socket, number: int) -> None:
        with near, suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as far:
            # The guard answers to its own name only.
            threading.Thread(target=self._upstream, args=(near, far), daemon=True).start()
            so_far = 0
            while block := far.recv(65536):
                sent = self._spoil(number, so_far, block)
                if sent is None:
                    self.cuts += 1
                    near.shutdown(socket.SHUT_RDWR)
                    far.shutdown(socket.SHUT_RDWR)
                    return
                near.sendall(sent)
                so_far += len(block)
                self.relayed += len(sent)

    def _upstream(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while block := near.recv(65536):
                far.sendall(block.replace(f":{self.port}".encode(), f":{self._target}".encode()))
        with suppress(OSError):
            far.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._listener.close()
