"""Workers as tasks of a Ray cluster: one that runs already, or one that is started on this machine for the study."""

import contextlib
import importlib.util
import logging
import math
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import StudyError
from pipeline.workers.launchers.local import run_worker
from pipeline.workers.launchers.ray_bridge import RayProcess, start_mailboxes, submit
from pipeline.workers.launchers.ray_worker import remote_function
from pipeline.workers.task import Task

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from pipeline.records.events import Event

# Ray reads these when it is imported. Its reports on standard output would mix with ours.
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
# Ray tries to connect 20 times, each time for 40 s.
_ONE_TRY = {"RAY_gcs_server_port_wait_time_s": "1"}


class RayLauncher:
    """Starts workers on Ray. Each takes its threads as CPUs and, unless it is to compute on a CPU, a share of a GPU.

    On a running cluster this process must be on one of its nodes; every node needs dnntune in the same version, and
    must reach the study's storage and the data. A worker waits for as long as others use the CPUs.

    Args:
        address: The cluster's, ``host:port`` or ``auto`` (this machine's); None for `RAY_ADDRESS`, or if that is not
            set, for one that is started on this machine with the first worker and ends with `close`.
        workers: How many workers there will be: the GPUs are shared evenly, and a cluster that is started has room for
            all of them, on however few cores.
        run: What a worker does with its task and its end of the pipe.

    Raises:
        StudyError: Ray is not installed.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        workers: int = 1,
        run: "Callable[[Task, Connection[Event, bool]], None]" = run_worker,
    ) -> None:
        if importlib.util.find_spec("ray") is None:
            raise StudyError("workers on Ray need ray, which is not installed: pip install 'dnntune[ray]'")
        self.address, self.workers, self.run = address, workers, run
        self.remote: Any = None  # the function that runs on a node, once Ray is connected
        self.post: Any = None  # the actor that keeps messages to workers and from them, likewise
        self.connected_here = False

    def prepare(self, task: Task) -> None:
        if self.remote is None:
            self._connect(task.threads)

    def start(self, task: Task) -> "tuple[RayProcess, Connection[bool, Event]]":
        """Queues a worker; Ray starts it when there is room.

        Raises:
            StudyError: The cluster cannot be used, or has no node that a worker fits on.
        """
        self.prepare(task)
        resources = self.resources(task)
        from ray import cloudpickle

        payload = cloudpickle.dumps((self.run, task))
        options = {"num_cpus": resources["CPU"], "num_gpus": resources.get("GPU", 0)}
        return submit(self.remote.options(**options), payload, self.post)

    def close(self) -> None:
        """Ends what runs on the cluster for us, the connection to it, and the cluster if it was started here."""
        if self.remote is None:
            return
        import ray

        if ray.is_initialized():
            ray.kill(self.post)
        self.remote = self.post = None
        if self.connected_here:
            ray.shutdown()
            self.connected_here = False

    def _connect(self, threads: int) -> None:
        """Connects to the cluster or starts one, unless the program has done so itself."""
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        address = self.address or os.environ.get("RAY_ADDRESS") or "local"
        is_local = address == "local"
        if not is_local:
            _check_address(address)
        elif not any(name in os.environ for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
            # Ray would write a token into the home folder; without any, whoever reaches this machine could run code.
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        import ray

        if not ray.is_initialized():
            size: dict[str, Any] = {
                "num_cpus": max(self.workers * threads, len(os.sched_getaffinity(0))),
                "object_store_memory": 100 * 2**20,  # little more than Ray's minimum: nothing of ours goes through it
                "include_dashboard": False,
            }
            try:
                with _same_signals(), _environment({} if is_local else _ONE_TRY):
                    ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, **(size if is_local else {}))
            except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
                problem = "cannot be started on this machine" if is_local else f"cannot be used at {address}"
                reason = str(error).rstrip(".")
                raise StudyError(f"Ray {problem}: {reason}. `ray status` says whether a cluster runs") from None
            self.connected_here = True
        self.post = start_mailboxes()
        self.remote = ray.remote(max_calls=1, max_retries=0)(remote_function())

    def resources(self, task: Task) -> dict[str, float]:
        """Returns what a worker takes of its node, in Ray's names.

        Raises:
            StudyError: No node has that, or the task names a GPU.
        """
        import ray

        if task.compute.device.startswith("cuda:"):
            raise StudyError(
                f"on Ray each worker is given its GPU, and --device {task.compute.device} names one: use cuda"
            )
        known = ray.nodes()
        nodes = [node["Resources"] for node in known if node["Alive"]]
        wanted = {"CPU": float(task.threads)}
        num_gpus = int(sum(node.get("GPU", 0) for node in nodes))
        if num_gpus and task.compute.device != "cpu":
            # Ray counts in ten thousandths, and must not round up: the last worker would not fit.
            wanted["GPU"] = math.floor(1e4 / math.ceil(self.workers / num_gpus)) / 1e4
        if not any(all(node.get(name, 0) >= amount for name, amount in wanted.items()) for node in nodes):
            most = max((node.get("CPU", 0) for node in nodes), default=0)
            on_gpu = " and a GPU" if "GPU" in wanted else ""
            raise StudyError(
                f"a worker must fit on one node of the Ray cluster: it takes {task.threads} CPUs{on_gpu}, and the "
                f"largest node has {most:g} CPUs. Use fewer --threads{', or --device cpu' if on_gpu else ''}"
            )
        return wanted


def _check_address(address: str) -> None:
    """Refuses an address where nobody listens at once; Ray itself would try for long.

    Raises:
        StudyError: Nobody does.
    """
    if "://" in address:
        raise StudyError(
            f"a study on Ray runs on one of the cluster's nodes; got {address}: run it there, with --ray-address auto"
        )
    host, _, port = address.rpartition(":")
    if port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        except (OSError, OverflowError) as error:
            raise StudyError(
                f"no Ray cluster answers at {address} ({error}): `ray status` on a node says its address"
            ) from None


@contextlib.contextmanager
def _same_signals() -> Iterator[None]:
    """Keeps the handler of SIGTERM, which Ray replaces."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Sets environment variables for a while, where they are not set."""
    added = values.keys() - os.environ.keys()
    os.environ.update({name: values[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
