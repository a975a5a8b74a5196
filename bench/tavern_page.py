"""The Tavern's page in Chromium: first load, CPU of all its processes, heap and elements after many events, streams, vault.

Each row says whether its limit holds. The pages show the shipped recording (`realm tavern demo`), so nothing trains beside
them. CPU is processor time of all Chromium processes as a share of one core, with software rendering; on a loaded machine
it is still comparable, times are not.
Run: .venv/bin/python bench/tavern_page.py [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from playwright.sync_api import Browser, Page, Response, sync_playwright

import realm.tavern
from realm.core import durable, events
from realm.core.clock import SYSTEM, stamp
from realm.core.paths import Paths
from realm.core.store import open_facts, transaction

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync",
             "--disable-component-update", "--enable-precise-memory-info"]  # fmt: skip
TABS, EVENTS, CHECKPOINTS = 8, 10_000, 5_000
LCP = "() => new Promise(done => new PerformanceObserver(list => done(list.getEntries().at(-1).startTime))" \
      ".observe({type: 'largest-contentful-paint', buffered: true}))"  # fmt: skip
Row = dict[str, Any]


def row(work: str, ours: float, limit: float | None, unit: str) -> Row:
    """Return one row; `theirs` is the limit, `ratio` above 1 means ours stays below it."""
    ratio = None if limit is None or ours <= 0 else round(limit / ours, 2)
    return {"work": work, "peer": None if limit is None else "limit", "ours": round(ours, 2), "theirs": limit, "ratio": ratio,
            "unit": unit}  # fmt: skip


def holds(found: Row) -> bool:
    """Return whether a row stays within its limit."""
    return found["theirs"] is None or bool(found["ours"] <= found["theirs"])


@contextmanager
def demo(speed: float) -> Iterator[tuple[str, Paths]]:
    """Serve the shipped recording on a free port; yields the address and the home it replays into."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        env = {**os.environ, "TMPDIR": folder, "REALM_PORT_BASE": str(port - 888)}
        command = [sys.executable, "-m", "realm.cli", "tavern", "demo", "--speed", str(speed)]
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
        url = f"http://127.0.0.1:{port}"
        try:
            wait_for(url)
            store = next(Path(folder).rglob("store/realm.db"))
            yield url, Paths(store.parents[1])
        finally:
            process.terminate()
            process.wait(30)


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/api/snapshot", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise SystemExit("the demo did not answer within 60 s")


def spent() -> float:
    """Return the processor seconds of all Chromium processes below this one."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            if "chrom" in process.name():
                times = process.cpu_times()
                total += times.user + times.system
        except psutil.Error:
            continue
    return total


def cpu(seconds: float) -> float:
    """Return the share of one core that Chromium uses, in percent."""
    before, began = spent(), time.monotonic()
    time.sleep(seconds)
    return 100 * (spent() - before) / (time.monotonic() - began)


def open_page(browser: Browser, url: str, effects: str) -> Page:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="no-preference")
    context.add_init_script(f"localStorage.setItem('realm.effects', '{effects}')")
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("[data-stat='hero.xp']")
    return page


def first_load(browser: Browser, url: str) -> Iterator[Row]:
    """Load / with an empty cache: bytes as a gzipping server would send them, and the largest paint.

    The script of the shared worker is fetched by the worker, not by the page, so its size is added from its file.
    """
    bodies: list[tuple[str, int]] = []

    def took(response: Response) -> None:
        if response.ok and "/api/" not in response.url:
            body = response.body()
            packed = len(body) if response.url.endswith(".woff2") else len(gzip.compress(body))
            bodies.append((response.url, packed))

    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.on("response", took)
    page.goto(url)
    page.wait_for_selector("[data-stat='hero.xp']")
    page.wait_for_timeout(2_000)
    worker = next((Path(realm.tavern.__file__).parent / "static" / "assets").glob("feed.worker-*.js"))
    bodies.append((worker.name, len(gzip.compress(worker.read_bytes()))))
    yield row("first load, JS", sum(size for name, size in bodies if name.endswith(".js")), 80_000, "bytes gz")
    yield row("first load, all", sum(size for _, size in bodies), 300_000, "bytes gz")
    yield row("largest contentful paint", page.evaluate(LCP), 1_500, "ms")
    page.context.close()


def processor(browser: Browser, url: str, seconds: float) -> Iterator[Row]:
    """Measure a battle with full and calm effects, hidden, and the processes themselves."""
    blank = browser.new_context().new_page()
    blank.wait_for_timeout(4_000)
    yield row("CPU, empty page", cpu(seconds), None, "% of a core")
    for effects, limit in (("full", 15.0), ("calm", 6.0)):
        page = open_page(browser, url, effects)
        page.wait_for_timeout(4_000)
        yield row(f"CPU, battle, effects {effects}", cpu(seconds), limit, "% of a core")
        if effects == "full":
            cover = page.context.new_page()
            cover.bring_to_front()
            page.evaluate("() => { Object.defineProperty(document, 'hidden', {get: () => true});"
                          " document.dispatchEvent(new Event('visibilitychange')) }")  # fmt: skip
            page.wait_for_timeout(6_500)  # five seconds of no page in view make the stream a quiet one
            yield row("CPU, battle, hidden", cpu(seconds), 2.0, "% of a core")
        page.context.close()
    blank.context.close()


@contextmanager
def beating(paths: Paths) -> Iterator[None]:
    """Keep the arena's heartbeat young, as a living arena that has nothing to do."""
    path, stop = paths.run / "arena.heartbeat", threading.Event()
    told = json.loads(path.read_text())

    def beat() -> None:
        while not stop.wait(1.0):
            durable.write_json_fast(path, told | {"monotonic": SYSTEM.monotonic(), "at": stamp(SYSTEM.now())})

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def idle(browser: Browser, seconds: float) -> Iterator[Row]:
    """Measure a visible page after the recording ended: the arena lives, nothing trains, no event comes."""
    with demo(1000.0) as (url, paths):
        while "recording ends" not in (httpx.get(f"{url}/api/snapshot", timeout=30).json()["battle"]["state_reason"] or ""):
            time.sleep(0.5)
        with beating(paths):
            page = open_page(browser, url, "full")
            page.wait_for_timeout(6_000)
            yield row("CPU, nothing trains, effects full", cpu(seconds), 4.0, "% of a core")
            page.context.close()


def vault(browser: Browser, url: str, paths: Paths, count: int) -> Iterator[Row]:
    """Open the vault of a home with many checkpoints: when its first rows stand, and how many elements there are."""
    told = json.dumps({"canonical_name": "", "step": 0, "timestamp": "2026-01-01T00:00:00.000Z", "hero": "tiny",
                       "train_loss": 1.0, "val_loss": None, "learning_rate": 0.001, "epoch": 0.0, "skill_name": None,
                       "skill_level": None, "training_file": None, "parent": None, "generation": 1, "weights_sha256": "0" * 64,
                       "template_hash": "", "tokens": 0, "trained_tokens": 0, "seconds": 0.0, "quests": []})  # fmt: skip
    rows = [(f"checkpoint-{step}-20260101-0000", step, "present", 0, None, 1, "0" * 64, "0" * 64, 1000,
             "2026-01-01T00:00:00.000Z", told) for step in range(10_000_000, 10_000_000 + count)]  # fmt: skip
    with closing(open_facts(paths)) as facts, transaction(facts):
        facts.executemany(f"INSERT INTO checkpoints VALUES ({', '.join('?' * 11)})", rows)
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.goto(f"{url}/vault")
    first = page.wait_for_function("() => document.querySelector('[data-checkpoint]') && performance.now()").json_value()
    yield row(f"vault of {count} checkpoints, first rows", float(first), 1_000, "ms")
    yield row("vault, elements", page.evaluate("document.querySelectorAll('*').length"), 2_500, "elements")
    page.context.close()


def memory(browser: Browser, url: str, paths: Paths, count: int) -> Iterator[Row]:
    """Send many events to an open page; measure the heap's growth and the elements."""
    page = open_page(browser, url, "full")
    session = page.context.new_cdp_session(page)

    def heap() -> float:
        session.send("HeapProfiler.collectGarbage")
        return float(page.evaluate("performance.memory.usedJSHeapSize")) / 1e6

    page.wait_for_timeout(2_000)
    before = heap()
    facts = open_facts(paths)
    for start in range(0, count, 250):
        with transaction(facts):
            for number in range(start, start + 250):
                events.append(facts, "battle.best_loss", subject="bench", step=number, data={"loss": 1.0, "previous": 1.1})
        time.sleep(0.3)
    last = events.append(facts, "queue.low", subject="last")
    facts.close()
    page.wait_for_selector(f"#event-{last}", timeout=60_000)
    page.wait_for_timeout(2_000)
    shown = page.locator("[data-kind]").count()
    yield row(f"log lines after {count} events", shown, 50, "lines")
    yield row(f"heap growth after {count} events", heap() - before, 5.0, "MB")
    yield row(f"elements after {count} events", page.evaluate("document.querySelectorAll('*').length"), 2_500, "elements")
    page.context.close()


def streams(browser: Browser, url: str) -> Iterator[Row]:
    """Open several tabs of one browser and ask the server how many streams it feeds."""
    context = browser.new_context()
    for _ in range(TABS):
        tab = context.new_page()
        tab.goto(url)
        tab.wait_for_selector("[data-stat='hero.xp']")
    yield row(f"streams of {TABS} tabs", httpx.get(f"{url}/health", timeout=10).json()["listening_pages"], 1, "streams")
    context.close()


def measure(quick: bool) -> Iterator[Row]:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        raise SystemExit("no Chromium: install the package chromium")
    seconds, count = (8.0, 2_000) if quick else (20.0, EVENTS)
    with demo(1.0) as (url, paths), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield from first_load(browser, url)
        yield from processor(browser, url, seconds)
        yield from streams(browser, url)
        yield from memory(browser, url, paths, count)
        yield from vault(browser, url, paths, CHECKPOINTS)
        yield from idle(browser, seconds)
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows = []
    for found in measure(asked.quick):
        rows.append(found)
        limit = "" if found["theirs"] is None else f"  limit {found['theirs']:g}: {'holds' if holds(found) else 'EXCEEDED'}"
        print(f"{found['work']:<42}{found['ours']:>12,.2f} {found['unit']}{limit}", flush=True)
    if asked.json:
        machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "load": os.getloadavg()[0]}
        asked.json.write_text(json.dumps({"machine": machine, "versions": {"python": platform.python_version()}, "rows": rows}))


if __name__ == "__main__":
    main()
