"""One trial: draw a configuration, train it, report every epoch, prune it if it is bad."""

import statistics
import time
import traceback
from collections.abc import Callable

import optuna

from pipeline.config import TrialConfig
from pipeline.data.feature_cache import FeatureCache
from pipeline.data.image_data import ImageData
from pipeline.models import num_parameters
from pipeline.phase_results import backbone_figures
from pipeline.records import (
    EpochEnded,
    EpochResult,
    Event,
    LayerFlow,
    Outcome,
    TrialEnded,
    TrialResult,
    TrialStarted,
    Verdict,
)
from pipeline.study.task import SupervisorGoneError
from pipeline.study.trials import finish, result_of, twin_of
from pipeline.study_config import StudyConfig
from pipeline.training import Training, start
from pipeline.training.loop import DivergedError
from pipeline.verdict import HOPELESS, judge

Sample = Callable[[optuna.Trial], TrialConfig]


class StoppedError(Exception):
    """The study is being stopped."""


class _HopelessError(Exception):
    """The verdict on the trial's first epoch ends it."""


def run_trial(
    study: optuna.Study,
    *,
    sample: Sample,
    settings: StudyConfig,
    load: Callable[[TrialConfig], ImageData],
    emit: Callable[[Event], None],
    stopping: Callable[[], bool],
    cache: FeatureCache | None = None,
) -> None:
    """Runs the study's next trial and records how it ended, whatever happens in it.

    Args:
        study: The study, with its sampler and pruner.
        sample: Draws a configuration.
        settings: The study's settings.
        load: Returns a configuration's data.
        emit: Is told what happens.
        stopping: Whether the trial should give up; asked after every epoch.
        cache: Where the output of frozen layers is kept; None for nowhere.
    """
    trial = study.ask()
    started = time.time()
    plain: dict[str, object] | None = None
    metric = settings.metric
    epochs: list[EpochResult] = []
    flow: tuple[LayerFlow, ...] = ()
    training: Training | None = None

    def ended(
        outcome: Outcome, reason: str | None = None, trace: str | None = None, verdict: Verdict | None = None
    ) -> TrialResult:
        best = next((epoch for epoch in reversed(epochs) if epoch.is_best), None)
        return TrialResult(
            outcome=outcome,
            value=None if best is None else getattr(best, metric),
            epochs=len(epochs),
            best_epoch=None if best is None else best.epoch,
            best_valid_accuracy=None if best is None else best.valid_accuracy,
            best_valid_loss=None if best is None else best.valid_loss,
            num_parameters=None if training is None else num_parameters(training.model),
            samples_per_second=statistics.median(e.samples_per_second for e in epochs) if epochs else None,
            seconds=time.time() - started,
            reason=reason,
            traceback=trace,
            verdict=verdict or judge(flow),
            **backbone_figures(epochs, metric),
        )

    try:
        config = sample(trial)
        plain = config.plain()
        emit(TrialStarted(trial.number, trial.params, plain, started))
        if (twin := twin_of(study, plain)) is not None:
            result = _taken_over(twin)
        else:
            training = start(config, load(config), measure_every=settings.gradient_flow_steps, cache=cache)
            for epoch in training.epochs:
                epochs.append(epoch)
                flow = epoch.gradient_flow or flow
                emit(EpochEnded(trial.number, epoch))
                trial.report(getattr(epoch, metric), epoch.epoch)
                if stopping():
                    raise StoppedError
                if epoch.epoch == 1 and settings.pruner.by_verdict:
                    _end_if_hopeless(judge(flow))
                if trial.should_prune():
                    raise optuna.TrialPruned
            result = ended("complete")
    except optuna.TrialPruned:
        result = ended("pruned", f"after epoch {len(epochs)}")
    except _HopelessError as error:
        result = ended("pruned", f"after epoch 1 by its verdict: {error}")
    except DivergedError as error:
        result = ended("diverged", str(error), verdict=judge(error.gradient_flow or flow, str(error)))
    except (StoppedError, KeyboardInterrupt):
        result = ended("interrupted", f"after epoch {len(epochs)}")
    except SupervisorGoneError:
        result = ended("interrupted", "its supervisor is gone")
    except Exception as error:  # recorded as the trial's outcome; the supervisor decides whether the study goes on
        result = ended("failed", f"{type(error).__name__}: {error}", traceback.format_exc())
    finish(study, trial, plain, result)
    emit(TrialEnded(trial.number, result))


def _end_if_hopeless(verdict: Verdict | None) -> None:
    if verdict is not None and verdict.word in HOPELESS:
        raise _HopelessError(f"{verdict.word}, {verdict.text}")


def _taken_over(twin: optuna.trial.FrozenTrial) -> TrialResult:
    """Returns the result of an earlier trial with the same configuration, as this trial's."""
    result = result_of(twin)
    assert result is not None
    images = {} if result.phases is None else {"backbone_images": 0, "cached_images": 0}
    fields = {
        **result.to_json(),
        **images,
        "seconds": 0.0,
        "same_as": twin.number,
        "reason": f"same as trial {twin.number}",
    }
    return TrialResult.from_json(fields)
