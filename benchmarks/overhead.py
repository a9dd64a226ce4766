"""What a trial costs beyond its training: sampling, storage, pruning, MLflow, processes.

A study of small trials runs with one worker, everything switched on (TPE, median pruner, SQLite, MLflow). Then the same
configurations are trained again for as many epochs with the bare training loop, in this process. What the study took
longer, by trial, is the overhead. The processor time of the supervisor and of the process that logs to MLflow, both
beside the worker, is given too.

    python -m benchmarks.overhead --trials 200
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch

from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.core.workspace import Workspace
from pipeline.data.loading import load_data
from pipeline.records.events import Event, TrialEnded, TrialStarted
from pipeline.space.files import load_space
from pipeline.space.overrides import Override
from pipeline.training.start import start
from pipeline.workers.run import run_study

SETTINGS = ["data.max_train_images=256", "epochs=10", "early_stopping.patience=6"]


class Clock:
    """Notes when trials start and end, and the supervisor's processor time."""

    def __init__(self) -> None:
        self.configs: dict[int, dict[str, object]] = {}
        self.epochs: dict[int, int] = {}
        self.ends: list[float] = []
        self.began = 0.0
        self.cpu_began = 0.0

    def begin(self, *_: str, **__: object) -> None:
        """The first trial is about to be given out."""
        self.began, self.cpu_began = time.perf_counter(), _cpu_seconds()

    def event(self, event: Event) -> None:
        """A trial has started or ended."""
        if isinstance(event, TrialStarted):
            self.configs[event.number] = event.config
        elif isinstance(event, TrialEnded):
            self.epochs[event.number] = 0 if event.result.duplicate_of is not None else event.result.epochs
            self.ends.append(time.perf_counter())

    def tick(self) -> None:
        """Nothing to do."""


def _cpu_seconds(who: int = resource.RUSAGE_SELF) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def bare_seconds(clock: Clock) -> list[float]:
    """Returns how long each trial's training takes by itself, in the order of the trials."""
    torch.set_num_threads(1)
    configs = {number: TrialConfig.model_validate(config) for number, config in sorted(clock.configs.items())}
    data = load_data(configs[0].data)
    seconds = []
    for number, config in configs.items():
        began = time.perf_counter()
        for _ in islice(start(config, data).epochs, clock.epochs[number]):
            pass
        seconds.append(time.perf_counter() - began)
    return seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    trials = parser.parse_args(arguments).trials
    overrides = [*map(Override.parse, SETTINGS), Override("study.trials", str(trials), "--trials")]
    file = load_space("digits_mlp", overrides)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        summary = run_study(
            file.space,
            file.study,
            name="overhead",
            workspace=Workspace(Path(folder)),
            compute=Compute(threads=1, device="cpu"),
            observer=clock,
        )
        cpu, last_to_end = _cpu_seconds() - clock.cpu_began, time.perf_counter() - clock.ends[-1]
    walls = [later - earlier for earlier, later in zip([clock.began, *clock.ends], clock.ends, strict=False)]
    bare = bare_seconds(clock)
    extra = [1000 * (wall - alone) for wall, alone in zip(walls, bare, strict=True)]
    last = extra[-min(50, trials) :]
    print(f"{trials} trials, {sum(clock.epochs.values()) / trials:.1f} epochs each on average")
    print(f"training alone, median: {1000 * statistics.median(bare):.1f} ms a trial")
    for which, values in ((f"all {trials}", extra), (f"last {len(last)}", last)):
        figures = f"mean {statistics.fmean(values):.1f} ms, median {statistics.median(values):.1f} ms a trial"
        print(f"overhead, {which}: {figures}")
    # Its children are the log's process and the fork server, not the workers.
    children = _cpu_seconds(resource.RUSAGE_CHILDREN)
    print(f"supervisor: {1000 * cpu / trials:.1f} ms of processor time a trial")
    print(f"the process that logs, its start included: {1000 * children / trials:.1f} ms of processor time a trial")
    print(f"from the last trial's end to the study's: {last_to_end:.1f} s; not logged: {summary.tracking_error}")


if __name__ == "__main__":
    main()
