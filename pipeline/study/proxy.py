"""Optuna's gRPC proxy as a study storage: for workers that reach one port of one machine, and no database."""

import os
from collections.abc import Callable
from urllib.parse import urlsplit

import optuna
from optuna.storages import GrpcStorageProxy
from optuna.storages._grpc.client import GrpcClientCache
from optuna.trial import FrozenTrial, TrialState

from pipeline.errors import StudyError
from pipeline.study.beats import BeatingStorage, OnStale, Rhythm, Silence, rhythm
from pipeline.study.patience import OPENING_SECONDS, patient

# What gRPC would write to standard error by itself, its exceptions say too; read when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
try:
    import grpc  # type: ignore[import-untyped]
except ImportError:
    raise StudyError("the storage proxy needs grpcio: pip install 'dnntune[proxy]'") from None

SCHEME = "grpc://"
DEFAULT_PORT = 13000
# By itself gRPC waits for up to two minutes before it tries again, and for ever for a machine that has vanished.
# The server allows such pings: see `pipeline.study.proxy_server`.
_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)
# A server that ends cancels what it has not answered.
_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


def _is_passing(error: Exception) -> bool:
    return isinstance(error, grpc.Call) and error.code() in _PASSING


@patient(_is_passing, (grpc.RpcError,))
class Proxy(BeatingStorage, GrpcStorageProxy):
    """Optuna's proxy, with patience, and with the heartbeats that it lacks.

    Args:
        host: The server's machine.
        port: Its port.
        beats: How often hearts beat.
        on_stale: Is called with a study and a trial that Optuna has ended because its heart beat no more.
    """

    def __init__(self, *, host: str, port: int, beats: Rhythm, on_stale: OnStale | None) -> None:
        super().__init__(host=host, port=port)
        self._beats, self._on_stale = beats, on_stale
        self._silence = Silence(beats.grace)

    def _setup(self) -> None:
        from optuna.storages._grpc.auto_generated import api_pb2_grpc

        self._channel = grpc.insecure_channel(f"{self._host}:{self._port}", options=_CHANNEL_OPTIONS)
        self._stub = api_pb2_grpc.StorageServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._cache = GrpcClientCache(self._stub)

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        running = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        return self._silence.dead(study_id, running)

    def get_heartbeat_interval(self) -> int:
        return self._beats.interval

    def get_heartbeat_stale_trial_callback(self) -> Callable[[optuna.Study, FrozenTrial], None] | None:
        return self._on_stale


def open_proxy(url: str, on_stale: OnStale | None) -> Proxy:
    """Opens a proxy.

    Args:
        url: ``grpc://HOST:PORT``.
        on_stale: See `Proxy`.

    Raises:
        StudyError: The address is none, or nobody answers there.
    """
    host, port = address(url)
    proxy = Proxy(host=host, port=port, beats=rhythm(), on_stale=on_stale)
    try:
        proxy.wait_server_ready(OPENING_SECONDS)
    except ConnectionError:
        proxy.close()
        raise StudyError(
            f"no storage proxy answers at {url}. Start one with dnntune storage-proxy --storage URL, or check "
            "--storage and what is between the machines"
        ) from None
    return proxy


def address(url: str) -> tuple[str, int]:
    """Returns the host (an IPv6 address in brackets) and the port of ``grpc://HOST:PORT``.

    Raises:
        StudyError: It has none.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or DEFAULT_PORT
    except ValueError:
        host, port = None, 0
    if not url.startswith(SCHEME) or host is None or parts.path.strip("/") or parts.query:
        raise StudyError(f"the address of a storage proxy is grpc://HOST:PORT, not {url}")
    return (f"[{host}]" if ":" in host else host), port
