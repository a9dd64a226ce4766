"""A trial with folds in MLflow: one run, its folds the steps of metrics of their own."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.core.workspace import Workspace
from pipeline.records.events import EpochEnded, TrialStarted
from pipeline.records.folds import by_fold, fold_result, mean_epochs
from pipeline.records.results import EpochResult, TrialResult, curves_of
from pipeline.tracking.expected_run import differences, fold_points
from pipeline.tracking.log_writer import LogWriter
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.store import open_experiment
from tests.tracking.logs import CONFIG, record, runs_of

EPOCHS = [
    EpochResult(number, 1.0, 0.5, 0.5 / fold, 0.1 * fold * number, 0.01, 1.0, 0.0, 9.0, 1.0, True, ended=1e3, fold=fold)
    for fold in (1, 2, 3)
    for number in (1, 2)
]
FOLDS = tuple(fold_result(fold, "valid_accuracy") for fold in by_fold(EPOCHS))
FOLDED = record(
    0,
    result=TrialResult("complete", 0.4, 6, 2, 0.4, 0.3, 99, 9.0, 5.0, folds=FOLDS),
    curves=curves_of(mean_epochs(EPOCHS)),
)


def history(mirror: Mirror, name: str, trial: int = 0) -> list[tuple[int, float]]:
    run = runs_of(mirror)[trial].info.run_id
    return sorted((point.step, round(point.value, 6)) for point in mirror.client.get_metric_history(run, name))


def test_folds_are_steps_and_epochs_are_means(mirror: Mirror, beside: Mirror) -> None:
    mirror.write(FOLDED)
    assert history(mirror, "fold/valid_accuracy") == [(1, 0.2), (2, 0.4), (3, 0.6)]
    assert history(mirror, "fold/epochs") == [(1, 2.0), (2, 2.0), (3, 2.0)]
    assert history(mirror, "valid_accuracy") == [(1, 0.2), (2, 0.4)]
    run = runs_of(mirror)[0]
    assert round(run.data.metrics["objective_std"], 6) == 0.2
    assert differences(mirror.expected(FOLDED), run) == []
    beside.look()
    beside.write(FOLDED)
    assert len(history(mirror, "fold/valid_loss")) == 3


def test_a_trial_that_takes_over_a_result_had_no_folds_of_its_own(mirror: Mirror) -> None:
    assert FOLDED.result is not None
    taken = replace(FOLDED, result=replace(FOLDED.result, duplicate_of=7), curves={})
    mirror.write(taken)
    assert history(mirror, "fold/valid_accuracy") == []
    assert "objective_std" in runs_of(mirror)[0].data.metrics


def test_a_fold_that_is_done_is_shown_while_the_trial_runs(mirror: Mirror) -> None:
    mirror.begin_live(record(0, None))
    mirror.log_live(0, fold_points(FOLDS[:2]), epoch=0)
    mirror.log_live(0, fold_points(FOLDS[2:], 3), epoch=0)
    assert history(mirror, "fold/valid_accuracy") == [(1, 0.2), (2, 0.4), (3, 0.6)]
    mirror.write(FOLDED)
    assert len(history(mirror, "fold/valid_accuracy")) == 3
    assert history(mirror, "valid_accuracy") == [(1, 0.2), (2, 0.4)]


def test_a_watched_trial_sends_the_folds_that_are_done(finished: dict[str, Any], tmp_path: Path) -> None:
    """And no epochs: how far its mean curves go, and what they are, is known at its end."""
    copy = Path(shutil.copytree(finished["workspace"], tmp_path / "elsewhere" / "runs"))
    writer = LogWriter(Workspace(copy), "small", open_experiment(Workspace(copy)), alive=True)
    writer.hear(TrialStarted(6, {}, CONFIG, 1000.0))
    for epoch in EPOCHS[:5]:
        writer.hear(EpochEnded(6, epoch))
    writer.flush(6)
    assert history(writer.mirror, "fold/valid_accuracy", 6) == [(1, 0.2), (2, 0.4)]
    writer.hear(EpochEnded(6, EPOCHS[5]))
    writer.stop_hearing()
    assert history(writer.mirror, "fold/valid_accuracy", 6) == [(1, 0.2), (2, 0.4)]
    assert history(writer.mirror, "valid_accuracy", 6) == []
