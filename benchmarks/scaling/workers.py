"""Trials an hour with one worker and with several, beside what the machine itself allows."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna

from benchmarks.scaling.crew import Crew
from benchmarks.scaling.report import Report, with_range
from benchmarks.scaling.studies import space_of, timed_study
from pipeline.config.trial import TrialConfig
from pipeline.space.files import SpaceFile
from pipeline.storage.open import quiet_optuna

ROUNDS, TRIALS, EPOCHS, TRAIN_IMAGES = 3, 10, 10, 6000
# Configurations of a round of the bare training loop; each process trains all of them.
NUM_BARE = 3

# Trials are much alike and none ends early, so that at the end a worker waits for no more than the rest of one.
SPACE = """
study:
  sampler: tpe
  pruner: none
space:
  data: {kind: fashion_mnist, valid_fraction: 0.1}
  model:
    kind: mlp
    hidden_layers: 3
    width: {int: [80, 120]}
    activation: {choice: [relu, elu, tanh]}
    batch_norm: {choice: [before, after]}
  optimizer: {kind: adamw, lr: {float: [5e-4, 5e-3], log: true}}
  schedule: {kind: one_cycle}
  clip: {kind: norm, threshold: 1.0}
  batch_size: 128
  early_stopping: {patience: null}
"""


@dataclass
class Rounds:
    """What the rounds brought, for one worker and for several: trials an hour, start-up in seconds, bare trainings."""

    per_hour: dict[int, list[float]] = field(default_factory=dict)
    startup: dict[int, list[float]] = field(default_factory=dict)
    bare_per_hour: dict[int, list[float]] = field(default_factory=dict)

    def note(self, what: str, workers: int, value: float) -> None:
        """Takes note of a figure."""
        getattr(self, what).setdefault(workers, []).append(value)


def fixed_list(file: SpaceFile, number: int) -> tuple[dict[str, Any], ...]:
    """Draws configurations at random, the same ones at every call."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = []
    for _ in range(number):
        trial = study.ask()
        file.space.sample(trial)
        drawn.append(trial.params)
    return tuple(drawn)


def measure(*, data: str, workers: int, rounds: int, trials: int, epochs: int) -> Report:
    """Measures studies and the bare training loop in alternation; see `benchmarks.scaling.__main__`."""
    quiet_optuna()
    settings: dict[str, object] = {"data.kind": data, "epochs": epochs, "study.trials": trials}
    if data == "fashion_mnist":
        settings["data.max_train_images"] = TRAIN_IMAGES
    plain = space_of(SPACE, settings)
    baselines = fixed_list(plain, trials)
    study = plain.study.model_copy(update={"baselines": baselines})
    file = SpaceFile(plain.name, study, plain.space)
    configs = [plain.space.sample(optuna.trial.FixedTrial(params)) for params in baselines[:NUM_BARE]]
    expected = sorted(map(repr, baselines))
    measured = Rounds()
    with Crew(workers) as crew:
        for number in range(1, rounds + 1):
            for count in (1, workers):
                done = timed_study(file, workers=count)
                assert sorted(map(repr, done.trials.params.values())) == expected, "another round's configurations"
                measured.note("per_hour", count, 3600 * trials / done.span)
                measured.note("startup", count, done.startup)
                bare = crew.timed(_bare, [(configs,)] * count).seconds
                measured.note("bare_per_hour", count, 3600 * count * len(configs) / bare)
            print(f"round {number} of {rounds}: {_ratios(measured.per_hour, workers)[-1]:.2f}", flush=True)
    return _report(measured, workers=workers, file=file, epochs=epochs, trials=trials)


def _bare(configs: Sequence[TrialConfig]) -> Callable[[], None]:
    """Prepares to train configurations with the training loop alone: no storage, no MLflow, no other process."""
    import torch

    from pipeline.data.loading import load_data
    from pipeline.training.start import start

    torch.set_num_threads(1)
    data = load_data(configs[0].data)

    def job() -> None:
        for config in configs:
            for _ in start(config, data).epochs:
                pass

    next(iter(start(configs[0], data).epochs))  # what the first step imports is not to be timed
    return job


def _ratios(values: dict[int, list[float]], workers: int) -> list[float]:
    return [several / one for one, several in zip(values[1], values[workers], strict=True)]


def _report(measured: Rounds, *, workers: int, file: SpaceFile, epochs: int, trials: int) -> Report:
    def median_ratio(values: dict[int, list[float]]) -> float:
        return statistics.median(values[workers]) / statistics.median(values[1])

    kinds = {"study": measured.per_hour, "training loop alone": measured.bare_per_hour}
    study, bare = map(median_ratio, kinds.values())
    rows = [
        [
            words,
            with_range(values[1], ",.0f"),
            with_range(values[workers], ",.0f"),
            f"{median_ratio(values):.2f}",
            ", ".join(f"{ratio:.2f}" for ratio in _ratios(values, workers)),
        ]
        for words, values in kinds.items()
    ]
    data = file.space.definition["data"]["kind"]
    notes = [
        f"Median (smallest to largest) of n = {len(measured.startup[1])} rounds of each, in alternation.",
        f"One study is {trials} trials of {epochs} epochs on {data}, perceptrons of 3 x 80 to 120, the same "
        "configurations in every round; TPE, no pruning, MLflow, SQLite; one thread a worker. "
        "Timed from the first trial's start to the last one's end.",
        f"Start-up before that: {with_range(measured.startup[1], '.1f')} s with one worker, "
        f"{with_range(measured.startup[workers], '.1f')} s with {workers}.",
        f"The training loop alone is {NUM_BARE} of these configurations in each of as many processes: what the "
        f"machine allows, of which the study has {study / bare:.0%}.",
    ]
    return Report(
        case="workers",
        title=f"Trials an hour with 1 worker and with {workers}:",
        header=["", "1 worker", f"{workers} workers", "ratio of medians", "ratios of the rounds"],
        rows=rows,
        notes=notes,
        packages=["torch", "optuna", "mlflow"],
        figures={**vars(measured), "ratio": study, "bare_ratio": bare},
    )
