"""From a space file to a model at work within a time: study, finalize, report, export."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import optuna

from pipeline.core.compute import Compute
from pipeline.core.errors import StudyError
from pipeline.core.workspace import Workspace
from pipeline.planning.plan import finals
from pipeline.records.final import Final
from pipeline.space.files import SpaceFile
from pipeline.storage.open import quiet_optuna
from pipeline.workers.session import StudyObserver

# Opens, for a metric, what is told of trials and epochs.
OpenObserver = Callable[[str], AbstractContextManager[StudyObserver]]
# An export is compared with the trained model on so many images.
CHECKED_IMAGES = 512
# What testing, the report and the export take about.
END_SECONDS = 15.0
# The second epoch is timed: the first one warms up, and fills the cache of frozen features.
TIMED_EPOCHS = 2


@dataclass(frozen=True)
class AutoResult:
    """What came of it.

    Attributes:
        study: The study's name.
        export: Folder of the exported model.
        report: The report's file.
        final: What the model is worth; None if the run was interrupted before that was measured.
    """

    study: str
    export: Path
    report: Path
    final: Final | None


def time_epoch(file: SpaceFile, workspace: Workspace, compute: Compute) -> float:
    """Trains the first baseline for a moment, in this process; returns the seconds that an epoch of it takes.

    Args:
        file: The space.
        workspace: Where features of frozen layers are kept.
        compute: What it runs on.

    Raises:
        DnntuneError: The data, the model or the device cannot be used.
    """
    from pipeline.data.feature_cache import FeatureCache
    from pipeline.setup.inputs import Inputs
    from pipeline.training.start import start

    quiet_optuna()
    first = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    first.enqueue_trial(dict(file.study.baselines[0]))
    config = file.space.sample(first.ask())
    data = Inputs(compute, data_dir=workspace.data_dir).data(config)
    training = start(config, data, cache=FeatureCache(workspace.feature_cache))
    seconds = 0.0
    for _ in range(min(TIMED_EPOCHS, config.epochs)):
        begun = time.monotonic()
        next(training.epochs)
        seconds = time.monotonic() - begun
    training.epochs.close()
    return seconds


def run_plan(
    file: SpaceFile,
    *,
    ends: float,
    workspace: Workspace,
    compute: Compute,
    open_observer: OpenObserver,
    notify: Callable[[str], None],
) -> AutoResult:
    """Runs a study and all that follows it. After the first Ctrl-C it ends with the best model so far.

    Args:
        file: The space; its study has a timeout.
        ends: When all should be done, by the monotonic clock: it decides how much is trained after the study.
        workspace: Where it is kept.
        compute: What it runs on.
        open_observer: Opens what is told of trials and epochs.
        notify: Is told in words what happens.

    Raises:
        StudyError: Not one trial was complete in time.
        DnntuneError: See `run_study`, `finalize` and `export_all`.
    """
    from pipeline.finalize.run import FinalizeOptions, finalize
    from pipeline.workers.run import run_study

    with open_observer(file.study.metric) as observer:
        summary = run_study(
            file.space, file.study, name=file.name, workspace=workspace, compute=compute, observer=observer
        )
    if summary.best is None:
        again = "Run the same command again to go on" if summary.interrupted else "Give it more time, with --time"
        raise StudyError(f"no trial of study {file.name} is complete. {again}")
    final = None
    if not summary.interrupted:
        num_complete, trial_seconds = summary.trials["complete"], _seconds_of_best(file.name, workspace)
        left = ends - time.monotonic() - END_SECONDS
        top, seeds = finals(left, trial_seconds, compute.workers, num_complete)
        which = "the best configuration" if top == 1 else f"the best {top} configurations"
        notify(f"training {which} again with {seeds} new seed{'s' if seeds > 1 else ''}")
        with open_observer(file.study.metric) as observer:
            done = finalize(
                file.name,
                workspace=workspace,
                options=FinalizeOptions(top, seeds),
                compute=compute,
                observer=observer,
                notify=notify,
            )
        final = done.final
    return _written(file.name, final, workspace, compute)


def _seconds_of_best(study: str, workspace: Workspace) -> float:
    from pipeline.finalize.finalists import best_entries
    from pipeline.study.studies import open_study

    return best_entries(open_study(workspace, study), 1)[0].result.seconds


def _written(study: str, final: Final | None, workspace: Workspace, compute: Compute) -> AutoResult:
    """Writes the report and the export; an earlier run's are replaced."""
    from pipeline.evaluation.predictor import Predictor
    from pipeline.finalize.study_export import export_all, study_model
    from pipeline.report.page import write_report

    report = write_report(workspace, study, None)
    folder = workspace.root / "exports" / study
    folder.parent.mkdir(parents=True, exist_ok=True)
    predictor = Predictor(Compute(device=compute.device), data_dir=workspace.data_dir)
    export_all({folder: study_model(study, workspace)}, predictor=predictor, num_checked=CHECKED_IMAGES, overwrite=True)
    return AutoResult(study, folder, report, final)
