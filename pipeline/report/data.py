"""All that a report says of a study, gathered in plain values."""

from dataclasses import dataclass

import optuna

from pipeline.analysis.importance import Importance, importances
from pipeline.core.errors import StudyError
from pipeline.figures.values import Axis, PlottedTrial
from pipeline.records.classes import UNKNOWN_CLASSES, ClassCounts
from pipeline.records.final import Final
from pipeline.records.results import COUNTED, DATA_TYPE, Outcome
from pipeline.report.spending import Spending, spending
from pipeline.report.trials import Failure, axes_of, failures, plotted_trials
from pipeline.study.attributes import DATA, IS_CASES
from pipeline.study.leaderboard import Entry, differences, leaderboard
from pipeline.study.pareto_front import pareto_front
from pipeline.study.studies import metrics_of
from pipeline.study.trials import best_trials, count_outcomes

LEADERS = 10


@dataclass(frozen=True)
class ReportData:
    """What is known of a study.

    Attributes:
        study: Its name.
        compares_cases: Whether it compares named cases instead of searching.
        metrics: What it optimizes, the metric first by which trials are ranked.
        maximizes: For each metric, whether larger is better.
        trials: The trials that have ended, by number.
        num_open: Trials that run or wait.
        outcomes: Number of trials by outcome.
        ranked: The complete trials, best first; without those that took over another one's result.
        pareto_front: Numbers of the trials that no other one beats in all metrics.
        axes: The settings that are searched.
        importances: What mattered; empty if that cannot be told.
        no_importances: Why it cannot.
        leaders: The first of the leaderboard.
        differences: What differs between them: for each one, words by block.
        failures: Trials that came to nothing.
        spent: Where the time went.
        final: The final result, if there is one.
        classes: How many images there are of each class.
    """

    study: str
    compares_cases: bool
    metrics: tuple[str, ...]
    maximizes: tuple[bool, ...]
    trials: tuple[PlottedTrial, ...]
    num_open: int
    outcomes: dict[Outcome, int]
    ranked: tuple[PlottedTrial, ...]
    pareto_front: frozenset[int]
    axes: tuple[Axis, ...]
    importances: tuple[Importance, ...]
    no_importances: str
    leaders: tuple[Entry, ...]
    differences: tuple[dict[str, str], ...]
    failures: tuple[Failure, ...]
    spent: Spending
    final: Final | None
    classes: ClassCounts

    @property
    def best(self) -> PlottedTrial | None:
        """The best trial; None if none is complete."""
        return self.ranked[0] if self.ranked else None

    @property
    def worst(self) -> PlottedTrial | None:
        """The worst trial that has a value, one that diverged before all others; None if it is the best one, too."""
        valued = [trial for trial in self.trials if trial.value is not None and trial.outcome in COUNTED]
        sign = 1.0 if self.maximizes[0] else -1.0
        worst = min(valued, key=lambda trial: (trial.outcome != "diverged", sign * (trial.value or 0.0)), default=None)
        return None if worst == self.best else worst


def report_data(study: optuna.Study, final: Final | None) -> ReportData:
    """Returns what is known of a study.

    Raises:
        StudyError: It was not made by dnntune.
    """
    metrics = metrics_of(study)
    if not metrics:
        raise StudyError(f"study {study.study_name} was not made by dnntune. Create one with dnntune run")
    trials = study.get_trials(deepcopy=False)
    plotted = {trial.number: trial for trial in plotted_trials(study)}
    mattered, why_not = _importances(study)
    leaders = leaderboard(study, LEADERS)
    return ReportData(
        study=study.study_name,
        compares_cases=study.user_attrs[IS_CASES],
        metrics=metrics,
        maximizes=tuple(one == optuna.study.StudyDirection.MAXIMIZE for one in study.directions),
        trials=tuple(plotted.values()),
        num_open=sum(not trial.state.is_finished() for trial in trials),
        outcomes=count_outcomes(trials),
        ranked=tuple(plotted[trial.number] for trial in best_trials(study)),
        pareto_front=frozenset(trial.number for trial in pareto_front(study)) if len(metrics) > 1 else frozenset(),
        axes=tuple(axes_of(study)),
        importances=tuple(mattered),
        no_importances=why_not,
        leaders=tuple(leaders),
        differences=tuple(differences(leaders)),
        failures=tuple(failures(study)),
        spent=spending(trials),
        final=final,
        classes=_classes(study),
    )


def _classes(study: optuna.Study) -> ClassCounts:
    """Returns the classes of a study's data; none before it has loaded them."""
    data = study.user_attrs.get(DATA)
    return UNKNOWN_CLASSES if data is None else DATA_TYPE.validate_python(data).classes


def _importances(study: optuna.Study) -> tuple[list[Importance], str]:
    """Returns the importances, or none and why there are none."""
    try:
        return importances(study), ""
    except StudyError as error:
        reason = str(error)
        return [], f"{reason[0].upper()}{reason[1:]}."
