"""Studies whose processes are stopped or killed, and that lose nothing."""

import json
import os
import re
import signal
import threading
import time
from pathlib import Path

import optuna
import pytest

from pipeline.core.compute import Compute
from pipeline.core.processes.process_tree import descendants
from pipeline.core.stores.urls import StoreUrl
from pipeline.core.workspace import Workspace
from pipeline.records.results import TrialResult
from pipeline.space.files import load_space
from pipeline.space.overrides import Override
from pipeline.storage.internals import trial_id
from pipeline.storage.open import open_storage
from pipeline.study.attributes import RETRY
from pipeline.study.creation import create_or_resume
from pipeline.study.trials import HEARTBEAT_EXPIRED, Attempt, attempt_of, finish, outcome_of, result_of
from pipeline.workers.run import run_study
from tests.processes import LONG, parents, wait_until, workers_of
from tests.workers.runs import SLOW, has_epochs, run, start, statuses, trials_of, worker_of


def test_ctrl_c_ends_a_study_cleanly_and_it_goes_on_later(space_file: Path, workspace: Path) -> None:
    process = start(space_file, workspace, *SLOW)
    wait_until(lambda: has_epochs(workspace))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LONG)
    assert process.returncode == 130
    assert '"interrupted": true' in out
    assert "resume: 2 trials are left" in err
    assert "Traceback" not in err
    (waiting,) = trials_of(workspace)
    assert waiting.state == optuna.trial.TrialState.WAITING
    epochs = max(waiting.intermediate_values)
    assert set(statuses(workspace)) == {"KILLED"}
    again = start(space_file, workspace, *SLOW)
    wait_until(lambda: max(trials_of(workspace)[0].intermediate_values) > epochs)
    again.send_signal(signal.SIGTERM)
    _, err = again.communicate(timeout=LONG)
    assert again.returncode == 143
    assert "stopping after this epoch; press Ctrl-C again to stop now" in err
    (waiting,) = trials_of(workspace)
    assert waiting.state == optuna.trial.TrialState.WAITING
    assert list(waiting.intermediate_values) == list(range(1, len(waiting.intermediate_values) + 1))
    assert statuses(workspace) in (["KILLED"], ["KILLED"] * 2)  # the study's, and the trial's if it was watched


@pytest.mark.parametrize("phase", ["starting", "training"])
def test_the_second_ctrl_c_ends_all_processes_at_once(space_file: Path, workspace: Path, phase: str) -> None:
    process = start(space_file, workspace, *SLOW)
    assert process.stderr is not None
    assert "starting the workers" in process.stderr.readline()
    if phase == "training":
        wait_until(lambda: has_epochs(workspace))
    else:
        wait_until(lambda: descendants(process.pid))
    process.send_signal(signal.SIGSTOP)  # so that none of the family is missed
    family = descendants(process.pid)
    assert family
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGINT)
    while "stopping after this epoch; press Ctrl-C again to stop now" not in (line := process.stderr.readline()):
        assert line, "it has ended without an answer"
    if phase == "training":
        for pid in workers_of(process.pid):
            os.kill(pid, signal.SIGSTOP)  # this epoch has no end
    time.sleep(0.4)
    process.send_signal(signal.SIGINT)
    # A start may have ended meanwhile: then it is the interpreter's own end that is cut short.
    assert process.wait(LONG) in ((130,) if phase == "training" else (130, -signal.SIGINT))
    wait_until(lambda: not set(family) & set(parents()))
    assert "Traceback" not in process.stderr.read()


def test_a_killed_worker_is_replaced_and_its_trial_tried_again(space_file: Path, workspace: Path) -> None:
    process = start(space_file, workspace, "epochs=400", "early_stopping.patience=null", "study.trials=2")
    wait_until(lambda: has_epochs(workspace))
    os.kill(worker_of(process), signal.SIGKILL)
    out, err = process.communicate(timeout=LONG)
    assert process.returncode == 0, err
    assert '"complete": 2' in out
    assert '"failed": 1' in out
    failed, retry, other = trials_of(workspace)
    assert [outcome_of(trial) for trial in (failed, retry, other)] == ["failed", "complete", "complete"]
    result = result_of(failed)
    assert result is not None
    assert result.reason == "its worker was killed by SIGKILL; it will be retried"
    assert retry.params == failed.params
    assert attempt_of(retry) == Attempt(1, 0, 0)
    assert list(retry.intermediate_values) == list(range(1, 401))
    assert sorted(statuses(workspace)) == ["FAILED", "FINISHED", "FINISHED", "FINISHED"]
    assert not Workspace(workspace).checkpoints("small").exists()


@pytest.mark.slow
def test_without_retries_another_trial_is_drawn(space_file: Path, workspace: Path) -> None:
    process = start(space_file, workspace, "epochs=400", "early_stopping.patience=null", "study.retries=0")
    wait_until(lambda: has_epochs(workspace))
    os.kill(worker_of(process), signal.SIGKILL)
    wait_until(lambda: len(trials_of(workspace)) > 1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LONG)
    failed, other = trials_of(workspace)
    result = result_of(failed)
    assert result is not None
    assert result.reason == "its worker was killed by SIGKILL"
    assert other.params != failed.params


@pytest.mark.slow
def test_a_trial_that_takes_too_much_memory_fails_and_the_study_goes_on(space_file: Path, workspace: Path) -> None:
    # 200 MB of weights, as much of gradients, twice as much of moments
    greedy = ["model.hidden_layers=1", "model.width={choice: [[16], [700000]]}", "study.trials=3", "optimizer=adamw"]
    small = ", {model.width: [16]}" * 3  # nothing is left to the sampler, which may draw the large one again and again
    baselines = f"study.baselines=[{{model.width: [700000]}}{small}]"
    process = start(space_file, workspace, *greedy, baselines, "study.trial_memory=0.9")
    _, err = process.communicate(timeout=LONG)
    assert process.returncode == 0, err
    failed, *_ = trials_of(workspace)
    result = result_of(failed)
    assert result is not None
    assert result.outcome == "failed"
    assert re.fullmatch(r"its process used \d\.\d\d GiB of memory; trial_memory is 0\.9", str(result.reason))
    assert RETRY not in {name for trial in trials_of(workspace) for name in trial.user_attrs}


def test_a_killed_supervisor_leaves_a_study_that_goes_on(space_file: Path, workspace: Path) -> None:
    process = start(space_file, workspace, "epochs=400", "early_stopping.patience=null", "study.trials=2")
    wait_until(lambda: has_epochs(workspace))
    worker = worker_of(process)
    process.kill()
    process.communicate(timeout=LONG)
    wait_until(lambda: not Path(f"/proc/{worker}").exists())
    summary = run(space_file, workspace, "epochs=400", "early_stopping.patience=null", "study.trials=2")
    assert summary.trials["complete"] == 2
    assert [outcome_of(trial) for trial in trials_of(workspace)] == ["complete", "complete"]
    assert list(trials_of(workspace)[0].intermediate_values) == list(range(1, 401))
    assert "RUNNING" not in statuses(workspace)


def test_a_second_run_joins_a_study_that_runs(space_file: Path, workspace: Path) -> None:
    settings = ["epochs=200", "early_stopping.patience=null", "study.trials=4"]
    process = start(space_file, workspace, *settings)
    wait_until(lambda: has_epochs(workspace))
    summary = run(space_file, workspace, *settings)
    out, err = process.communicate(timeout=LONG)
    assert process.returncode == 0, err
    theirs = json.loads(out.splitlines()[-1])
    assert (theirs["trials"]["complete"], summary.trials["complete"], summary.num_left) == (4, 4, 0)
    assert [outcome_of(trial) for trial in trials_of(workspace)] == ["complete"] * 4
    assert sorted(statuses(workspace)) == ["FINISHED"] * 5  # one run for the study, which both have logged to


@pytest.fixture
def quick_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has been silent for five seconds is dead; a busy machine may be silent for three."""
    monkeypatch.setenv("DNNTUNE_HEARTBEAT_SECONDS", "1")
    monkeypatch.setenv("DNNTUNE_GRACE_PERIOD_SECONDS", "5")


@pytest.mark.usefixtures("quick_heartbeat")
@pytest.mark.parametrize("has_parameters", [True, False])
def test_a_trial_that_died_elsewhere_is_made_up_for(space_file: Path, workspace: Path, has_parameters: bool) -> None:
    url = StoreUrl(f"sqlite:///{workspace / 'shared.db'}")
    loaded = load_space(str(space_file), [Override.parse("study.trials=1")])
    study = create_or_resume(open_storage(url), "small", loaded.study, loaded.space)
    elsewhere = study.ask()
    if has_parameters:
        loaded.space.sample(elsewhere)
    summary = run_study(
        loaded.space,
        loaded.study,
        name="small",
        workspace=Workspace(workspace, storage=url),
        compute=Compute(threads=1),
    )
    assert (summary.trials["complete"], summary.trials["failed"], summary.num_left) == (1, 1, 0)
    dead, other = study.trials
    assert result_of(dead) == HEARTBEAT_EXPIRED
    assert (other.params == dead.params) == has_parameters
    assert attempt_of(other) == (Attempt(1, 0, 0) if has_parameters else Attempt(0, None, 1))


@pytest.mark.usefixtures("quick_heartbeat")
def test_a_trial_that_lives_elsewhere_is_waited_for(space_file: Path, workspace: Path) -> None:
    url = StoreUrl(f"sqlite:///{workspace / 'shared.db'}")
    loaded = load_space(str(space_file), [Override.parse("study.trials=2")])
    storage = open_storage(url)
    study = create_or_resume(storage, "small", loaded.study, loaded.space)
    elsewhere = study.ask()
    here, summaries = Workspace(workspace, storage=url), []

    def run() -> None:
        summaries.append(
            run_study(loaded.space, loaded.study, name="small", workspace=here, compute=Compute(threads=1))
        )

    thread = threading.Thread(target=run)
    thread.start()

    def others_are_done() -> bool:
        storage.record_heartbeat(trial_id(elsewhere))
        return len(study.trials) > 1 and study.trials[1].state.is_finished()

    wait_until(others_are_done)
    for _ in range(7):  # longer than the dead are given
        time.sleep(1.0)
        storage.record_heartbeat(trial_id(elsewhere))
    assert thread.is_alive()
    assert study.trials[0].state == optuna.trial.TrialState.RUNNING
    finish(study, elsewhere, {}, TrialResult("pruned"))
    thread.join(LONG)
    (summary,) = summaries
    assert (summary.trials["complete"], summary.trials["pruned"], summary.num_left) == (1, 1, 0)
