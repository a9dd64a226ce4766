"""Which of a study's trials are worth looking at where it has several metrics."""

import optuna
from optuna.trial import FrozenTrial

from pipeline.config.metrics import direction
from pipeline.core.errors import StudyError
from pipeline.study.studies import metrics_of
from pipeline.study.trials import best_trials, losses, rank, result_of

# A figure by which a trial can be preferred in any study, besides the study's metrics.
ALWAYS_KNOWN = "num_parameters"
# 0.9 - 0.895 is a little more than 0.005.
ROUNDING = 1e-9


def pareto_front(study: optuna.Study) -> list[FrozenTrial]:
    """Returns the complete trials that no other one dominates, best first by the first metric.

    One dominates another if it is at least as good in every metric and better in one: Deb et al., A fast and elitist
    multiobjective genetic algorithm: NSGA-II, 2002. Of equals all are on the front.
    """
    front: list[FrozenTrial] = []
    # Sorted so, none is dominated by a later one, and whoever is dominated at all is so by one of the front.
    for trial in best_trials(study):
        if not any(_dominates(losses(study, better), losses(study, trial)) for better in front):
            front.append(trial)
    return front


def _dominates(ours: tuple[float, ...], theirs: tuple[float, ...]) -> bool:
    return ours != theirs and all(our <= their for our, their in zip(ours, theirs, strict=True))


def preferred_trial(study: optuna.Study, *, within: float, prefer: str) -> FrozenTrial:
    """Returns, of the trials that are nearly the best by the first metric, the best one by another figure.

    Args:
        study: The study.
        within: How much worse than the best they may be, in the first metric's unit.
        prefer: Which figure: one of the study's metrics, or `ALWAYS_KNOWN`.

    Raises:
        StudyError: The study's trials do not have the figure, or none is complete.
    """
    known = list(dict.fromkeys([*metrics_of(study), ALWAYS_KNOWN]))
    if prefer not in known:
        raise StudyError(
            f"--prefer names a figure that the trials have: study {study.study_name} has {', '.join(known)}; got "
            f"{prefer}. Take one of these, or name another one in study.metrics of a new study"
        )
    trials = best_trials(study)
    if not trials:
        raise StudyError(f"study {study.study_name} has no complete trial yet")
    limit = losses(study, trials[0])[0] + within + ROUNDING
    near = [trial for trial in trials if losses(study, trial)[0] <= limit]
    sign = -1.0 if direction(prefer) == "maximize" else 1.0
    return min(near, key=lambda trial: (sign * trial_metric(trial, prefer), rank(study, trial)))


def trial_metric(trial: FrozenTrial, name: str) -> float:
    """Returns what a complete trial came to in one of its study's metrics or in `ALWAYS_KNOWN`."""
    result = result_of(trial)
    assert result is not None
    value = result.metric_value(name)
    assert value is not None
    return value
