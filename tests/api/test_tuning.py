"""Studies that programs run."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import dnntune
from pipeline.core.errors import StudyError
from tests.conftest import Cli
from tests.processes import LONG, wait_until
from tests.workers.runs import has_epochs, trials_of

# A script as people write them: nothing keeps it from being run again.
SCRIPT = """
import os
print("the script runs", flush=True)
import dnntune
from tests.processes import workers_of
space = {"study": {"pruner": "none"}, "space": {"data": {"kind": "digits"}, "epochs": 5000,
         "early_stopping": {"patience": None}}}
try:
    dnntune.tune(space, name="small", trials=1, threads=1, workspace="runs")
except KeyboardInterrupt:
    print("interrupted", workers_of(os.getpid()), flush=True)
"""


def test_a_script_without_a_main_guard_runs_once_and_ctrl_c_leaves_a_study_to_resume(
    workspace: Path, tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, "script.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: process.poll() is not None or has_epochs(workspace))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LONG)
    finally:
        process.kill()
    assert out.splitlines() == ["the script runs", "interrupted []"], err
    assert "stopping after this epoch" in err
    assert "Traceback" not in err
    (trial,) = trials_of(workspace)
    assert trial.state.name == "WAITING"
    assert list((workspace / "checkpoints" / "small").iterdir())


def test_the_command_line_and_python_give_the_same_trials(
    cli: Cli, space_file: Path, workspace: Path, tmp_path: Path
) -> None:
    done = cli("run", space_file, "--threads", 1, "--workspace", workspace)
    assert done.returncode == 0, done.stderr
    study = dnntune.tune(space_file, name="again", threads=1, workspace=workspace, progress=False)
    ours, theirs = trials_of(workspace, "again"), trials_of(workspace)
    assert [trial.params for trial in ours] == [trial.params for trial in theirs]
    assert [trial.values for trial in ours] == [trial.values for trial in theirs]
    assert study.best.value == max(trial.values[0] for trial in theirs)
    best = cli("best", "again", "--workspace", workspace)
    (tmp_path / "best.yaml").write_text(best.stdout)
    training = dnntune.train(tmp_path / "best.yaml", threads=1, workspace=workspace)
    for epoch in training:
        assert epoch.epoch == 1
        break  # the rest is trained for the result
    assert training.result["best_valid_accuracy"] == study.best.value
    assert training.result["epochs"] == 4


def test_what_a_callback_raises_ends_the_study_and_is_passed_on(space_file: Path, workspace: Path) -> None:
    def stop(event: object) -> None:
        if isinstance(event, dnntune.events.TrialEnded):
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        dnntune.tune(space_file, threads=1, workspace=workspace, progress=False, callbacks=[stop])
    resumed = dnntune.open_study("small", workspace).resume(threads=1, progress=False)
    assert list(resumed.trials_dataframe()["outcome"]).count("complete") == 6


def test_a_study_that_is_not_there_is_named(workspace: Path) -> None:
    with pytest.raises(StudyError, match="study"):
        dnntune.open_study("nothing", workspace)


def test_importing_takes_neither_torch_nor_mlflow() -> None:
    code = "import dnntune, sys; print(dnntune.tune and [m for m in ('torch', 'mlflow', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert all(hasattr(dnntune, name) for name in dnntune.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        dnntune.nonsense  # noqa: B018
