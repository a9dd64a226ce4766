"""One trial: draw a configuration, train it, report every epoch, prune it if it is bad."""

import statistics
import time
import traceback
from collections.abc import Callable

import optuna

from pipeline.config import TrialConfig
from pipeline.data.image_data import ImageData
from pipeline.models import num_parameters
from pipeline.records import EpochEnded, EpochResult, Event, Outcome, TrialEnded, TrialResult, TrialStarted
from pipeline.study.task import SupervisorGoneError
from pipeline.study.trials import finish, result_of, twin_of
from pipeline.training import start
from pipeline.training.loop import DivergedError
from pipeline.training_config import Monitor

Sample = Callable[[optuna.Trial], TrialConfig]


class _InterruptedError(Exception):
    """The study is being stopped."""


def run_trial(
    study: optuna.Study,
    *,
    sample: Sample,
    metric: Monitor,
    load: Callable[[TrialConfig], ImageData],
    emit: Callable[[Event], None],
    stopping: Callable[[], bool],
) -> None:
    """Runs the study's next trial and records how it ended, whatever happens in it.

    Args:
        study: The study, with its sampler and pruner.
        sample: Draws a configuration.
        metric: What the study optimizes.
        load: Returns a configuration's data.
        emit: Is told what happens.
        stopping: Whether the trial should give up; asked after every epoch.
    """
    trial = study.ask()
    started = time.time()
    plain: dict[str, object] | None = None
    epochs: list[EpochResult] = []
    num_weights: int | None = None

    def ended(outcome: Outcome, reason: str | None = None, trace: str | None = None) -> TrialResult:
        best = next((epoch for epoch in reversed(epochs) if epoch.is_best), None)
        return TrialResult(
            outcome=outcome,
            value=None if best is None else getattr(best, metric),
            epochs=len(epochs),
            best_epoch=None if best is None else best.epoch,
            best_valid_accuracy=None if best is None else best.valid_accuracy,
            best_valid_loss=None if best is None else best.valid_loss,
            num_parameters=num_weights,
            samples_per_second=statistics.median(e.samples_per_second for e in epochs) if epochs else None,
            seconds=time.time() - started,
            reason=reason,
            traceback=trace,
        )

    try:
        config = sample(trial)
        plain = config.plain()
        emit(TrialStarted(trial.number, trial.params, plain, started))
        if (twin := twin_of(study, plain)) is not None:
            result = _taken_over(twin)
        else:
            training = start(config, load(config))
            num_weights = num_parameters(training.model)
            for epoch in training.epochs:
                epochs.append(epoch)
                emit(EpochEnded(trial.number, epoch))
                trial.report(getattr(epoch, metric), epoch.epoch)
                if stopping():
                    raise _InterruptedError
                if trial.should_prune():
                    raise optuna.TrialPruned
            result = ended("complete")
    except optuna.TrialPruned:
        result = ended("pruned", f"after epoch {len(epochs)}")
    except DivergedError as error:
        result = ended("diverged", str(error))
    except (_InterruptedError, KeyboardInterrupt):
        result = ended("interrupted", f"after epoch {len(epochs)}")
    except SupervisorGoneError:
        result = ended("interrupted", "its supervisor is gone")
    except Exception as error:  # recorded as the trial's outcome; the supervisor decides whether the study goes on
        result = ended("failed", f"{type(error).__name__}: {error}", traceback.format_exc())
    finish(study, trial, plain, result)
    emit(TrialEnded(trial.number, result))


def _taken_over(twin: optuna.trial.FrozenTrial) -> TrialResult:
    """Returns the result of an earlier trial with the same configuration, as this trial's."""
    result = result_of(twin)
    assert result is not None
    fields = {**result.to_json(), "seconds": 0.0, "same_as": twin.number, "reason": f"same as trial {twin.number}"}
    return TrialResult.from_json(fields)
