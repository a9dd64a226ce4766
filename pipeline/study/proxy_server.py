"""Serves Optuna's gRPC proxy over a database, so that workers need to reach one port and know no password."""

import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage

from pipeline.errors import StudyError
from pipeline.study.proxy import SCHEME
from pipeline.study.storage import open_storage, quiet_optuna

# Python threads share one core: more of them would only wait for each other, and for the database's connections.
THREADS = 10
# How long requests that came before the end may take.
STOP_SECONDS = 5.0
EVERYWHERE = ("0.0.0.0", "[::]")
_OPTIONS = (
    # Without it a second server at the same port would take half of the requests.
    ("grpc.so_reuseport", 0),
    # A client that pings every 30 s is not to be sent away.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
)


class ServedStorage(_CachedStorage):
    """Optuna's cache, for trials that it may not know: those that ran when the server was restarted."""

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        self._backend.set_trial_param(trial_id, param_name, param_value_internal, distribution)


def serve(url: str, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serves a storage until Ctrl-C or SIGTERM, and says at which address.

    Args:
        url: The database.
        host: Address of this machine to listen at.
        port: Port to listen at; 0 for any that is free.
        say: Prints a line.

    Raises:
        StudyError: The storage cannot be opened, or the port not be listened at.
    """
    quiet_optuna()
    server, address = bind(url, host, port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server.start()
        say(f"serving the storage (Ctrl-C ends it). For workers: --storage {address}")
        server.wait_for_termination()
    except KeyboardInterrupt:
        pass
    finally:
        server.stop(STOP_SECONDS).wait()


def bind(url: str, host: str, port: int) -> tuple[Any, str]:
    """Returns a server that is to be started, and its address for workers.

    Optuna's own can not be ended cleanly, and shares its port with another one without a word.

    Raises:
        StudyError: See `serve`.
    """
    import grpc  # type: ignore[import-untyped]  # these fail without a remedy where it is missing
    from optuna.storages._grpc.auto_generated import api_pb2_grpc
    from optuna.storages._grpc.servicer import OptunaStorageProxyService

    if url.startswith("grpc:"):
        raise StudyError(f"a storage proxy serves a database, and {url} is a proxy itself: give workers its address")
    storage = open_storage(url)
    assert isinstance(storage, RDBStorage)
    server = grpc.server(ThreadPoolExecutor(THREADS), options=_OPTIONS)
    service = OptunaStorageProxyService(ServedStorage(storage))
    api_pb2_grpc.add_StorageServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    try:
        port = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError:
        raise StudyError(
            f"port {port} of {host} is in use, or not this machine's: choose another one with --port or --host"
        ) from None
    return server, f"{SCHEME}{socket.gethostname() if host in EVERYWHERE else host}:{port}"
