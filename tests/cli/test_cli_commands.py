"""Commands that are printed to be typed: a shell runs them as they stand, and they are whole."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli.groups import grouped
from pipeline.cli.options import LocalCompute, Overrides, SpaceArgument, StudyWorkspace, this_command
from pipeline.cli.running import resume_command
from pipeline.core.compute import Compute
from pipeline.core.stores.urls import StoreUrl
from pipeline.core.workspace import Workspace
from pipeline.display.console import exported_lines, final_outlook, outlook
from pipeline.registration.text import serving_command
from pipeline.storage.open import open_storage
from pipeline.study.studies import load_study
from pipeline.study.summary import Best, ParetoPoint, StudySummary
from tests.conftest import SMALL_SPACE, Cli

ROOT = Path(__file__).parents[2]
TRIALS = {"complete": 2, "pruned": 0, "diverged": 0, "failed": 0, "interrupted": 1}
Shell = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Runs a line by bash, where dnntune is this checkout's, and ECHO=1 makes it print its arguments instead."""
    programs = tmp_path / "programs"
    programs.mkdir()
    script = programs / "dnntune"
    script.write_text(
        f'#!/bin/bash\nif [ -n "$ECHO" ]; then printf "%s\\n" "$@"; else exec {sys.executable} -m pipeline "$@"; fi\n'
    )
    script.chmod(0o755)

    def run(line: str) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run


def summary(**changes: object) -> StudySummary:
    given = {
        "study": "s",
        "storage": "",
        "tracking_uri": "",
        "trials": TRIALS,
        "num_left": 4,
        "best": Best(1, 0.5, {}, {}),
        "seconds": 1.0,
        "interrupted": True,
        "tracking_error": None,
        "backbone_images": 0,
        "cached_images": 0,
        "pareto_front": (ParetoPoint(1, {"valid_accuracy": 0.5, "latency_ms": 2.0}),),
    }
    return StudySummary(**{**given, **changes})  # type: ignore[arg-type]


def test_every_next_step_is_read_by_a_shell_as_it_was_meant(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECHO", "1")
    workspace = Workspace(
        Path("a $(touch X)"), StoreUrl("sqlite:///b;c.db"), StoreUrl("http://h/?d=e&f"), "x.y", "d\x1b[31m"
    )
    compute = Compute(workers=3, device="cuda:1")
    lines = [
        *outlook(summary(), workspace, resume_command(summary(), workspace, compute)),
        *final_outlook("s", workspace),
    ]
    lines += exported_lines({"folder": "o p", "differences": {}, "num_checked": 1, "notes": ()})
    commands = [line for line in lines if line.startswith("  ")]
    read = [shell(line.partition(" > ")[0]).stdout.splitlines() for line in commands]
    kept = ["--workspace", "a $(touch X)", "--storage", "sqlite:///b;c.db"]
    logged, rest = ["--tracking-uri", "http://h/?d=e&f"], ["--experiment", "x.y"]
    data = ["--data-dir", "d\x1b[31m"]
    assert read == [
        ["resume", "s", "--workers", "3", "--device", "cuda:1", *kept, *logged, *rest, *data],
        ["ui", *kept[:2], *logged, *rest],
        ["best", "s", *kept],
        ["finalize", "s", *kept, *logged, *rest, *data],
        ["best", "s", "--within", "0.005", "--prefer", "latency_ms", *kept],
        ["report", "s", *kept, *logged],
        ["export", "s", "--out", "model", *kept, *data],
        ["register", "s", "--name", "s", *kept, *logged, *data],
        ["predict", "o p", "IMAGE..."],
    ]
    assert not any("\x1b" in line for line in commands)


def test_a_secret_is_left_to_the_environment() -> None:
    workspace = Workspace(Path("w"), StoreUrl("postgresql://me:mark-left@h/db"), StoreUrl("http://me:mark-left@h"))
    lines = [*outlook(summary(), workspace, "again"), *final_outlook("s", workspace)]
    assert "mark-left" not in "".join(lines)
    known = "with $DNNTUNE_STORAGE set to postgresql://me:***@h/db, whose password is hidden, with "
    assert known in lines[0]
    assert "$DNNTUNE_TRACKING_URI set to http://me:***@h" in lines[0]
    assert "  dnntune best s --workspace w > best.yaml    # the best configuration" in lines
    assert serving_command("m", workspace.tracking_url).startswith(
        'MLFLOW_TRACKING_URI="$DNNTUNE_TRACKING_URI" mlflow '
    )


def test_the_same_command_is_what_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()

    @app.command(name="run")
    @grouped
    def run(
        space: SpaceArgument,
        *,
        overrides: Overrides,
        compute: LocalCompute,
        workspace: StudyWorkspace,
        top: Annotated[int, typer.Option()] = 3,
    ) -> None:
        del space, overrides, compute, workspace, top
        typer.echo(this_command())

    def said(*arguments: str) -> str:
        return CliRunner().invoke(app, arguments, prog_name="run").stdout.strip()

    assert said("x", "--set", "a=[1, 2]", "--set", "b=2", "--workers", "1") == (
        "dnntune run x --set 'a=[1, 2]' --set b=2 --workers 1"
    )
    assert said("a$(touch X);b.yaml", "--workspace", "w w") == "dnntune run 'a$(touch X);b.yaml' --workspace 'w w'"
    assert said("x", "--storage", "postgresql://me:mark-typed@h", "--top=4") == "dnntune run x --top 4"
    assert said("x", "--storage", "sqlite:///a b") == "dnntune run x --storage 'sqlite:///a b'"
    monkeypatch.setenv("DNNTUNE_STORAGE", "postgresql://me:mark-typed@h")
    assert said("--", "-x") == "dnntune run -- -x"


def test_what_was_interrupted_before_its_first_trial_is_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.cli.running.this_command", lambda: "the same")
    none = dict.fromkeys(TRIALS, 0)
    assert resume_command(summary(trials=none, best=None), Workspace(), Compute()) == "the same"


def test_ctrl_c_prints_a_command_that_goes_on_with_the_same_study(
    shell: Shell, cli: Cli, tmp_path: Path, workspace: Path
) -> None:
    file = tmp_path / "a$(touch X);b.yaml"
    file.write_text(SMALL_SPACE.replace("epochs: 4", "epochs: 800").replace("trials: 6", "trials: 30"))
    arguments = [str(file), "--study", "cc", "--trials", "3", "--workers", "1", "--threads", "1", "--workspace", "runs"]
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline", "run", *arguments, "--set", "early_stopping.patience=null"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("[1/3]"):
                process.send_signal(signal.SIGINT)
    assert process.returncode in (0, 130), lines  # 0: the third trial had ended before the signal came
    again = [line for line in lines if "# resume" in line]
    assert again == ["  dnntune resume cc --threads 1    # resume: 2 trials are left\n"]
    done = shell(again[0])
    assert done.returncode == 0, done.stderr
    study = load_study(open_storage(Workspace(workspace).storage_url), "cc")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3
    assert not (tmp_path / "X").exists()
    more = cli("resume", "cc", "--trials", 4, "--workers", 1, "--threads", 1, cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    assert len(load_study(open_storage(Workspace(workspace).storage_url), "cc").trials) == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--trials 0", "--trials must be greater than 0; got 0"),
        ("--timeout -1", "--timeout must be greater than 0; got -1.0"),
        ("--trials 3 --ray-address x", "needs --launcher ray"),
    ],
)
def test_resume_refuses_what_run_does(finished: dict[str, object], cli: Cli, options: str, said: str) -> None:
    done = cli("resume", "small", "--workspace", finished["workspace"], *options.split())
    assert done.returncode == 2
    assert said in done.stderr


def test_resume_needs_a_study(cli: Cli, finished: dict[str, object]) -> None:
    done = cli("resume", "smal", "--workspace", finished["workspace"])
    assert done.returncode == 2
    assert "no study named smal in this storage. Did you mean small?" in done.stderr
