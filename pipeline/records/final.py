"""What `dnntune finalize` has found, in plain values: kept in the workspace, read by export, register and report."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from pipeline.config.metrics import Monitor, direction

Split = Literal["valid", "test"]


@dataclass(frozen=True)
class Finalist:
    """One of a study's best configurations, trained again over seeds that the study has not used.

    Attributes:
        trial: Number of its trial.
        study_value: The trial's metric in the study: the best of many, and so too good.
        values: The metric by seed.
        mean: Its mean; None if no training was complete.
        interval: The mean's 95 % interval; None with fewer values than `pipeline.evaluation.intervals.FEWEST`.
        config: The configuration as plain values.
    """

    trial: int
    study_value: float
    values: dict[int, float]
    mean: float | None
    interval: tuple[float, float] | None
    config: dict[str, Any]


@dataclass(frozen=True)
class ModelMetrics:
    """What a model, or several of them together, is worth on the part that was measured.

    Attributes:
        accuracy: Share of the images that are classified correctly.
        interval: Its 95 % interval (Wilson).
        log_likelihood: Mean logarithm of the right class's probability, in nats.
        calibration_error: Expected calibration error.
        entropy: Mean entropy of the predicted distribution, in nats.
    """

    accuracy: float
    interval: tuple[float, float]
    log_likelihood: float
    calibration_error: float
    entropy: float


@dataclass(frozen=True)
class ClassResult:
    """One class: its name, images, and of those predicted to be it (precision) and being it (recall) the right share.

    Precision is None where the class was never predicted, recall where it has no images.
    """

    name: str
    images: int
    precision: float | None
    recall: float | None

    @property
    def f1(self) -> float | None:
        """The harmonic mean of recall and precision; 0 where only one of them is known; None where neither is."""
        if self.precision is None and self.recall is None:
            return None
        precision, recall = self.precision or 0.0, self.recall or 0.0
        return 2.0 * precision * recall / (precision + recall) if precision + recall > 0.0 else 0.0


@dataclass(frozen=True)
class Confusion:
    """How many images of a class were taken for another one, and which share of the class's images that is."""

    label: str
    predicted: str
    images: int
    share: float


@dataclass(frozen=True)
class Misclassified:
    """An image that is classified wrongly with much confidence.

    Attributes:
        row: Its place in the part.
        label: Its class.
        predicted: The class that it is given.
        probability: With which probability.
        png: The image, a PNG file in base64.
    """

    row: int
    label: int
    predicted: int
    probability: float
    png: str


@dataclass(frozen=True)
class Ensemble:
    """Models whose probabilities are averaged.

    Attributes:
        name: Which: seeds, top or greedy.
        members: The models in words; one that was chosen twice appears twice.
        num_parameters: Of all different members together.
        valid_accuracy: Accuracy on the validation set, on which greedy members are chosen.
        metrics: What it is worth.
    """

    name: str
    members: tuple[str, ...]
    num_parameters: int
    valid_accuracy: float
    metrics: ModelMetrics


@dataclass(frozen=True)
class Speed:
    """Median time of a forward pass, images ready on the device: in milliseconds for the batch, in images a second."""

    batch_size: int
    latency_ms: float
    images_per_second: float


@dataclass(frozen=True)
class Final:
    """A study's final result.

    Attributes:
        study: The study.
        metric: What it optimizes.
        ended: Unix time in seconds.
        times_measured: How often the part has been measured for this study; more than once makes it less of a test.
        finalists: The best configurations, the best mean first: the first one is chosen.
        seed: Seed of the model that stands for the chosen configuration: the best by the metric.
        finals: Name of the study of the finalists, whose trials' models are kept.
        number: Number of the model's trial in it.
        split: What was measured: test, or valid where the data have no test set.
        num_images: Images of that part.
        class_names: The classes.
        model_metrics: The model.
        by_seed: Accuracy on the part of the chosen configuration's models, by seed.
        seeds_mean: Its mean.
        seeds_interval: The mean's 95 % interval; likewise.
        monte_carlo: The model by Monte Carlo dropout; None without dropout.
        monte_carlo_samples: Passes of it.
        classes: Class by class.
        confusion: Counts of images, a row for each true class, a column for each predicted one.
        misclassified: Images classified wrongly with the most confidence.
        left_out: Models that are in no ensemble: they were validated on other images than the chosen one.
        ensembles: Several models together.
        refit: The chosen configuration trained on training and validation images together; None if not asked for.
        refit_epochs: Epochs of that training, phase by phase, in words.
        speed: Of the model, for some batch sizes.
        device: What it was measured on.
        threads: Threads it computed with.
        num_parameters: Of the model.
        size_bytes: Size of its weights' file.
    """

    study: str
    metric: Monitor
    ended: float
    times_measured: int
    finalists: tuple[Finalist, ...]
    seed: int
    finals: str
    number: int
    split: Split
    num_images: int
    class_names: tuple[str, ...]
    model_metrics: ModelMetrics
    by_seed: dict[int, float]
    seeds_mean: float
    seeds_interval: tuple[float, float] | None
    monte_carlo: ModelMetrics | None
    monte_carlo_samples: int
    classes: tuple[ClassResult, ...]
    confusion: tuple[tuple[int, ...], ...]
    misclassified: tuple[Misclassified, ...]
    left_out: tuple[str, ...]
    ensembles: tuple[Ensemble, ...]
    refit: ModelMetrics | None
    refit_epochs: str | None
    speed: tuple[Speed, ...]
    device: str
    threads: int
    num_parameters: int
    size_bytes: int

    @property
    def chosen(self) -> Finalist:
        """The configuration with the best mean."""
        return self.finalists[0]

    @property
    def study_best(self) -> Finalist:
        """The finalist that was the best one in the study; another one may be chosen."""
        sign = -1.0 if direction(self.metric) == "maximize" else 1.0
        return min(self.finalists, key=lambda finalist: (sign * finalist.study_value, finalist.trial))

    def to_json(self) -> dict[str, Any]:
        """Returns plain values for a file or another program."""
        return dataclasses.asdict(self)


FINAL_TYPE = TypeAdapter(Final)
