"""The processes of a battle started by Ray Train instead of torchrun (extra `[ray]`); what they run is the same.

Ray runs the loop of a process in a thread of a worker, where no signal arrives. So the process that was started takes the
signals, and an actor passes the word: stop to the leader, an expected error back. Without RAY_ADDRESS a cluster of this
machine is started on 127.0.0.1, without dashboard and without usage reports, and ends with the battle.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex
from typing import Any

from realm.core.daemon import StopFlag
from realm.core.errors import RealmError, Unavailable
from realm.core.logs import get_logger

log = get_logger("ray")
ADDRESS = "RAY_ADDRESS"
MEETING = "REALM_MEETING"  # where torch.distributed meets, in the environment of Ray's processes
OBJECT_STORE_BYTES = 80 * 1024**2  # rows and gradients travel between the processes, not through Ray
LOOK_S = 0.5
# Read by Ray as it is imported and as its processes start. Nothing leaves the machine; the working directory stays.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0", "RAY_TRAIN_V2_ENABLED": "1", "RAY_CHDIR_TO_TRIAL_DIR": "0", "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0", "RAY_worker_niceness": "0", "RAY_memory_monitor_refresh_ms": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}  # fmt: skip
# For a cluster of this machine alone: everything binds 127.0.0.1 (Ray takes no address that is localhost otherwise).
ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "GLOO_SOCKET_IFNAME": "lo"}
CARRIED = ("REALM_", "OMP_", "MKL_", "CUBLAS_")


class Word:
    """An actor: what the process that was started and the leader of the battle tell each other."""

    def __init__(self) -> None:
        from asyncio import Event

        self._stop = Event()
        self._ending: dict[str, Any] | None = None

    async def stop(self) -> None:
        self._stop.set()

    async def stopped(self) -> None:
        """Answer when the battle is to stop."""
        await self._stop.wait()

    async def end(self, ending: dict[str, Any]) -> None:
        self._ending = self._ending or ending

    async def ending(self) -> dict[str, Any] | None:
        return self._ending


class Failed(RealmError):
    """An expected error of one of the processes, as it was there."""

    def __init__(self, ending: dict[str, Any]) -> None:
        super().__init__(ending["message"], hint=ending["hint"])
        self.code, self.exit_code = ending["code"], ending["exit_code"]


Work = Callable[[dict[str, Any]], None]


def train(
    work: Work, told: dict[str, Any], processes: int, device: str, shared: Path, stop: StopFlag, beat: Callable[[], None]
) -> None:
    """Run `work` in `processes` processes until all ended; `stop` is passed on to `stop_of` of the leader.

    `shared` is a folder that every machine of a cluster reaches; `beat` is called as Ray is up.

    Raises Failed with the first expected error of a process, Unavailable without Ray, without its GPUs, or when a process
    ended unexpectedly.
    """
    if find_spec("ray") is None or find_spec("pyarrow") is None:
        raise Unavailable("engine ray needs the package ray", hint="pip install 'realm-of-training[ray]', or set engine torchrun")
    # Whoever may ask Ray may run code as this user: the cluster of one run has a token of its own.
    chosen = QUIET if ADDRESS in os.environ else {**QUIET, **ALONE, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token_hex(32)}
    os.environ.update({name: os.environ.get(name, value) for name, value in chosen.items()})
    import ray

    # Ray's sockets need a short path, its workers on other machines one that they reach, under a name that no machine sweeps
    # because it does not know the process.
    place = shared if ADDRESS in os.environ else None
    with tempfile.TemporaryDirectory(prefix="realm-ray-", dir=place) as scratch, _cluster(ray, processes, scratch, stop):
        beat()
        there = int(ray.cluster_resources().get("GPU", 0))
        if device == "cuda" and there < processes:
            raise Unavailable(f"{processes} processes need a GPU each, Ray finds {there}", hint="realm config set device auto")
        word = ray.remote(Word).options(num_cpus=0).remote()
        gpus = device != "cpu" and there >= processes
        error = _fit(_trainer(work, {**told, "word": word}, processes, gpus, scratch), stop, lambda: ray.get(word.stop.remote()))
        ending = ray.get(word.ending.remote())
    if ending is not None:
        raise Failed(ending)
    if error is not None:
        raise Unavailable(f"a process of the battle ended: {error}", hint="see logs/arena.jsonl") from error


@contextmanager
def _cluster(ray: Any, processes: int, scratch: str, stop: StopFlag) -> Iterator[None]:
    """Join the cluster that RAY_ADDRESS names, or start one of this machine alone."""
    carried = {name: value for name, value in os.environ.items() if name.startswith(CARRIED) or name in {**QUIET, **ALONE}}
    places = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    carried["PYTHONPATH"] = os.pathsep.join(filter(None, places))
    how: dict[str, Any] = {"address": os.environ[ADDRESS]} if ADDRESS in os.environ else {
        "address": "local", "num_cpus": processes, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES,
        "_node_ip_address": "127.0.0.1", "_temp_dir": scratch,
    }  # fmt: skip
    # Ray's processes share this one's group and would end by a signal to it before the battle has saved.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        ray.init(**how, runtime_env={"env_vars": carried}, log_to_driver=False, logging_level="warning")
    finally:
        stop.install()  # Ray has put a handler of its own there, which ends the process
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        ray.shutdown()


def _trainer(work: Work, told: dict[str, Any], processes: int, gpus: bool, scratch: str) -> Any:
    from ray.train import RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    from realm.arena.ray_meeting import Meeting

    # A file, because the store that torch opens at a port listens on every address of the machine.
    place = "" if ADDRESS in os.environ else f"file://{scratch}/meeting"
    return DataParallelTrainer(
        work, train_loop_config=told, backend_config=Meeting(place),
        scaling_config=ScalingConfig(num_workers=processes, use_gpu=gpus),
        run_config=RunConfig(name="battle", storage_path=scratch),
    )  # fmt: skip


def _fit(trainer: Any, stop: StopFlag, pass_on: Callable[[], object]) -> Exception | None:
    """Train in a thread, so that a signal is heard; returns the error it ended with."""
    found: list[Exception] = []

    def fit() -> None:
        try:
            trainer.fit()
        except Exception as error:  # noqa: BLE001 - the runner of a task: told by the caller
            found.append(error)

    thread = threading.Thread(target=fit, name="ray")
    thread.start()
    while thread.is_alive() and not stop.wait(LOOK_S):
        pass
    if thread.is_alive():
        pass_on()
    thread.join()
    return found[0] if found else None


def stop_of(told: dict[str, Any]) -> StopFlag:
    """Return a flag of this process that is set when the process that was started is asked to stop."""
    import ray

    stop = StopFlag()

    def listen() -> None:
        ray.get(told["word"].stopped.remote())
        stop.set()

    threading.Thread(target=listen, name="stop", daemon=True).start()
    return stop


def tell(told: dict[str, Any], error: RealmError) -> None:
    """Tell the process that was started how this one ended."""
    import ray

    ending = {"code": error.code, "message": error.message, "hint": error.hint, "exit_code": error.exit_code}
    ray.get(told["word"].end.remote(ending))
