"""Pruning by the first of several metrics: as Optuna prunes a study of that metric alone."""

import functools
import random
from collections.abc import Callable

import optuna
import pytest
from optuna.pruners import BasePruner, HyperbandPruner
from optuna.trial import TrialState
from pydantic import TypeAdapter

from pipeline.config.metrics import Direction
from pipeline.config.schema import kinds_of
from pipeline.config.study import AnyPruner, Hyperband, Median, PrunerConfig, Random, SamplerBlock, SamplerConfig, Tpe
from pipeline.search.multi_objective import MultiObjectiveStudy, MultiObjectiveTrial
from pipeline.search.pruners import build_pruner
from pipeline.search.samplers import build_sampler
from pipeline.storage.internals import storage_of, study_id

EPOCHS, TRIALS = 9, 40
PRUNER: TypeAdapter[AnyPruner] = TypeAdapter(PrunerConfig)
SAMPLER: TypeAdapter[SamplerBlock] = TypeAdapter(SamplerConfig)
PRUNERS = {kind: PRUNER.validate_python({"kind": kind}) for kind in kinds_of(PrunerConfig) if kind != "none"}
PRUNERS["median that waits"] = Median(startup_trials=3, warmup_epochs=2, patience=2)
Ask = Callable[[], optuna.Trial]


def curve(number: int) -> list[float]:
    """A learning curve with noise, another one for each trial."""
    generator = random.Random(number)
    goal = generator.random()
    return [goal * (1.0 - 0.5**epoch) + generator.gauss(0.0, 0.05) for epoch in range(1, EPOCHS + 1)]


def pruned_at(study: optuna.Study, ask: Ask, direction: Direction) -> dict[int, int]:
    """Runs a study; returns the epoch in which each trial was pruned that was."""
    sign = 1.0 if direction == "maximize" else -1.0
    found = {}
    for number in range(TRIALS):
        trial, values = ask(), curve(number)
        for epoch, value in enumerate(values, 1):
            trial.report(sign * value, epoch)
            if trial.should_prune():
                found[number] = epoch
                study.tell(trial, state=TrialState.PRUNED)
                break
        else:
            study.tell(trial, [sign * max(values), -max(values)][: len(study.directions)])
    return found


def empty(pruner: BasePruner, *directions: Direction) -> MultiObjectiveStudy:
    """A study as a worker has it."""
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(study_name="s", storage=storage, directions=directions)
    return MultiObjectiveStudy("s", storage, build_sampler(Random(), seed=0, ordinal=0), pruner)


def asked(study: MultiObjectiveStudy) -> MultiObjectiveTrial:
    return MultiObjectiveTrial(study, storage_of(study).create_new_trial(study_id(study)))


def optunas_own(kind: str) -> BasePruner:
    """The pruner that Optuna has for one objective."""
    config = PRUNERS[kind]
    if not isinstance(config, Hyperband):
        return build_pruner(config, max_epochs=EPOCHS)
    return HyperbandPruner(config.min_epochs, EPOCHS, config.reduction_factor)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("kind", PRUNERS)
def test_the_first_metric_prunes_as_if_it_were_the_only_one(kind: str, direction: Direction) -> None:
    alone = optuna.create_study(study_name="s", direction=direction, pruner=optunas_own(kind))
    expected = pruned_at(alone, alone.ask, direction)
    assert 0 < len(expected) < TRIALS
    for directions in ([direction], [direction, "minimize"]):
        study = empty(build_pruner(PRUNERS[kind], max_epochs=EPOCHS), *directions)
        assert pruned_at(study, functools.partial(asked, study), direction) == expected


def test_what_was_reported_is_in_the_storage() -> None:
    study = empty(optuna.pruners.NopPruner(), "maximize", "minimize")
    trial = asked(study)
    trial.report(0.5, 1)
    trial.report(0.7, 2)
    assert not trial.should_prune()
    assert study.get_trials()[0].intermediate_values == {1: 0.5, 2: 0.7}


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_tpe_learns_from_pruned_trials_by_the_first_metric(pruner: str, direction: Direction) -> None:
    """Trials that were all pruned at one epoch, the better the nearer to 0.2: the next ones are drawn there."""
    sign = -1.0 if direction == "maximize" else 1.0
    study = empty(build_pruner(PRUNERS[pruner], max_epochs=EPOCHS), direction, "minimize")
    drawn = []
    for number in range(60):
        study.sampler = build_sampler(Tpe(), seed=0, ordinal=number)
        trial = asked(study)
        drawn.append(trial.suggest_float("x", 0.0, 1.0))
        trial.report(sign * abs(drawn[-1] - 0.2), 1)
        study.tell(trial, state=TrialState.PRUNED)
    assert sum(abs(x - 0.2) < 0.1 for x in drawn[40:]) > 10


@pytest.mark.parametrize("kind", sorted(set(kinds_of(SamplerConfig)) - {"cmaes"}))
def test_every_other_sampler_draws_for_two_metrics_with_pruned_trials(kind: str) -> None:
    study = empty(build_pruner(PRUNERS["hyperband"], max_epochs=EPOCHS), "maximize", "minimize")
    drawn = set()
    for number in range(16):
        study.sampler = build_sampler(SAMPLER.validate_python({"kind": kind}), seed=0, ordinal=number)
        trial = asked(study)
        x = trial.suggest_float("x", 0.0, 1.0)
        trial.report(x, 1)
        if number % 3 == 0:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, [x, x**2])
        drawn.add(x)
    assert len(drawn) == 16
