"""One trial: draw a configuration, train it, report every epoch or every fold, prune it if it is bad."""

import statistics
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import optuna

from pipeline.config.metrics import Monitor
from pipeline.config.study import StudyConfig
from pipeline.config.trial import TrialConfig
from pipeline.core.errors import DiskFullError
from pipeline.core.filesystem.disk import disk_full
from pipeline.core.stores.urls import hide
from pipeline.data.feature_cache import FeatureCache
from pipeline.data.image_data import ImageData
from pipeline.records.events import EpochEnded, Event, TrialEnded, TrialStarted
from pipeline.records.folds import by_fold, fold_result, last_flow, mean_epochs
from pipeline.records.results import EpochResult, Outcome, TrialResult, curves_of
from pipeline.records.verdict import HOPELESS, judge
from pipeline.study.saved_models import SavedModels
from pipeline.study.trials import attempt_of, find_duplicate, finish, frozen_trial
from pipeline.training.checkpoint import CheckpointWriter, load_checkpoint
from pipeline.training.loop import DivergedError
from pipeline.training.start import Training, start_folds
from pipeline.workers.task import SupervisorGoneError
from pipeline.workers.trial_results import latency_ms, result_of_epochs, reused_result

Sample = Callable[[optuna.Trial], TrialConfig]

ENDED_ELSEWHERE = "another process marked it failed: its heartbeat expired"


class StoppedError(Exception):
    """The study is being stopped."""


class _PrunedError(Exception):
    """The trial is not worth its time; says why."""


def run_trial(
    study: optuna.Study,
    trial: optuna.Trial,
    *,
    sample: Sample,
    settings: StudyConfig,
    load: Callable[[TrialConfig], ImageData],
    emit: Callable[[Event], None],
    stopping: Callable[[], bool],
    cache: FeatureCache | None = None,
    checkpoints: Path | None = None,
    models: SavedModels | None = None,
) -> None:
    """Runs a trial, from its last checkpoint if it has one, and records how it ended, whatever happens in it.

    Args:
        study: The study, with its sampler and pruner.
        trial: The trial, claimed.
        sample: Draws a configuration.
        settings: The study's settings.
        load: Returns a configuration's data.
        emit: Is told what happens.
        stopping: Whether the trial should give up; asked after every epoch.
        cache: Where the output of frozen layers is kept; None for nowhere.
        checkpoints: Folder for the study's checkpoints; None for none.
        models: Where the weights of the study's best trials are kept; None for nowhere.

    Raises:
        DiskFullError: No space is left; the trial can be resumed.
    """
    started = time.time()
    config_dict: dict[str, object] | None = None
    attempt = attempt_of(trial)
    file = None if checkpoints is None else checkpoint_file(checkpoints, attempt.first_attempt)
    epochs: list[EpochResult] = []
    training: Training | None = None
    writer: CheckpointWriter | None = None
    folds_done = 0

    def ended(outcome: Outcome, reason: str | None = None) -> TrialResult:
        return result_of_epochs(
            outcome,
            reason,
            epochs,
            metric=settings.metric,
            training=training,
            seconds=time.time() - started,
            num_folds=folds_done,
        )

    def report(value: float, step: int) -> None:
        if step not in reported:
            trial.report(value, step)

    def passed(epoch: EpochResult) -> None:
        """Takes note of an epoch, this attempt's or one that a checkpoint brought."""
        epochs.append(epoch)
        emit(EpochEnded(trial.number, epoch))
        if not epoch.fold:
            report(epoch.metric_value(settings.metric), epoch.epoch)

    def fold_passed() -> None:
        """Takes note of the end of a fold: a pruner sees the mean over those that are done."""
        nonlocal folds_done
        folds_done += 1
        report(_running_mean(epochs, settings.metric), folds_done)

    try:
        reported = frozen_trial(study, trial.number).intermediate_values
        config = sample(trial)
        config_dict = config.to_dict()
        saved = None if file is None else load_checkpoint(file, config_dict)
        writer = None if file is None else CheckpointWriter(file, config_dict)
        before = () if saved is None else saved.epochs
        emit(TrialStarted(trial.number, trial.params, config_dict, started, attempt.retry, attempt.retry_of))
        if (duplicate := find_duplicate(study, config_dict)) is not None:
            result = reused_result(duplicate)
        else:
            data = load(config)
            num_folds = len(data.folds)
            for epoch in before:
                if epochs and epoch.fold != epochs[-1].fold:
                    fold_passed()
                passed(epoch)
            for training in start_folds(
                config,
                data,
                measure_every=settings.gradient_flow_steps,
                cache=cache,
                resume=saved,
                metrics=settings.metrics,
            ):
                for epoch in training.epochs:
                    passed(replace(epoch, ended=time.time(), fold=training.fold))
                    if writer is not None:
                        writer.after_epoch(training, epochs)
                    # It is asked after the last epoch, too: others are compared with what it keeps of this trial.
                    reason = _reason_to_prune(trial, settings, epochs, time.time() - started)
                    if training.is_over and training.fold == num_folds:
                        continue
                    if stopping():
                        if writer is not None:
                            writer.save(training, epochs)
                        raise StoppedError
                    if reason is not None:
                        raise _PrunedError(reason)
                if num_folds:
                    fold_passed()
                    if trial.should_prune() and folds_done < num_folds:
                        raise _PrunedError("")
                    if folds_done < num_folds:
                        training = None  # it makes room for the next fold's
            assert training is not None
            latency = latency_ms(training, data) if "latency_ms" in settings.metrics else None
            result = replace(ended("complete"), latency_ms=latency)
            if not num_folds:
                result = replace(result, valid_images=data.valid_fingerprint)
                if models is not None and result.value is not None:
                    models.save(study, trial.number, result.value, training.model)
    except _PrunedError as error:
        result = ended("pruned", f"{_after(epochs, folds_done)}{error}")
    except DivergedError as error:
        fold = 0 if training is None else training.fold
        verdict = judge(error.gradient_flow or last_flow([e for e in epochs if e.fold == fold]), str(error))
        result = replace(ended("diverged", f"fold {fold}: {error}" if fold else str(error)), verdict=verdict)
    except (StoppedError, KeyboardInterrupt):
        result = ended("interrupted", _after(epochs, folds_done))
    except SupervisorGoneError:
        result = ended("interrupted", "its supervisor died")
    except optuna.exceptions.UpdateFinishedTrialError:
        result = ended("failed", ENDED_ELSEWHERE)
    except Exception as error:  # recorded as the trial's outcome; the supervisor decides whether the study goes on
        if (full := disk_full(error, *() if checkpoints is None else (checkpoints,))) is not None:
            with suppress(DiskFullError):
                finish(study, trial, config_dict, ended("interrupted", str(full)))
            raise full from error
        reason, where = hide(f"{type(error).__name__}: {error}"), hide(traceback.format_exc())
        result = replace(ended("failed", reason), traceback=where)
    curves = curves_of(mean_epochs(epochs)) if epochs else None
    if not finish(study, trial, config_dict, result, further_metrics=settings.metrics[1:], curves=curves):
        result = replace(result, outcome="failed", reason=ENDED_ELSEWHERE)
    elif writer is not None and result.outcome != "interrupted":
        writer.remove()
    if models is not None and result.outcome == "complete":
        models.remove_others(study)
    emit(TrialEnded(trial.number, result))


def _running_mean(epochs: Sequence[EpochResult], metric: Monitor) -> float:
    """Returns the mean of a metric over the folds so far."""
    return statistics.fmean(fold_result(fold, metric).value for fold in by_fold(epochs))


def checkpoint_file(folder: Path, first_attempt: int) -> Path:
    """Returns where a configuration's checkpoint is at any attempt; ``origin`` is the number of the first."""
    return folder / f"trial-{first_attempt:04d}.pt"


def _after(epochs: Sequence[EpochResult], folds_done: int) -> str:
    """Says how far a trial has come."""
    if not epochs or not epochs[-1].fold:
        return f"after epoch {len(epochs)}"
    last = epochs[-1]
    return f"after fold {folds_done}" if last.fold == folds_done else f"in fold {last.fold}, after epoch {last.epoch}"


def _reason_to_prune(
    trial: optuna.Trial, settings: StudyConfig, epochs: Sequence[EpochResult], seconds: float
) -> str | None:
    """Returns why a trial should end after an epoch: its verdict, its time, or nothing more if the pruner wants it.

    With folds, the pruner is asked between them.
    """
    pruner_wants_it = not epochs[-1].fold and trial.should_prune()
    if epochs[-1].epoch == 1 and settings.pruner.by_verdict:
        verdict = judge(epochs[-1].gradient_flow)
        if verdict is not None and verdict.label in HOPELESS:
            return f" by its verdict: {verdict.label}, {verdict.text}"
    if settings.trial_timeout is not None and seconds >= settings.trial_timeout:
        return f": its time limit of {settings.trial_timeout:g} s has passed"
    return "" if pruner_wants_it else None
