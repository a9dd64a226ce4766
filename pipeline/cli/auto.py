"""Commands that decide by themselves: init writes a space file for your data, auto also runs it to a model."""

import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.groups import group, grouped
from pipeline.cli.options import StudyNameOption, WholeWorkspace, app, compute_of
from pipeline.core.compute import Compute
from pipeline.core.errors import DnntuneError
from pipeline.core.names import broken_rule, fitting
from pipeline.core.printing import print_line
from pipeline.core.processes.machine import has_no_gpu
from pipeline.core.workspace import Workspace

if TYPE_CHECKING:
    from pipeline.planning.plan import Plan
    from pipeline.space.files import SpaceFile

_TIME = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
# More trainings at once than this share the memory of one machine badly.
MOST_WORKERS = 4
SHORTEST_SECONDS = 60.0


def _seconds(text: str) -> float:
    """Reads a time such as 30m or 1h30m.

    Raises:
        DnntuneError: It is none, or too short for a study.
    """
    found = _TIME.fullmatch(text.strip()) if text.strip() else None
    if found is None:
        raise DnntuneError(f"--time must be hours, minutes and seconds, such as 30m or 1h30m; got {text}")
    hours, minutes, seconds = (float(number or 0) for number in found.groups())
    if (total := 3600 * hours + 60 * minutes + seconds) < SHORTEST_SECONDS:
        raise DnntuneError(f"--time must be at least {SHORTEST_SECONDS:.0f}s; got {text}. Give it a few minutes")
    return total


SourceArgument = Annotated[
    str,
    typer.Argument(metavar="DATA", help="A folder with CLASS/*.jpg, an .npz file, or a built-in data set."),
]
TimeOption = Annotated[str, typer.Option("--time", metavar="TIME", help="Time for everything, such as 30m or 1h30m.")]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, help="Trials at once; default: as many as there are cores, 4 at most; 1 on a GPU.")
]
DeviceOnly = Annotated[Compute, group(compute_of, "device")]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="The space file; default: the data's name, .yaml.")
]


@app.command()
@grouped
def auto(
    data: SourceArgument,
    duration: TimeOption = "30m",
    study: StudyNameOption = None,
    workers: WorkersOption = None,
    *,
    device: DeviceOnly,
    workspace: WholeWorkspace,
) -> None:
    """Get from data to a model: decide what to search, search, test, export and report, within a time."""
    seconds, compute = _seconds(duration), _compute(workers, device.device)
    ends = time.monotonic() + seconds
    from pipeline.core.filesystem.folders import use_workspace
    from pipeline.display.plan_text import result_lines
    from pipeline.display.progress import StudyProgress
    from pipeline.planning.auto import run_plan
    from pipeline.space.files import load_space

    path = Path(f"{study or _name(data)}.yaml")
    use_workspace(workspace.root)
    if path.exists():
        print_line(f"{path} exists, and is used as it is; remove it for a new plan", err=True)
    else:
        _write(_planned(data, seconds, path, workspace, compute), path)
    file = load_space(str(path.resolve()))
    for notice in file.notices:
        print_line(notice, err=True)
    result = run_plan(
        file,
        ends=ends,
        workspace=workspace,
        compute=compute,
        open_observer=StudyProgress,
        notify=lambda line: print_line(line, err=True),
    )
    for line in result_lines(result, workspace):
        print_line(line)
    if result.final is None:
        raise typer.Exit(130)


@app.command()
@grouped
def init(
    data: SourceArgument,
    duration: TimeOption = "30m",
    out: OutOption = None,
    workers: WorkersOption = None,
    *,
    device: DeviceOnly,
    workspace: WholeWorkspace,
) -> None:
    """Write a space file for your data, to edit and to run."""
    seconds, compute = _seconds(duration), _compute(workers, device.device)
    path = out or Path(f"{_name(data)}.yaml")
    if path.exists():
        raise DnntuneError(f"{path} exists already. Name another file with --out, or remove it")
    from pipeline.core.commands import command
    from pipeline.core.filesystem.folders import use_workspace

    use_workspace(workspace.root)
    _write(_planned(data, seconds, path, workspace, compute), path)
    print_line(f"  {command('run', path, workers=compute.workers)}    # runs it", err=True)


def _name(data: str) -> str:
    """Returns what a data set is called: its folder's or file's name."""
    name = fitting(re.sub(r"[^\w.-]+", "-", Path(data).expanduser().resolve().stem).strip("-.") or "study")
    if broken_rule(name) is not None:
        raise DnntuneError(f"{data}: no study can be called as it is. Name one with --study NAME")
    return name


def _compute(workers: int | None, device: str) -> Compute:
    cores = len(os.sched_getaffinity(0))
    has_one_place = device.startswith("cuda") or (device == "auto" and not has_no_gpu())
    return Compute(device=device, workers=workers or (1 if has_one_place else min(cores, MOST_WORKERS)))


def _planned(data: str, seconds: float, path: Path, workspace: Workspace, compute: Compute) -> "Plan":
    """Looks at the data, times an epoch, and says what it has decided."""
    from pipeline.display.plan_text import facts_lines, plan_lines
    from pipeline.planning.auto import time_epoch
    from pipeline.planning.facts import look
    from pipeline.planning.plan import fitted, make_plan, with_perceptron

    facts = look(data, data_dir=workspace.data_dir)
    for line in facts_lines(facts):
        print_line(line, err=True)
    made = make_plan(facts, seconds=seconds, workers=compute.workers)
    print_line("timing an epoch ...", err=True)
    threads = max(1, len(os.sched_getaffinity(0)) // compute.workers)
    alone = replace(compute, workers=1, threads=threads)
    plan = fitted(made, time_epoch(_read(made, path), workspace, alone))
    if plan.network == "cnn" and plan.max_train_images is not None:
        made = with_perceptron(made)
        plan = fitted(made, time_epoch(_read(made, path), workspace, alone))
    for line in plan_lines(plan):
        print_line(line, err=True)
    return plan


def _read(plan: "Plan", path: Path) -> "SpaceFile":
    from pipeline.space.files import read_space
    from pipeline.space.yaml_text import dump, parse

    return read_space(parse(dump(plan.space()), str(path)), path.stem)


def _write(plan: "Plan", path: Path) -> None:
    from pipeline.core.filesystem.files import write_whole
    from pipeline.display.plan_text import facts_lines, plan_lines
    from pipeline.planning.plan import relative_to
    from pipeline.space.yaml_text import dump

    head = [*facts_lines(plan.facts), *plan_lines(plan)]
    text = "".join(f"# {line}\n" for line in head) + dump(relative_to(plan.space(), path.resolve().parent))
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise DnntuneError(f"{path}: cannot be written: {error.strerror}. Run this in another folder") from None
    print_line(f"the plan is in {path}: edit it, and run the same command again", err=True)
