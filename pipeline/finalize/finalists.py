"""A study's best configurations, trained again over seeds that it has not used: tuning picks lucky seeds."""

import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import optuna

from pipeline.config.metrics import Monitor, direction, metric_row
from pipeline.config.trial import TrialConfig
from pipeline.core.commands import command
from pipeline.core.errors import StudyError
from pipeline.core.names import numbered
from pipeline.core.workspace import Workspace
from pipeline.evaluation.intervals import mean_interval
from pipeline.evaluation.predictor import SavedModel
from pipeline.records.final import Finalist
from pipeline.storage.open import study_names
from pipeline.study.attributes import CONFIG, METRICS, SPACE
from pipeline.study.cases import Cases, trials_by_case
from pipeline.study.leaderboard import Entry, leaderboard
from pipeline.study.saved_models import SavedModels
from pipeline.study.studies import load_study
from pipeline.study.trials import best_trials, result_of


def best_entries(study: optuna.Study, top: int) -> list[Entry]:
    """Returns a study's best trials.

    Raises:
        StudyError: None is complete, or it was not made by dnntune.
    """
    if METRICS not in study.user_attrs:
        raise StudyError(
            f"study {study.study_name} was not made by dnntune. Create one with dnntune run, in this storage"
        )
    if not (entries := leaderboard(study, top)):
        raise StudyError(f"study {study.study_name} has no complete trial yet. Run more with --trials, or prune fewer")
    return entries


def refuse_folds(study: str, config: TrialConfig) -> None:
    """Refuses a configuration whose trainings have no single model.

    Raises:
        StudyError: It trains in folds.
    """
    if (folds := config.data.num_folds) > 1:
        raise StudyError(
            f"a trial of study {study} is {folds} trainings (data.folds: {folds}), and leaves no single model. Train "
            f"one of its best configuration: {command('best', study)} > best.yaml, and dnntune train best.yaml --set "
            "data.folds=1 --export DIR"
        )


def cases_of(entries: Sequence[Entry], num_seeds: int) -> Cases:
    """Returns the trainings to run: each configuration with the seeds after its own."""
    configs = {case_name(entry.number): TrialConfig.model_validate(entry.config) for entry in entries}
    fresh = {name: config.replaced({"seed": config.seed + 1}) for name, config in configs.items()}
    return Cases(fresh, num_seeds)


def case_name(trial: int) -> str:
    """Returns what a trial of the study is called among the finalists."""
    return f"trial {trial}"


def finals_name(storage: optuna.storages.BaseStorage, study: str, cases: Cases) -> str:
    """Returns the name of the study that trains the finalists: an earlier one's, if it had the same.

    Args:
        storage: Where it is kept.
        study: The study whose finalists they are.
        cases: The finalists.
    """
    taken = study_names(storage)
    for name in finals_names(study):
        if name not in taken or load_study(storage, name).user_attrs.get(SPACE) == cases.definition:
            return name
    raise AssertionError("there are always more names")


def finals_names(study: str) -> Iterator[str]:
    """Yields what the studies that train a study's finalists are called, in the order in which they are made."""
    return numbered(f"{study}-final")


def finalists(study: optuna.Study, entries: Sequence[Entry], finals: optuna.Study) -> list[Finalist]:
    """Returns how the finalists did, the best mean first; those without a complete training last.

    Args:
        study: The study.
        entries: Its best trials.
        finals: The study that has trained them again.
    """
    metric: Monitor = study.user_attrs[METRICS][0]
    sign = -1.0 if direction(metric) == "maximize" else 1.0
    trained = trials_by_case(finals)

    def finalist(entry: Entry) -> Finalist:
        trials = trained.get(case_name(entry.number), {})
        complete = {seed: trial.values[0] for seed, trial in sorted(trials.items()) if trial.values is not None}
        values = list(complete.values())
        row = metric_row(metric)
        bounds = (-math.inf if row.low is None else row.low, math.inf if row.high is None else row.high)
        mean = statistics.fmean(values) if values else None
        return Finalist(entry.number, entry.value, complete, mean, mean_interval(values, bounds), entry.config)

    found = [finalist(entry) for entry in entries]
    return sorted(found, key=lambda f: (f.mean is None, sign * (f.mean or 0.0), f.trial))


def best_seed(finalist: Finalist, metric: Monitor) -> int:
    """Returns the seed with the best value, the smallest of equals."""
    sign = -1.0 if direction(metric) == "maximize" else 1.0
    return min(finalist.values, key=lambda seed: (sign * finalist.values[seed], seed))


def saved_finalists(finals: optuna.Study, workspace: Workspace) -> dict[tuple[int, int], SavedModel]:
    """Returns the finalists' models: by number of the study's trial and seed.

    Raises:
        StudyError: Their weights are not in this workspace.
    """
    folder = SavedModels(workspace.models(finals.study_name), 0)
    found = {}
    for case, trials in trials_by_case(finals).items():
        number = int(case.split()[-1])
        for seed, trial in trials.items():
            if trial.values is not None:
                name = f"trial {number}, seed {seed}"
                file = weights_file(folder.file(result_number(trial)), finals.study_name)
                found[number, seed] = _saved_model(name, trial, file)
    return found


def saved_trials(study: optuna.Study, workspace: Workspace) -> list[SavedModel]:
    """Returns the models that the study itself has kept, the best first; those of other workspaces are left out."""
    folder = SavedModels(workspace.models(study.study_name), 0)
    return [
        _saved_model(f"trial {trial.number}", trial, file)
        for trial in best_trials(study)
        if (file := folder.file(trial.number)).exists()
    ]


def _saved_model(name: str, trial: optuna.trial.FrozenTrial, file: Path) -> SavedModel:
    result = result_of(trial)
    assert result is not None
    return SavedModel(name, TrialConfig.model_validate(trial.user_attrs[CONFIG]), file, result.valid_images)


def result_number(trial: optuna.trial.FrozenTrial) -> int:
    """Returns the number of the trial that was really trained: another one's, if its result was taken over."""
    result = result_of(trial)
    return trial.number if result is None or result.duplicate_of is None else result.duplicate_of


def weights_file(file: Path, study: str) -> Path:
    """Returns a file of weights.

    Raises:
        StudyError: It is not there.
    """
    if not file.exists():
        raise StudyError(
            f"the weights of study {study}'s trials must be in this workspace; {file} does not exist. They are saved "
            "where a trial runs: use the workspace of its workers, or a shared one"
        )
    return file
