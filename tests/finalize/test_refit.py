import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from pipeline.config.metrics import Monitor
from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.core.workspace import Workspace
from pipeline.data.loading import load_data
from pipeline.evaluation.predictor import Predictor, SavedModel
from pipeline.finalize.measurement import FinalSelection, Refit
from pipeline.finalize.refit import refit, repeated_phases
from pipeline.records.final import Finalist
from pipeline.records.phases import epochs_to_best, lengths_text, phases_of
from pipeline.records.results import EpochResult, PhaseResult, TrialResult, curves_of
from pipeline.study.attributes import CONFIG, CURVES, RESULT
from pipeline.training.repetition import RepeatedPhase, Repetition, schedule_of_rates
from pipeline.training.start import start

METRIC: Monitor = "valid_accuracy"
BACKBONE = {"kind": "backbone", "name": "test_resnet", "pretrained": False, "image_size": 32}
UNFREEZE = {"kind": "unfreeze", "frozen_epochs": 3, "unfreeze_top_stages": 1}


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def config(**settings: Any) -> TrialConfig:
    fields = {"data": {"kind": "digits", "max_train_images": 200}, "epochs": 8, **settings}
    return TrialConfig.model_validate(fields)


def refitted(
    settings: TrialConfig, runs: Mapping[int, Sequence[EpochResult]], workspace: Path, notify: Any = print
) -> tuple[Refit, dict[str, torch.Tensor]]:
    """Refits a configuration whose trainings, by seed, had these epochs; the first seed's is the chosen one."""
    finals = optuna.create_study(study_name="small-final", direction="maximize")
    for seed, epochs in runs.items():
        result = TrialResult("complete", value=0.9, phases=phases_of(epochs, METRIC))
        finals.add_trial(
            optuna.trial.create_trial(
                params={"case": "trial 3", "seed": seed},
                distributions={
                    "case": optuna.distributions.CategoricalDistribution(["trial 3"]),
                    "seed": optuna.distributions.IntDistribution(0, 9),
                },
                value=0.9,
                user_attrs={RESULT: result.to_json(), CURVES: curves_of(epochs), CONFIG: settings.to_dict()},
            )
        )
    finalist = Finalist(3, 0.9, dict.fromkeys(runs, 0.9), 0.9, None, settings.to_dict())
    seed = next(iter(runs))
    selection = FinalSelection([finalist], seed, {(3, seed): SavedModel("chosen", settings, workspace / "none")}, {})
    here = Workspace(workspace)
    here.models("small-final").mkdir(parents=True)
    found = refit(selection, finals, Predictor(Compute(device="cpu")), here, notify=notify)
    from safetensors.torch import load_file

    return found, load_file(found.model.file)


def epochs_of(*phases: tuple[str, str]) -> list[EpochResult]:
    """Returns epochs of phases, each written as its name and, epoch by epoch, ``+`` for the best so far or ``-``."""
    marks = [(name, mark == "+") for name, text in phases for mark in text]
    return [
        EpochResult(number, 1.0, 0.5, 1.0, 0.1 * number, 0.1 / number, 1.0, 0.0, 1.0, 1.0, is_best, phase=name)
        for number, (name, is_best) in enumerate(marks, 1)
    ]


def test_the_unfrozen_layers_learn_as_long_as_they_did(tmp_path: Path) -> None:
    settings = config(model=BACKBONE, transfer=UNFREEZE, epochs=9, batch_size=32)
    # Stopped early: the frozen phase at its third epoch, the other at its fourth.
    runs = {
        1: epochs_of(("frozen", "++-"), ("unfreeze 1", "+++--")),
        2: epochs_of(("frozen", "+--"), ("unfreeze 1", "-+--")),
        3: epochs_of(("frozen", "+++"), ("unfreeze 1", "++++-")),
    }
    said: list[str] = []
    found, tensors = refitted(settings, runs, tmp_path, said.append)
    assert found.epochs == "2 epochs frozen, 3 epochs unfreeze 1"
    assert found.epochs in said[0]
    data = load_data(settings.data)
    together = data.together()
    before = {name: tensor.clone() for name, tensor in start(settings, together).model.state_dict().items()}
    changed = {name for name in before if not torch.equal(tensors[name], before[name])}
    body = {name for name in changed if not name.startswith("head.")}
    assert body
    assert body < {name for name in before if not name.startswith("head.")}  # the stages below are frozen
    repetition = Repetition((RepeatedPhase("frozen", 2, True), RepeatedPhase("unfreeze 1", 3, True)), len(data.train))
    again = start(settings, together, repetition=repetition)
    assert [epoch.phase for epoch in again.epochs] == ["frozen"] * 2 + ["unfreeze 1"] * 3
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in again.model.state_dict().items())


def test_each_phase_has_the_rates_that_it_had() -> None:
    settings = config(model=BACKBONE, transfer=UNFREEZE, batch_size=32, schedule={"kind": "cosine"})
    data = load_data(settings.data)
    whole = [epoch.lr for epoch in start(settings, data).epochs]
    phases = (RepeatedPhase("frozen", 2, True), RepeatedPhase("unfreeze 1", 4, True))
    again = list(start(settings, data, repetition=Repetition(phases, len(data.train))).epochs)
    assert [epoch.lr for epoch in again] == [*whole[:2], *whole[3:7]]


@pytest.mark.parametrize("warmup", [0.0, 1.5])
@pytest.mark.parametrize("transfer", [{"kind": "none"}, UNFREEZE])
def test_a_performance_schedules_rates_are_gone_through_again(warmup: float, transfer: dict[str, Any]) -> None:
    model = {} if transfer["kind"] == "none" else {"model": BACKBONE, "batch_size": 64}
    schedule = {"kind": "performance", "patience": 1, "min_delta": 9.0, "warmup_epochs": warmup}
    watched = config(schedule=schedule, early_stopping={"patience": None}, transfer=transfer, **model)
    data = load_data(watched.data)
    epochs = list(start(watched, data).epochs)
    assert len({epoch.lr for epoch in epochs}) > 2  # the rate has fallen
    runs = {4: phases_of(epochs, METRIC), 5: phases_of(epochs[:1], METRIC)}
    phases = repeated_phases(watched, runs, 4, curves_of(epochs)["lr"])
    lengths = epochs_to_best(runs[4])
    assert [phase.epochs for phase in phases] == lengths
    again = list(start(watched, data, repetition=Repetition(phases, len(data.train))).epochs)
    begins = [sum(phase.epochs for phase in runs[4][:number]) for number in range(len(lengths))]
    had = [epochs[begin + epoch].lr for begin, length in zip(begins, lengths, strict=True) for epoch in range(length)]
    assert [epoch.lr for epoch in again] == pytest.approx(had, rel=1e-4)


def test_a_rate_that_never_fell_is_constant() -> None:
    assert schedule_of_rates([0.1] * 5, lr=0.1, warmup_epochs=0.0).kind == "constant"


def test_the_ladder_is_climbed_as_the_chosen_model_climbed_it(tmp_path: Path) -> None:
    transfer = {"kind": "auto", "phase_epochs": 2, "little_data": 21}  # 20 images a class, and 44 with the others
    settings = config(model=BACKBONE, transfer=transfer, epochs=12, batch_size=64)
    runs = {
        1: epochs_of(
            ("frozen", "++"), ("unfreeze 1", "--"), ("drop 1, frozen", "--"), ("drop 1, unfreeze 1", "+-"),
            ("drop 1, unfreeze 2", "--"),
        ),
        2: epochs_of(("frozen", "++"), ("unfreeze 1", "++"), ("unfreeze 2", "--")),
    }  # fmt: skip
    found, tensors = refitted(settings, runs, tmp_path)
    assert found.epochs == "2 epochs drop 1, frozen, 1 epoch drop 1, unfreeze 1"
    whole = start(settings, load_data(settings.data)).model.state_dict()
    assert set(tensors) < set(whole)  # a stage was dropped


@pytest.mark.parametrize(
    ("phases", "used"),
    [
        ([("", "++-+--")], [4]),
        ([("frozen", "+--"), ("unfreeze 1", "-+-")], [1, 2]),
        ([("frozen", "++-"), ("unfreeze 1", "---")], [2]),
        # The next rung begins with what the one before had at its best.
        ([("frozen", "+-"), ("unfreeze 1", "+-"), ("unfreeze 2", "-+")], [1, 1, 2]),
        # Another network: of the first one nothing is left, and what has not beaten it yet is gone on with as it is.
        (
            [("frozen", "++"), ("unfreeze 1", "--"), ("drop 1, frozen", "--"), ("drop 1, unfreeze 1", "+-")],
            [0, 0, 2, 1],
        ),
        ([("frozen", "++"), ("unfreeze 1", "--"), ("drop 1, frozen", "+-"), ("drop 1, unfreeze 1", "-")], [0, 0, 1]),
    ],
)
def test_the_epochs_that_are_in_the_weights(phases: list[tuple[str, str]], used: list[int]) -> None:
    assert epochs_to_best(phases_of(epochs_of(*phases), METRIC)) == used


def test_a_phase_has_the_median_of_its_lengths() -> None:
    runs = {
        seed: [PhaseResult("frozen", 9, first, 0.5), PhaseResult("unfreeze 1", 9, second, 0.6)]
        for seed, (first, second) in enumerate([(1, None), (3, 9), (5, 8), (2, 7), (9, None)])
    }
    settings = config(model=BACKBONE, transfer={**UNFREEZE, "frozen_epochs": 9}, epochs=18)
    phases = repeated_phases(settings, runs, 1, None)
    assert [phase.epochs for phase in phases] == [3, statistics.median([0, 9, 8, 7, 0])]
    assert lengths_text((phase.name, phase.epochs) for phase in phases) == "3 epochs frozen, 7 epochs unfreeze 1"
    assert lengths_text([("", 1)]) == "1 epoch"


def test_the_last_epochs_weights_come_back() -> None:
    settings = config(
        optimizer={"kind": "sgd", "lr": 1.0}, schedule={"kind": "constant"}, early_stopping={"patience": 1}
    )
    data = load_data(settings.data)
    repetition = Repetition((RepeatedPhase("", 7, True),), len(data.train))
    training = start(settings, data.together(), repetition=repetition)
    epochs = list(training.epochs)
    assert len(epochs) == 7
    assert all(epoch.is_best for epoch in epochs)
    assert training.evaluate(data.valid) == (epochs[-1].valid_loss, epochs[-1].valid_accuracy)


def test_all_images_are_learned_from() -> None:
    data = load_data(config().data)
    together = data.together()
    assert len(together.train) == len(data.train) + len(data.valid)
    assert together.fingerprint == data.fingerprint  # the feature cache knows them
    assert together.train.rows is not None
    assert sorted(together.train.rows.tolist()) == list(range(len(together.train)))
