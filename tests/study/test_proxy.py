import os
import re
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from pipeline.errors import StudyError
from pipeline.study import proxy
from pipeline.study.beats import BEAT, BeatingStorage
from pipeline.study.proxy import address
from pipeline.study.proxy_server import bind, serve
from pipeline.study.storage import open_storage, quiet_optuna, study_names, worker_view
from tests.at_once import assert_all_succeed, start_processes
from tests.servers import free_port

ROOT = Path(__file__).parents[2]
TRIALS = 15


class Server:
    """``dnntune storage-proxy`` in a process of its own."""

    def __init__(self, storage: str) -> None:
        self.storage, self.port = storage, free_port()
        self.url = f"grpc://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "pipeline", "storage-proxy", "--storage", self.storage]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert self.process.stdout is not None
        assert f"--storage {self.url}" in self.process.stdout.readline()

    def end(self, how: signal.Signals) -> tuple[int, str]:
        """Ends it; returns its exit code, and what else it printed."""
        self.process.send_signal(how)
        printed, _ = self.process.communicate(timeout=30)
        return self.process.returncode, printed


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'studies.db'}"


@pytest.fixture
def server(database: str) -> Iterator[Server]:
    started = Server(database)
    yield started
    if started.process.poll() is None:
        started.process.kill()
        started.process.wait()


@pytest.fixture
def open_both(database: str) -> Iterator[Callable[..., tuple[BeatingStorage, BeatingStorage]]]:
    """Opens a database directly, and through a proxy in this process."""
    running, url = bind(database, "127.0.0.1", 0)
    running.start()
    yield lambda **options: (open_storage(database, **options), open_storage(url, **options))
    running.stop(0).wait()


def _work(url: str) -> None:
    quiet_optuna()
    storage = worker_view(open_storage(url))
    study = optuna.load_study(study_name="s", storage=storage, sampler=optuna.samplers.RandomSampler())
    for _ in range(TRIALS):
        trial = study.ask()
        storage.record_heartbeat(trial._trial_id)
        time.sleep(0.1)
        x = trial.suggest_float("x", 0.0, 1.0)
        trial.report(x, 1)
        trial.set_user_attr("x", x)
        study.tell(trial, x)


def test_workers_share_a_database_through_a_server_that_restarts(server: Server) -> None:
    study = optuna.create_study(study_name="s", storage=open_storage(server.url))
    workers = start_processes(_work, server.url, number=3)
    while len(study.trials) < 6:
        time.sleep(0.1)
    assert server.end(signal.SIGTERM) == (0, "")
    server.start()
    time.sleep(0.5)
    server.process.kill()
    server.process.wait()
    time.sleep(1.0)
    assert all(worker.is_alive() for worker in workers)
    server.start()
    assert_all_succeed(workers)
    complete = optuna.load_study(study_name="s", storage=open_storage(server.storage)).get_trials(
        states=(TrialState.COMPLETE,)
    )
    assert len(complete) == 3 * TRIALS
    assert all(trial.params["x"] == trial.value == trial.user_attrs["x"] for trial in complete)
    assert server.end(signal.SIGINT) == (0, "")


def test_a_trial_goes_on_after_the_server_has_restarted(database: str) -> None:
    """Optuna's own cache does not know the trials of before."""
    first, url = bind(database, "127.0.0.1", 0)
    first.start()
    study = optuna.create_study(storage=open_storage(url), sampler=optuna.samplers.RandomSampler())
    trial = study.ask()
    first.stop(0).wait()
    second, _ = bind(database, "127.0.0.1", int(url.rpartition(":")[2]))
    second.start()
    x = trial.suggest_float("x", 0.0, 1.0)
    study.tell(trial, x)
    assert study.trials[0].params == {"x": x}
    second.stop(0).wait()


Both = Callable[..., tuple[BeatingStorage, BeatingStorage]]


def test_a_beat_is_seen_on_both_sides(open_both: Both) -> None:
    direct, through = open_both()
    study = optuna.create_study(study_name="s", storage=direct)
    trial_id = study.ask()._trial_id

    def rows() -> list[Any]:
        with direct.engine.connect() as connection:  # type: ignore[attr-defined]
            return list(connection.exec_driver_sql("SELECT trial_id FROM trial_heartbeats"))

    assert rows() == []
    through.record_heartbeat(trial_id)
    assert rows() == [(trial_id,)]
    first = through.get_trial(trial_id).system_attrs[BEAT]
    direct.record_heartbeat(trial_id)
    assert through.get_trial(trial_id).system_attrs[BEAT] > first


def test_a_silent_trial_is_ended_and_told(open_both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DNNTUNE_HEARTBEAT_SECONDS", "1")
    monkeypatch.setenv("DNNTUNE_GRACE_SECONDS", "2")
    told: list[int] = []

    def on_stale(study: optuna.Study, trial: FrozenTrial) -> None:
        told.append(trial.number)

    _, through = open_both(on_stale=on_stale)
    study = optuna.create_study(storage=through)
    trials = [study.ask() for _ in range(2)]
    through.record_heartbeat(trials[0]._trial_id)
    optuna.storages.fail_stale_trials(study)
    time.sleep(2.1)
    through.record_heartbeat(trials[1]._trial_id)
    optuna.storages.fail_stale_trials(study)
    assert told == [0]
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.RUNNING]
    through.record_heartbeat(trials[0]._trial_id)


def test_a_proxy_needs_no_view_of_a_worker_and_lists_studies(open_both: Both) -> None:
    direct, through = open_both()
    assert worker_view(through) is through
    assert worker_view(direct) is not direct
    optuna.create_study(study_name="s", storage=direct)
    assert study_names(through) == ["s"]


def test_a_study_is_asked_without_a_warning(open_both: Both) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quiet_optuna()
        for storage in open_both():
            optuna.create_study(storage=storage).ask()


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "OPENING_SECONDS", 0.2)
    with pytest.raises(StudyError, match=r"no storage proxy answers at grpc://127\.0\.0\.1:1\. Start one with"):
        open_storage("grpc://127.0.0.1:1")


@pytest.mark.parametrize("url", ["grpc://", "grpc:localhost", "grpc://host:port", "grpc://host:1/database"])
def test_no_address_of_a_proxy(url: str) -> None:
    with pytest.raises(StudyError, match=f"the address of a storage proxy is grpc://HOST:PORT, not {url}"):
        open_storage(url)


def test_addresses() -> None:
    assert address("grpc://head-node:5000") == ("head-node", 5000)
    assert address("grpc://head-node/") == ("head-node", 13000)
    assert address("grpc://[::1]:5000") == ("[::1]", 5000)


def test_without_grpcio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    monkeypatch.delitem(sys.modules, "pipeline.study.proxy")
    monkeypatch.delitem(sys.modules, "pipeline.study.proxy_server")
    with pytest.raises(StudyError, match=r"pip install 'dnntune\[proxy\]'"):
        open_storage("grpc://127.0.0.1:1")
    with pytest.raises(StudyError, match=r"pip install 'dnntune\[proxy\]'"):
        __import__("pipeline.study.proxy_server")


def test_what_cannot_be_served(database: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StudyError, match=f"port {port} of 127.0.0.1 is in use"):
            serve(database, "127.0.0.1", port, print)
    with pytest.raises(StudyError, match="is a proxy itself"):
        serve("grpc://127.0.0.1:13000", "127.0.0.1", 0, print)


def test_two_servers_do_not_share_a_port(database: str) -> None:
    first, url = bind(database, "127.0.0.1", 0)
    first.start()
    with pytest.raises(StudyError, match="is in use"):
        bind(database, "127.0.0.1", int(url.rpartition(":")[2]))
    first.stop(0).wait()


def test_an_address_for_workers_elsewhere(database: str) -> None:
    server, url = bind(database, "0.0.0.0", 0)
    assert re.fullmatch(rf"grpc://{re.escape(socket.gethostname())}:\d+", url)
    server.stop(0)


def test_a_mistake_ends_the_command_with_a_message(cli: Any) -> None:
    done = cli("storage-proxy", "--storage", "nonsense")
    assert done.returncode == 2
    assert done.stderr.startswith("dnntune: the study storage nonsense cannot be opened")
    assert "Traceback" not in done.stderr
