"""Trials without any training, through what a worker does with the storage for each of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.storages import BaseStorage, InMemoryStorage

from pipeline.config.study import StudyConfig
from pipeline.records.results import TrialResult
from pipeline.search.pruners import build_pruner
from pipeline.search.samplers import build_sampler
from pipeline.storage.open import RecentTrials, open_storage, quiet_optuna
from pipeline.study.attributes import TOTAL
from pipeline.study.claims import NoClaim, claim_trial
from pipeline.study.trials import FINISHED, finish

# Equal reports: the median pruner does its work, and no trial is cut short by it.
REPORTED = 0.5
# With so many trials TPE models them.
WARM_UP = 20


def draw(trial: optuna.Trial) -> dict[str, Any]:
    """Draws five parameters of all kinds."""
    return {
        "lr": trial.suggest_float("lr", 1e-4, 1e-1, log=True),
        "momentum": trial.suggest_float("momentum", 0.0, 0.99),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "width": trial.suggest_int("width", 16, 128, log=True),
        "activation": trial.suggest_categorical("activation", ["relu", "elu", "selu", "tanh"]),
    }


def value_of(params: dict[str, Any]) -> float:
    """Returns what is maximized, without delay."""
    return float(-((params["momentum"] - 0.9) ** 2) - (params["dropout"] - 0.2) ** 2)


def create(storage: BaseStorage, name: str, settings: StudyConfig, *, epochs: int, num_finished: int = 0) -> None:
    """Makes a study, as the supervisor does before its workers claim trials.

    Args:
        storage: Where it is kept.
        name: Its name.
        settings: How it searches.
        epochs: Reports of a trial.
        num_finished: How many of its trials have ended already.
    """
    drawing = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=settings.seed))
    finished = []
    for _ in range(num_finished):
        trial = drawing.ask()
        params = draw(trial)
        finished.append(
            optuna.trial.create_trial(
                params=params,
                distributions=trial.distributions,
                value=value_of(params),
                intermediate_values=dict.fromkeys(range(1, epochs + 1), REPORTED),
            )
        )
    study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
    study.add_trials(finished)
    study.set_user_attr(TOTAL, settings.trials)


@dataclass(frozen=True)
class Share:
    """What one worker did: when each of its trials ended (Unix time), and how many seconds it was at work."""

    ends: list[float]
    seconds: float


def prepare(url: str, name: str, settings: StudyConfig, epochs: int, seconds: float) -> Callable[[], Share]:
    """Opens a storage; returns what runs a study's trials, until none is left or a number of seconds has passed."""
    quiet_optuna()
    memory = InMemoryStorage()
    first = settings.model_copy(update={"trials": WARM_UP + 1})
    create(memory, name, first, epochs=epochs, num_finished=WARM_UP)
    _run_one(memory, name, first, epochs)  # what a process's first trial imports is not to be timed
    storage = RecentTrials(open_storage(url))

    def job() -> Share:
        ends: list[float] = []
        began = time.perf_counter()
        while time.perf_counter() - began < seconds and _run_one(storage, name, settings, epochs):
            ends.append(time.time())
        return Share(ends, time.perf_counter() - began)

    return job


def assert_num_finished(url: str, name: str, number: int) -> None:
    """Makes sure that none of a study's trials was lost or ran twice."""
    study = optuna.load_study(study_name=name, storage=open_storage(url))
    assert len(study.get_trials(deepcopy=False, states=FINISHED)) == number


def _run_one(storage: BaseStorage, name: str, settings: StudyConfig, epochs: int) -> bool:
    """Does what `pipeline.workers.worker` does for a trial; returns False if none is left."""
    claim = claim_trial(optuna.load_study(study_name=name, storage=storage))
    if isinstance(claim, NoClaim):
        return False
    study = optuna.load_study(
        study_name=name,
        storage=storage,
        sampler=build_sampler(settings.sampler, seed=settings.seed, ordinal=claim.ordinal),
        pruner=build_pruner(settings.pruner, max_epochs=epochs),
    )
    trial = optuna.Trial(study, claim.trial_id)
    params = draw(trial)
    for epoch in range(1, epochs + 1):
        trial.report(REPORTED, epoch)
        if trial.should_prune():
            raise SystemExit("a trial was pruned: the times would tell nothing")
    finish(study, trial, params, TrialResult("complete", value=value_of(params), epochs=epochs))
    return True
