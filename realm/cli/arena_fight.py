"""`realm arena run` and `train`: one process, or several started by torchrun or Ray; each leads the battle or follows."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import click

from realm.arena.torchrun import ENDED, tell_end
from realm.armory.config import Config
from realm.core.daemon import Heartbeat, StopFlag, lock_holder, single_instance
from realm.core.errors import Conflict, RealmError
from realm.core.logs import setup
from realm.core.paths import Paths, open_home


def fight(*, until_idle: bool, max_steps: int | None = None, ray: int | None = None) -> None:
    """Fight in this process, or in those that it starts as `ray` or config.json says."""
    paths = open_home()
    if "WORLD_SIZE" not in os.environ:
        from realm.armory.heroes import active_config

        config = active_config(paths).config
        if ray or (config.engine == "ray" and config.parallel.processes > 1):
            _start_ray(paths, config, ray or config.parallel.processes, {"until_idle": until_idle, "max_steps": max_steps})
            return
        if config.engine == "torchrun" and config.parallel.processes > 1:
            _become_torchrun(paths, config.parallel.processes)
    if os.environ.get("RANK", "0") != "0":
        _follow(paths, signals=True)
    else:
        setup(paths, "arena")
        _lead(paths, StopFlag().install(), until_idle=until_idle, max_steps=max_steps)


def _lead(paths: Paths, stop: StopFlag, *, until_idle: bool, max_steps: int | None) -> None:
    # cuBLAS is deterministic only with a fixed workspace (docs.nvidia.com/cuda/cublas, Results Reproducibility).
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with single_instance(paths, "arena"):
        # torch comes in only now, so that a second start is refused at once; its OpenMP (libgomp) reads this as it is loaded:
        # threads that spin while they wait take the core from whoever holds the work they wait for
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        from realm.arena.battle import enter, fight, leave
        from realm.gate import Realm

        if until_idle:
            _empty_inbox(paths)
        arena = enter(paths, Realm(paths).enqueue_evals)
        try:
            fight(arena, stop, until_idle=until_idle, max_steps=max_steps)
        finally:
            leave(arena)
        tell_end()


def _follow(paths: Paths, *, signals: bool) -> None:
    """Follow the leader; the signals that stop a battle are the leader's to act on."""
    import signal

    setup(paths, f"arena-{os.environ['RANK']}")
    for number in (signal.SIGTERM, signal.SIGINT) if signals else ():
        signal.signal(number, signal.SIG_IGN)
    from realm.arena.entering import follow

    follow(paths)


def _become_torchrun(paths: Paths, processes: int) -> None:
    """Go on as torchrun, whose processes meet in files: its own store would listen on every address of the machine."""
    for left in paths.run.glob("meeting-*"):
        left.unlink()
    meeting = paths.run / f"meeting-{os.getpid()}"
    os.environ["REALM_MEETING"] = f"file://{meeting}"
    os.environ[ENDED] = f"{meeting}.ended"
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"  # no store of torchrun's own for the processes
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # said by the battle itself; torchrun warns without it
    meet = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"{meeting}.start", "--rdzv-conf", "store_type=file"]
    starter = ["-m", "realm.arena.torchrun", *meet, "--rdzv-id", "battle", "--nnodes", "1", "--nproc-per-node", str(processes)]
    os.execv(sys.executable, [sys.executable, *starter, "-m", "realm.cli", *sys.argv[1:]])  # noqa: S606


def _start_ray(paths: Paths, config: Config, processes: int, told: dict[str, Any]) -> None:
    """Start the processes by Ray and wait for them; Ray takes long, so a second start is refused before."""
    from realm.arena.ray_train import train

    setup(paths, "arena-ray")
    if (holder := lock_holder(paths, "arena")) is not None:
        raise Conflict(f"arena already runs on {paths.home} (process {holder})",
                       hint=f"stop process {holder} first, or give another --home")  # fmt: skip
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ["REALM_HOME"] = str(paths.home)
    beat = Heartbeat(paths, "arena")
    train(work_under_ray, told, processes, config.device, paths.run, StopFlag().install(),
          lambda: beat.beat("starting Ray", force=True))  # fmt: skip


def work_under_ray(told: dict[str, Any]) -> None:
    """Do the part of one process of Ray; its rank is in the environment, as under torchrun."""
    from realm.arena.ray_train import stop_of, tell

    paths = open_home()
    try:
        if os.environ["RANK"] != "0":
            _follow(paths, signals=False)
        else:
            setup(paths, "arena")
            _lead(paths, stop_of(told), until_idle=told["until_idle"], max_steps=told["max_steps"])
    except RealmError as error:
        tell(told, error)
        raise


def _empty_inbox(paths: Paths) -> None:
    """Take in every file of the inbox; one that is still being written gets a few seconds."""
    from contextlib import closing

    from realm.arena.quests import intake
    from realm.core.store import open_facts

    with closing(open_facts(paths)) as facts:
        intake.sweep(paths, facts)  # the first one loads the hero's tokenizer, which may take longer than a file settles
        deadline = time.monotonic() + 3 * intake.SETTLE_S
        while intake.waiting(paths) and time.monotonic() < deadline:
            intake.sweep(paths, facts)
            time.sleep(0.1)
        for name in intake.waiting(paths):
            click.echo(f"left in the inbox, still being written: {name}", err=True)
