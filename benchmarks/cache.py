"""What the feature cache saves: the same study with it and without.

Two cases on Fashion-MNIST, with the real weights of EfficientNet-Lite0: frozen (the head alone learns) and unfrozen
(the top stage learns, too). Both studies of a case draw the same trials, so their accuracies are compared one by one.
Each has a fresh workspace: the building of the cache counts, as do the start of the worker and the whole of MLflow.

With the cache, a trial is short: so it is told, too, what the time from the first trial's end to the last one's went
into. Training is timed in the study; how much validation and building the network take beside it, is found by training
the same configurations once more in this process, with the bare training loop.

    python -m benchmarks.cache --case both
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.core.workspace import Workspace
from pipeline.data.feature_cache import FeatureCache
from pipeline.data.loading import load_data
from pipeline.records.events import EpochEnded, Event, Notice, TrialEnded, TrialStarted
from pipeline.records.phases import images_text
from pipeline.records.results import DataSummary, EpochResult, TrialResult
from pipeline.space.files import SpaceFile, read_space
from pipeline.space.overrides import Override
from pipeline.space.yaml_text import parse
from pipeline.training.start import start
from pipeline.workers.run import run_study

# Drawn at random: what TPE draws would hang on the accuracies, and so on their last bits.
SPACE = """
study:
  sampler: random
  pruner: none
space:
  data: {kind: fashion_mnist}
  model:
    kind: backbone
    name: tf_efficientnet_lite0
    head:
      hidden_layers: {int: [0, 1]}
      dropout: {kind: dropout, rate: {float: [0.0, 0.5]}, last_layers: 2}
  optimizer:
    kind: adamw
    lr: {float: [3e-4, 1e-2], log: true}
    weight_decay: {float: [1e-4, 0.3], log: true}
  early_stopping: {patience: null}
"""
TRANSFER = {
    "frozen": "frozen",
    "unfrozen": "{{kind: unfreeze, unfreeze_top_stages: 1, frozen_epochs: {frozen_epochs}, lr_factor: {lr_factor}}}",
}
LR_FACTOR = "{float: [0.1, 1.0], log: true}"


@dataclass
class Log:
    """Notes what happens in a study, trial by trial; times are the worker's own."""

    started: dict[int, TrialStarted] = field(default_factory=dict)
    epochs: dict[int, list[EpochResult]] = field(default_factory=dict)
    results: dict[int, TrialResult] = field(default_factory=dict)

    def begin(self, *_: str, total: int, data: DataSummary, **__: object) -> None:
        """Says how much data there are."""
        print(f"  {data.num_train:,} training and {data.num_valid:,} validation images, {total} trials", flush=True)

    def event(self, event: Event) -> None:
        """A trial has begun or ended, or an epoch of it has, or the cache has something to say."""
        match event:
            case TrialStarted(number=number):
                self.started[number], self.epochs[number] = event, []
            case EpochEnded(number=number, result=epoch):
                self.epochs[number].append(epoch)
            case TrialEnded(number=number, result=result):
                self.results[number] = result
                if result.outcome != "complete":
                    print(f"  trial {number} {result.outcome}: {result.traceback or result.reason}", flush=True)
            case Notice(text=text):
                print(f"  {text}", flush=True)

    def tick(self) -> None:
        """Nothing to do."""

    @property
    def accuracies(self) -> dict[str, float]:
        """From what was drawn to the validation accuracy: workers differ in the order in which they draw."""
        return {
            json.dumps(self.started[number].params, sort_keys=True): result.best_valid_accuracy or 0.0
            for number, result in self.results.items()
        }

    def report_error(self, number: int) -> float:
        """Returns when a trial's training was over, a Unix time in seconds."""
        return self.started[number].started + self.results[number].seconds


@dataclass(frozen=True)
class Bare:
    """Seconds of a trial in the bare training loop, on average: training, validation, and what comes before both."""

    training: float
    validation: float
    building: float


@dataclass(frozen=True)
class Study:
    """A study that has ended: its log, when it was called (Unix time), how long it took, and its trials once more."""

    log: Log
    called: float
    seconds: float
    bare: Bare | None


def train_again(log: Log, folder: Path, measure_every: int | None) -> Bare:
    """Trains a study's configurations once more, one after the other, with what its cache has."""
    torch.set_num_threads(1)
    configs = [TrialConfig.model_validate(log.started[number].config) for number in sorted(log.started)]
    data, cache = load_data(configs[0].data), FeatureCache(folder)
    training, rest, building = [], [], []
    for config in configs:
        began = time.perf_counter()
        epochs = start(config, data, measure_every=measure_every, cache=cache).epochs
        built = time.perf_counter()
        training.append(sum(epoch.seconds for epoch in epochs))
        rest.append(time.perf_counter() - built - training[-1])
        building.append(built - began)
    # The first one loads the weights and imports what a worker has by its second trial.
    return Bare(*(statistics.fmean(values[1:]) for values in (training, rest, building)))


def run(file: SpaceFile, *, workers: int, workspace: Path | None, again: bool) -> Study:
    """Runs a study in a fresh workspace."""
    log, called = Log(), time.time()
    with tempfile.TemporaryDirectory(dir=workspace) as folder:
        here = Workspace(Path(folder))
        summary = run_study(
            file.space,
            file.study,
            name="cache",
            workspace=here,
            compute=Compute(workers, threads=1, device="cpu"),
            observer=log,
        )
        if summary.trials["complete"] < len(log.results):
            raise SystemExit("not every trial is complete: the times would tell nothing")
        assert all(result.duplicate_of is None for result in log.results.values())
        bare = train_again(log, here.feature_cache, file.study.gradient_flow_steps) if again else None
    return Study(log, called, summary.seconds, bare)


def print_study(words: str, study: Study) -> None:
    """Prints how long a study and its trials took, and what passed through the backbone."""
    results = study.log.results
    first, *others = (results[number].seconds for number in sorted(results))
    print(f"{words}: {study.seconds:.1f} s; first trial {first:.2f} s", end="")
    if others:
        print(f", the others {statistics.fmean(others):.3f} s on average, median {statistics.median(others):.3f} s")
    computed, spared = (
        sum(count or 0 for count in counts)
        for counts in zip(*((result.backbone_images, result.cached_images) for result in results.values()), strict=True)
    )
    print(f"  {images_text(computed, spared)}")


def print_shares(study: Study, bare: Bare) -> None:
    """Prints what the time of a study of one worker went into."""
    log, numbers = study.log, sorted(study.log.results)
    first, *others = numbers
    lead, tail = log.started[first].started - study.called, study.called + study.seconds - log.report_error(numbers[-1])
    wall = (log.report_error(numbers[-1]) - log.report_error(first)) / len(others)
    inside = statistics.fmean(log.results[number].seconds for number in others)
    training = statistics.fmean(sum(epoch.seconds for epoch in log.epochs[number]) for number in others)
    # The machine may be busier at one time than at another: the study's pace is brought to what was timed after it.
    pace = training / bare.training
    validation, building = pace * bare.validation, pace * bare.building
    parts = {
        "training": training,
        "validation": validation,
        "building the network, opening the cache": building,
        "reporting epochs (storage, pruner)": inside - training - validation - building,
        "between trials (result stored, next trial handed out and drawn)": wall - inside,
    }
    print(f"  before the first trial {lead:.1f} s, after the last {tail:.1f} s; of the other {len(others)}, each:")
    for words, seconds in parts.items():
        print(f"    {1000 * seconds:8.1f} ms  {seconds / wall:6.1%}  {words}")
    other = wall - training - validation
    print(f"    {1000 * wall:8.1f} ms  in all; {other / wall:.1%} not training or validation,")
    print(f"    {(other - building) / wall:.1%} sampling, storage and tracking")


def print_comparison(cached: Study, uncached: Study) -> None:
    """Prints the ratio of the times, and how far accuracies differ."""
    ours, theirs = cached.log.accuracies, uncached.log.accuracies
    both = ours.keys() & theirs.keys()
    differences = [abs(ours[drawn] - theirs[drawn]) for drawn in both]
    print(f"ratio of the studies' times: {uncached.seconds / cached.seconds:.1f}")
    print(f"validation accuracies of {len(both)} trials drawn by both studies (of {len(ours)}):", end=" ")
    equal = sum(difference == 0.0 for difference in differences)
    print(f"{equal} equal, largest difference {max(differences, default=0.0):.5f}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=[*TRANSFER, "both"], default="both")
    parser.add_argument("--trials", type=int, default=20, help="of the frozen case")
    parser.add_argument("--unfrozen-trials", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--frozen-epochs", type=int, default=0, help="of the unfrozen case")
    parser.add_argument("--train-images", type=int, default=2000)
    parser.add_argument("--valid-fraction", type=float, default=0.02, help="of all 60,000 images")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--workspace", type=Path, help="folder in which the temporary workspaces are made")
    options = parser.parse_args(arguments)
    print(f"torch {torch.__version__}, {options.workers} worker(s) of one thread, {options.image_size} pixels")
    for case in TRANSFER if options.case == "both" else [options.case]:
        trials = options.trials if case == "frozen" else options.unfrozen_trials
        settings = {
            "transfer": TRANSFER[case].format(frozen_epochs=options.frozen_epochs, lr_factor=LR_FACTOR),
            "data.max_train_images": options.train_images,
            "data.valid_fraction": options.valid_fraction,
            "model.image_size": options.image_size,
            "epochs": options.epochs,
            "study.trials": trials,
        }
        studies: dict[bool, Study] = {}
        for enabled in (False, True):
            print(f"\n{case}, {'with' if enabled else 'without'} the cache", flush=True)
            texts = {**settings, "feature_cache.enabled": json.dumps(enabled)}
            overrides = [Override(path, str(value), path) for path, value in texts.items()]
            file = read_space(parse(SPACE, "the space"), "cache", overrides)
            again = enabled and options.workers == 1 and trials > 1
            study = run(file, workers=options.workers, workspace=options.workspace, again=again)
            print_study(f"  {trials} trials of {options.epochs} epochs", study)
            if study.bare is not None:
                print_shares(study, study.bare)
            studies[enabled] = study
        print_comparison(studies[True], studies[False])


if __name__ == "__main__":
    main()
