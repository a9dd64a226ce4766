"""The chosen configuration, trained on training and validation images together: for the model that is put to work."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

import optuna
from optuna.trial import FrozenTrial

from pipeline.config.training import Performance
from pipeline.config.transfer import Auto
from pipeline.config.trial import TrialConfig
from pipeline.core.filesystem.files import write_whole
from pipeline.core.workspace import Workspace
from pipeline.data.feature_cache import FeatureCache
from pipeline.evaluation.predictor import Predictor, SavedModel
from pipeline.finalize.finalists import case_name, result_number
from pipeline.finalize.measurement import FinalSelection, Refit
from pipeline.models.tensors import tensor_bytes
from pipeline.records.phases import epochs_to_best, lengths_text
from pipeline.records.results import PhaseResult
from pipeline.study.attributes import CURVES
from pipeline.study.cases import trials_by_case
from pipeline.study.trials import frozen_trial, result_of
from pipeline.training.repetition import RepeatedPhase, Repetition
from pipeline.training.start import start

# In the folder of the finalists' models.
REFIT = "refit.safetensors"


def refit(
    selection: FinalSelection,
    finals: optuna.Study,
    predictor: Predictor,
    workspace: Workspace,
    *,
    notify: Callable[[str], None],
) -> Refit:
    """Trains the chosen configuration on training and validation images, and keeps the last epoch's weights.

    It goes through the phases of its finalists' trainings, see `repeated_phases`: there is nothing left that could tell
    the best epoch.

    Args:
        selection: What was chosen.
        finals: The study that has trained the finalists.
        predictor: Has the images.
        workspace: Where models are kept.
        notify: Is told what is being done.

    Raises:
        DnntuneError: See `pipeline.training.start.start`.
    """
    trials = trials_by_case(finals)[case_name(selection.finalist.trial)]
    runs = {
        seed: result.phases for seed in selection.finalist.values if (result := result_of(trials[seed])) is not None
    }
    config = selection.model.config
    rates = None
    if isinstance(config.schedule, Performance):
        rates = _trained(finals, trials[selection.seed]).user_attrs[CURVES]["lr"]
    phases = repeated_phases(config, runs, selection.seed, rates)
    data = predictor.data(config)
    together = data.together()
    epochs = lengths_text((phase.name, phase.epochs) for phase in phases)
    notify(f"training on {len(together.train):,} images, validation images included: {epochs}")
    training = start(
        config,
        together,
        cache=FeatureCache(workspace.feature_cache, notify=notify),
        repetition=Repetition(phases, len(data.train)),
    )
    for _ in training.epochs:
        pass
    file = workspace.models(finals.study_name) / REFIT
    write_whole(file, tensor_bytes(training.model))
    return Refit(SavedModel("refitted", config, file), epochs)


def repeated_phases(
    config: TrialConfig,
    runs: Mapping[int, Sequence[PhaseResult]],
    seed: int,
    rates: Sequence[float] | None,
) -> tuple[RepeatedPhase, ...]:
    """Returns the phases to repeat: each as long as the finalists' trainings needed to its best epoch, the median.

    Trainings that validation has led each on a way of its own have no middle. Where the ladder climbed (`transfer:
    auto`), or the rate fell by a performance schedule, it is the chosen model's training that is repeated.

    Args:
        config: The chosen configuration.
        runs: What the phases of its trainings brought, by seed.
        seed: The chosen model's.
        rates: Learning rate at the end of each epoch of the chosen model's training; None where the schedule repeats
            itself.
    """
    chosen = runs[seed]
    alone = rates is not None or isinstance(config.transfer, Auto)
    lengths = [epochs_to_best(phases) for phases in ([chosen] if alone else runs.values())]
    names = [phase.name for phase in chosen]
    assert alone or all([phase.name for phase in phases] == names for phases in runs.values())
    most = max(map(len, lengths))
    padded = [[*each, *[0] * (most - len(each))] for each in lengths]
    epochs = [round(statistics.median(each)) for each in zip(*padded, strict=True)]
    begins = accumulate((phase.epochs for phase in chosen), initial=0)
    return tuple(
        RepeatedPhase(
            phase.name,
            count,
            phase.best_epoch is not None,
            None if rates is None else tuple(rates[begin : begin + phase.epochs]),
        )
        for phase, count, begin in zip(chosen, epochs, begins, strict=False)
    )


def _trained(study: optuna.Study, trial: FrozenTrial) -> FrozenTrial:
    """Returns the trial itself, or the one whose result it took over."""
    return frozen_trial(study, result_number(trial))
