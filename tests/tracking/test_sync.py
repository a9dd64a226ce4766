"""The storage and MLflow come to agree: after a log was cut off, a workspace moved, a store broken."""

import math
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import StudyError, TrackingError
from pipeline.core.workspace import Workspace
from pipeline.storage import lease as leases
from pipeline.storage.lease import Lease
from pipeline.storage.study_lock import hold_study_lock
from pipeline.study.attributes import MLFLOW_RUNS
from pipeline.study.studies import open_study
from pipeline.tracking import log
from pipeline.tracking.log_writer import LogWriter, study_run
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.store import find_runs, open_experiment, open_store
from pipeline.tracking.sync import sync_study
from tests.conftest import Cli
from tests.processes import wait_until
from tests.workers.runs import run, start, trials_of


def logged(workspace: Workspace) -> list[Any]:
    client = open_store(workspace)
    experiment = client.get_experiment_by_name("dnntune")
    assert experiment is not None
    return find_runs(client, experiment.experiment_id, "tags.study = 'small'")


@pytest.fixture
def finished_copy(finished: dict[str, Any], tmp_path: Path) -> Path:
    """A finished study in a workspace that has been copied to another place."""
    return Path(shutil.copytree(finished["workspace"], tmp_path / "elsewhere" / "runs"))


def test_after_a_run_there_is_nothing_to_write(finished_copy: Path) -> None:
    synced = sync_study(Workspace(finished_copy), "small")
    assert (synced.found, synced.num_written, synced.study_written) == ({}, 0, False)


def test_what_a_cut_off_log_left_is_written_once(finished_copy: Path) -> None:
    """As SIGTERM left it while the log drained: one trial finished, one running, the others missing."""
    workspace = Workspace(finished_copy)
    client = open_store(workspace)
    for each in logged(workspace):
        if each.data.tags["kind"] == "study" or each.data.tags["trial"] == "1":
            client.update_run(each.info.run_id, status="RUNNING")
        elif each.data.tags["trial"] != "0":
            client.delete_run(each.info.run_id)
    synced = sync_study(workspace, "small")
    assert synced.found == {
        1: ["its status is RUNNING, and not FINISHED"],
        **{number: ["it has no run"] for number in range(2, 6)},
    }
    assert (synced.num_written, synced.study_written, synced.left) == (5, True, {})
    runs = logged(workspace)
    assert [each.info.status for each in runs] == ["FINISHED"] * 7
    again = sync_study(workspace, "small")
    assert (again.found, again.num_written, again.study_written) == ({}, 0, False)


def test_running_a_finished_study_again_writes_what_is_missing(finished_copy: Path, finished: dict[str, Any]) -> None:
    workspace = Workspace(finished_copy)
    open_store(workspace).delete_run(next(r.info.run_id for r in logged(workspace) if r.data.tags.get("trial") == "3"))
    assert run(finished["file"], finished_copy).tracking_error is None
    assert len(logged(workspace)) == 7


def test_sync_leaves_a_run_alone_that_logs(finished_copy: Path) -> None:
    workspace = Workspace(finished_copy)
    log_writer = LogWriter(workspace, "small", open_experiment(workspace), alive=True)
    with hold_study_lock(workspace.lock("small")) as study_lock:
        study_lock.share()
        assert log_writer.lease.hold()
        with pytest.raises(TrackingError, match="a run of study small goes on and logs it"):
            sync_study(workspace, "small")
    assert sync_study(workspace, "small").num_written == 0  # whoever holds the lease now has died


def test_one_has_the_lease_until_it_is_silent(finished_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.4)
    study = open_study(Workspace(finished_copy), "small")
    one, other, elsewhere = Lease(study, "a"), Lease(study, "a"), Lease(study, "b")
    assert one.hold()
    assert not other.hold()
    assert elsewhere.hold()
    one.release()
    other = Lease(study, "a")
    assert other.hold()
    silent_since = time.monotonic()
    third = Lease(study, "a")
    while not third.hold():
        third.ask_again = 0.0
    assert time.monotonic() - silent_since > 0.3
    other.ask_again = 0.0
    assert not other.hold()


@pytest.mark.usefixtures("space_file")
def test_a_study_that_has_not_begun(finished_copy: Path) -> None:
    with pytest.raises(StudyError, match="no study named x"):
        sync_study(Workspace(finished_copy), "x")


def test_a_study_knows_its_run_wherever_the_workspace_is(finished_copy: Path, tmp_path: Path) -> None:
    study = open_study(Workspace(finished_copy), "small")
    (identity,) = study.user_attrs[MLFLOW_RUNS]
    assert "/" not in identity
    run_id = study_run(study, Workspace(finished_copy))
    moved = finished_copy.rename(tmp_path / "moved")
    assert study_run(open_study(Workspace(moved), "small"), Workspace(moved)) == run_id


def test_a_moved_workspace_has_its_artifacts(finished_copy: Path) -> None:
    workspace = Workspace(finished_copy)
    client = open_store(workspace)
    (parent,) = [each for each in logged(workspace) if each.data.tags["kind"] == "study"]
    assert parent.info.artifact_uri.startswith(f"file://{finished_copy}/mlartifacts/")
    text = Path(client.download_artifacts(parent.info.run_id, "best_config.yaml")).read_text()
    assert text.startswith("space:")


def test_a_study_is_moved_and_goes_on(cli: Cli, space_file: Path, workspace: Path, tmp_path: Path) -> None:
    process = start(space_file, workspace, "study.trials=20")
    wait_until(lambda: (workspace / "studies.db").exists() and len(_ended(workspace)) >= 3)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    moved = workspace.rename(tmp_path / "moved")
    other = tmp_path / "other"
    other.mkdir()
    done = cli(
        "run", space_file, "--trials", 20, "--threads", 1, "--workspace", os.path.relpath(moved, other), cwd=other
    )
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    runs = logged(Workspace(moved))
    assert sorted(each.data.tags["kind"] for each in runs) == ["study", *["trial"] * 20]
    assert "RUNNING" not in {each.info.status for each in runs}
    (parent,) = [each for each in runs if each.data.tags["kind"] == "study"]
    client = open_store(Workspace(moved))
    assert Path(client.download_artifacts(parent.info.run_id, "best_config.yaml")).read_text()
    assert sync_study(Workspace(moved), "small").found == {}


def _ended(workspace: Path) -> list[Any]:
    try:
        return [trial for trial in trials_of(workspace) if trial.state.is_finished()]
    except StudyError:
        return []


def test_a_store_that_breaks_costs_a_study_its_log_only(
    space_file: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "END_SECONDS", 9.0)

    class Breaks:
        ended = 0.0

        def begin(self, *_: str, **__: Any) -> None:
            (workspace / "mlflow.db").write_bytes(b"no database" * 1000)

        def event(self, _event: Any) -> None:
            Breaks.ended = time.monotonic()

        def tick(self) -> None: ...

    summary = run(space_file, workspace, observer=Breaks())
    assert time.monotonic() - Breaks.ended < 9.0 + 10.0
    assert summary.num_left == 0
    assert summary.tracking_error is not None
    (workspace / "mlflow.db").unlink()
    assert sync_study(Workspace(workspace), "small").num_written == len(_ended(workspace))


def test_a_log_process_that_dies_is_replaced(space_file: Path, workspace: Path) -> None:
    class Kills:
        def begin(self, *_: str, **__: Any) -> None: ...

        def event(self, _event: Any) -> None: ...

        def tick(self) -> None:
            from multiprocessing import active_children

            if _ended(workspace):
                for child in active_children():
                    if child.name == "dnntune-log" and not killed:
                        child.kill()
                        killed.append(child.pid)

    killed: list[Any] = []
    summary = run(space_file, workspace, observer=Kills())
    assert killed
    assert summary.num_left == 0
    synced = sync_study(Workspace(workspace), "small")
    assert synced.left == {}
    assert (summary.tracking_error is None) == (synced.num_written == 0)


def test_a_log_process_that_dies_before_it_begins_or_at_its_end_is_replaced(finished_copy: Path) -> None:
    workspace = Workspace(finished_copy)
    open_store(workspace).delete_run(next(r.info.run_id for r in logged(workspace) if r.data.tags.get("trial") == "3"))
    writing = log.StudyLog(workspace, "small", is_alone=True)
    writing.process.kill()
    writing.process.join()
    writing.born = -math.inf
    writing.tick()
    writing.begin()
    writing.process.kill()
    assert writing.close() is None
    assert sync_study(workspace, "small").found == {}


def test_a_trial_that_mlflow_refuses_does_not_keep_out_the_others(
    finished_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(finished_copy)
    client = open_store(workspace)
    for each in logged(workspace):
        if each.data.tags.get("trial") in ("2", "3"):
            client.delete_run(each.info.run_id)
    write = Mirror.write

    def refuse(mirror: Mirror, record: Any) -> None:
        if record.number == 2:
            raise ValueError("a name that MLflow refuses")
        write(mirror, record)

    monkeypatch.setattr(Mirror, "write", refuse)
    synced = sync_study(workspace, "small")
    assert (synced.num_written, list(synced.left)) == (1, [2])
