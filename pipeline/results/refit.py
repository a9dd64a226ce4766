"""The chosen configuration, trained on training and validation images together: for the model that is put to work."""

import statistics
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import optuna

from pipeline.config import TrialConfig
from pipeline.data.feature_cache import FeatureCache
from pipeline.errors import DnntuneError
from pipeline.models.tensors import tensor_bytes
from pipeline.places import Places
from pipeline.results.finalists import case_name
from pipeline.results.kept import KeptModel, ModelBench
from pipeline.results.last_measurement import Choice
from pipeline.study.cases import trials_by_case
from pipeline.study.trials import CURVES, result_of
from pipeline.training import start
from pipeline.training_config import Performance
from pipeline.transfer_config import Auto, Unfreeze

# In the folder of the finalists' models.
REFIT = "refit.safetensors"


@dataclass(frozen=True)
class Refit:
    """A model trained on all images but the test part's, and for how many epochs."""

    model: KeptModel
    epochs: int


def check_refit(config: TrialConfig) -> None:
    """Proves that a configuration can be trained without validation images.

    Raises:
        DnntuneError: It goes by them.
    """
    if isinstance(config.transfer, Auto):
        raise DnntuneError(
            "--refit has no validation images, and transfer: auto climbs by them. Leave --refit out, or tune with "
            "transfer: unfreeze"
        )
    if isinstance(config.transfer, Unfreeze) and isinstance(config.schedule, Performance):
        raise DnntuneError(
            "--refit has no validation images, and schedule: performance goes by them in each phase of transfer: "
            "unfreeze. Leave --refit out, or tune with another schedule"
        )


def refit(
    choice: Choice, finals: optuna.Study, bench: ModelBench, places: Places, *, say: Callable[[str], None]
) -> Refit:
    """Trains the chosen configuration on training and validation images, and keeps the last epoch's weights.

    It has as many epochs as its finalists needed to their best one, in the middle (median): there is nothing left that
    could tell the best epoch. Its schedule is that of the finalists, cut off there. A performance schedule's rates are
    those of the chosen model's training, as long as that model's training was.

    Args:
        choice: What was chosen.
        finals: The study that has trained the finalists.
        bench: Has the images.
        places: Where models are kept.
        say: Is told what is being done.

    Raises:
        DnntuneError: See `pipeline.training.start`.
    """
    trials = trials_by_case(finals)[case_name(choice.finalist.trial)]
    needed = {seed: result.best_epoch for seed, trial in trials.items() if (result := result_of(trial)) is not None}
    epochs = round(statistics.median(epoch for epoch in needed.values() if epoch is not None))
    config = choice.model.config
    if isinstance(config.schedule, Performance):
        epochs = needed[choice.seed] or epochs
        config = with_rates(config, trials[choice.seed].user_attrs[CURVES]["lr"])
    data = bench.data(config).together()
    say(f"training on {len(data.train):,} images, validation images included, for {epochs} epochs")
    training = start(config, data, cache=FeatureCache(places.feature_cache, say=say), keeps_last=True)
    with closing(training.epochs):
        for epoch in training.epochs:
            if epoch.epoch == epochs:
                break
    file = places.models(finals.study_name) / REFIT
    partial = file.with_suffix(".partial")
    partial.write_bytes(tensor_bytes(training.model))
    partial.replace(file)
    return Refit(KeptModel("refitted", choice.model.config, file), epochs)


def with_rates(config: TrialConfig, rates: Sequence[float]) -> TrialConfig:
    """Returns a configuration that goes through the rates of a training with a performance schedule.

    Such a schedule changes the rate between epochs only, so that a piecewise constant one does the same.

    Args:
        config: The configuration.
        rates: Learning rate at the end of each epoch of that training.
    """
    warmup = config.schedule.warmup_epochs
    changes = [
        (epoch - warmup, rates[epoch] / config.optimizer.lr)
        for epoch in range(1, len(rates))
        if epoch > warmup and rates[epoch] != rates[epoch - 1]
    ]
    schedule = {
        "kind": "piecewise",
        "warmup_epochs": warmup,
        "boundaries": [boundary for boundary, _ in changes],
        "factors": [factor for _, factor in changes],
    }
    return config.replaced({"schedule": schedule if changes else {"kind": "constant", "warmup_epochs": warmup}})
