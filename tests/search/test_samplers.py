from collections.abc import Callable

import optuna
import pytest
from pydantic import TypeAdapter

from pipeline.config.schema import kinds_of
from pipeline.config.study import (
    AnyPruner,
    Hyperband,
    Median,
    Percentile,
    PrunerConfig,
    SamplerBlock,
    SamplerConfig,
    SuccessiveHalving,
    Tpe,
)
from pipeline.search.pruners import PRUNERS, build_pruner
from pipeline.search.samplers import SAMPLERS, build_sampler
from pipeline.space.files import load_space

SAMPLER_KINDS, PRUNER_KINDS = kinds_of(SamplerConfig), kinds_of(PrunerConfig)
SAMPLER: TypeAdapter[SamplerBlock] = TypeAdapter(SamplerConfig)
PRUNER: TypeAdapter[AnyPruner] = TypeAdapter(PrunerConfig)
SPACE = load_space("digits_mlp").space


def draw(kind: str, *, seed: int = 0, before: int = 0, trials: int = 4) -> list[dict[str, object]]:
    study = optuna.create_study(direction="maximize")
    for number in range(trials):
        study.sampler = build_sampler(SAMPLER.validate_python({"kind": kind}), seed=seed, ordinal=before + number)
        trial = study.ask()
        SPACE.sample(trial)
        study.tell(trial, float(number))
    return [trial.params for trial in study.trials]


def test_each_kind_has_a_row() -> None:
    assert set(SAMPLERS) == set(SAMPLER_KINDS)
    assert set(PRUNERS) == set(PRUNER_KINDS)


@pytest.mark.parametrize("kind", SAMPLER_KINDS)
def test_every_sampler_draws_configurations_of_a_conditional_space(kind: str) -> None:
    params = draw(kind, trials=12)
    assert len({str(one) for one in params}) > 6
    for one in params:
        assert ("optimizer.sgd.lr" in one) == (one["optimizer.kind"] == "sgd")


@pytest.mark.parametrize("kind", sorted(set(SAMPLER_KINDS) - {"gp"}))
def test_a_seed_repeats_itself_and_each_trial_has_its_own(kind: str) -> None:
    assert draw(kind) == draw(kind)
    assert draw(kind, seed=1) != draw(kind)
    assert draw(kind, before=10) != draw(kind)


def test_a_resumed_study_draws_what_it_would_have_drawn() -> None:
    assert draw("random", trials=3) == draw("random", trials=6)[:3]


def test_tpe_models_conditional_parameters_jointly() -> None:
    sampler = build_sampler(Tpe(), seed=0, ordinal=0)
    assert isinstance(sampler, optuna.samplers.TPESampler)
    assert sampler._multivariate
    assert sampler._group
    assert sampler._constant_liar


def run_pruner(pruner: optuna.pruners.BasePruner, values: Callable[[int], float], epochs: int) -> int:
    """Returns the epoch in which the last of nine trials is pruned, 0 for never; the others are good."""
    study = optuna.create_study(direction="maximize", pruner=pruner, study_name="pruners")
    for _ in range(8):
        trial = study.ask()
        for epoch in range(1, epochs + 1):
            trial.report(0.9, epoch)
            trial.should_prune()
        study.tell(trial, 0.9)
    trial = study.ask()
    for epoch in range(1, epochs + 1):
        trial.report(values(epoch), epoch)
        if trial.should_prune():
            return epoch
    return 0


@pytest.mark.parametrize("warmup_epochs", [0, 1, 4])
@pytest.mark.parametrize("kind", [Median, Percentile])
def test_no_epoch_of_the_warmup_prunes(kind: type[Median] | type[Percentile], warmup_epochs: int) -> None:
    pruner = build_pruner(kind(warmup_epochs=warmup_epochs), max_epochs=10)
    assert run_pruner(pruner, lambda epoch: 0.1, 10) == warmup_epochs + 1


@pytest.mark.parametrize("min_epochs", [1, 2, 4])
@pytest.mark.parametrize("kind", [SuccessiveHalving, Hyperband])
def test_every_trial_gets_its_least_epochs(kind: type[SuccessiveHalving] | type[Hyperband], min_epochs: int) -> None:
    # with at most as many epochs as make one bracket, hyperband is one successive halving
    pruner = build_pruner(kind(min_epochs=min_epochs), max_epochs=min_epochs + 1)
    assert run_pruner(pruner, lambda epoch: 0.1, 10) == min_epochs


def test_patience_spares_a_trial_that_improves() -> None:
    pruner = build_pruner(Median(warmup_epochs=1, patience=3), max_epochs=10)
    assert run_pruner(pruner, lambda epoch: epoch / 100, 10) == 0
    assert run_pruner(pruner, lambda epoch: 0.5 - epoch / 100, 10) == 4
    impatient = build_pruner(Median(warmup_epochs=1), max_epochs=10)
    assert run_pruner(impatient, lambda epoch: 0.5 - epoch / 100, 10) == 2


@pytest.mark.parametrize("kind", sorted(set(PRUNER_KINDS) - {"none"}))
def test_every_pruner_ends_a_hopeless_trial(kind: str) -> None:
    pruner = build_pruner(PRUNER.validate_python({"kind": kind}), max_epochs=30)
    assert 0 < run_pruner(pruner, lambda epoch: 0.5 - epoch / 1000, 30) <= 30


def test_no_pruner_prunes_nothing() -> None:
    assert run_pruner(build_pruner(PRUNER.validate_python({"kind": "none"}), max_epochs=5), lambda epoch: 0.0, 5) == 0


def test_percentile_keeps_its_share() -> None:
    assert isinstance(build_pruner(Percentile(percentile=10.0), max_epochs=5), optuna.pruners.PercentilePruner)


def test_hyperband_takes_its_resources_from_the_space() -> None:
    pruner = build_pruner(Hyperband(min_epochs=2, reduction_factor=3), max_epochs=20)
    assert isinstance(pruner, optuna.pruners.HyperbandPruner)
    assert (pruner._min_resource, pruner._max_resource) == (2, 20)
