"""The settings of a study: what it optimizes, for how long, and how it searches.

The table rows that turn `SamplerConfig` and `PrunerConfig` into Optuna's objects are in `pipeline.study`.
"""

from typing import Annotated, Any, Literal, Self, cast, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from pipeline.config.metrics import Direction, Metric, direction
from pipeline.config.training import Block, Monitor, tuple_from_list
from pipeline.core.names import Name

# A grid's combinations: queued one by one before the first trial runs, in minutes at most.
MAX_GRID = 5_000


class StartupBlock(Block):
    startup_trials: Annotated[int, Field(ge=0)] = 10
    """Trials drawn at random (the baselines count) before the model is asked."""


class Tpe(StartupBlock):
    """Tree-structured Parzen estimator, over all parameters jointly, conditional ones in their groups: Bergstra et
    al., NeurIPS 2011; Watanabe, 2023.
    """

    kind: Literal["tpe"] = "tpe"
    candidates: PositiveInt = 24
    """Points drawn from the model for each trial, of which the best is tried."""


class Gp(StartupBlock):
    """Gaussian process with expected improvement. Learns from complete trials only: use it with `pruner: none`."""

    kind: Literal["gp"] = "gp"


class CmaEs(StartupBlock):
    """CMA-ES (Hansen, 2016), for numbers and one metric; choices and what hangs on them are drawn at random."""

    kind: Literal["cmaes"] = "cmaes"
    startup_trials: Annotated[int, Field(ge=0)] = 1
    """Trials drawn at random first."""
    sigma0: PositiveFloat | None = None
    """Initial standard deviation; null: a sixth of the smallest range."""


class Qmc(Block):
    """A low-discrepancy sequence; choices and what hangs on them are drawn at random."""

    kind: Literal["qmc"] = "qmc"
    sequence: Literal["sobol", "halton"] = "sobol"
    """Which sequence."""


class Random(Block):
    """Independent draws: Bergstra and Bengio, JMLR 2012."""

    kind: Literal["random"] = "random"


class Grid(Block):
    """Every combination once, conditional parameters only where they apply; at most 5,000, as all are queued first."""

    kind: Literal["grid"] = "grid"
    points: Annotated[int, Field(ge=2, le=MAX_GRID)] = 3
    """Values taken from a range of floats (or of more integers than this), evenly on its scale, ends included."""


ONE_METRIC_ONLY = (
    "sampler: {kind} optimizes one metric; got {metrics}. Take tpe, gp, random, qmc or grid, or name one metric"
)
NEEDS_MEASUREMENTS = (
    "pruner.by_verdict: a verdict needs measurements, and gradient_flow_steps is null. Set it, or drop by_verdict"
)


class AnyPruner(Block):
    by_verdict: bool = False
    """Also end a trial after its first epoch if its gradients vanish or explode or its units are dead by then: see
    docs/techniques.md for the thresholds. Off by default: some slow starters recover."""


class PrunerBlock(AnyPruner):
    patience: PositiveInt | None = None
    """Prune only once a trial has not improved on itself for this many epochs, those of the warm-up left out; null:
    without waiting for that."""


class NoPruning(AnyPruner):
    kind: Literal["none"] = "none"


class Patient(AnyPruner):
    """Prunes a trial that has not improved on itself, whatever the others did."""

    kind: Literal["patient"] = "patient"
    patience: PositiveInt = 5
    """Epochs without improvement, as early stopping counts them (Optuna's PatientPruner ends one later)."""
    min_delta: NonNegativeFloat = 0.0
    """What counts as an improvement, in the metric's unit."""


class MedianBlock(PrunerBlock):
    startup_trials: Annotated[int, Field(ge=0)] = 5
    """Trials that must be complete before any is pruned."""
    warmup_epochs: Annotated[int, Field(ge=0)] = 3
    """Epochs of each trial at whose ends it is not pruned; the end of the next is the first. Give schedules that pay
    late (one_cycle, cosine) more."""


class Median(MedianBlock):
    """Prunes a trial whose best value so far is worse than the median of the others' at the same epoch."""

    kind: Literal["median"] = "median"


class Percentile(MedianBlock):
    """As median, keeping another share."""

    kind: Literal["percentile"] = "percentile"
    percentile: Annotated[float, Field(gt=0.0, lt=100.0)] = 25.0
    """The share of trials kept, in percent."""


class HalvingBlock(PrunerBlock):
    min_epochs: PositiveInt = 2
    """Epochs that every trial gets: it is first judged at the end of the last of them."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """Of this many trials one is promoted to this many times the epochs."""


class SuccessiveHalving(HalvingBlock):
    """Asynchronous successive halving: Li et al., MLSys 2020."""

    kind: Literal["successive_halving"] = "successive_halving"


class Hyperband(HalvingBlock):
    """Several successive halvings that prune from early to hardly ever: Li et al., JMLR 2018."""

    kind: Literal["hyperband"] = "hyperband"


SamplerConfig = Annotated[Tpe | Gp | CmaEs | Qmc | Random | Grid, Field(discriminator="kind")]
PrunerConfig = Annotated[
    NoPruning | Patient | Median | Percentile | SuccessiveHalving | Hyperband, Field(discriminator="kind")
]
Baselines = Annotated[tuple[dict[str, Any], ...], tuple_from_list]


def _one_or_more(value: object) -> object:
    """Returns a list as a tuple, and a single word as a tuple of one."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _refuse_unusable(metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
    """Refuses no metrics, metrics that repeat themselves, and a first one that is not known after every epoch."""
    if not metrics:
        raise ValueError(f"must name at least one of {', '.join(get_args(Metric))}")
    if repeated := [metric for metric in dict.fromkeys(metrics) if metrics.count(metric) > 1]:
        raise ValueError(f"may have each metric once. Drop the second {repeated[0]}")
    if metrics[0] not in (measured := get_args(Monitor)):
        raise ValueError(
            f"must begin with one that every epoch has, by which trials are pruned. Put {' or '.join(measured)} first"
        )
    return metrics


Metrics = Annotated[tuple[Metric, ...], BeforeValidator(_one_or_more), AfterValidator(_refuse_unusable)]


class StudyConfig(Block):
    """How a study searches its space."""

    name: Name | None = None
    """The study's name; null: the file's name without its ending."""
    metrics: Metrics = ("valid_accuracy",)
    """What is optimized, measured with the best epoch's weights: a word, or a list for a study of several goals, whose
    result is a Pareto front. The first one, valid_accuracy or valid_loss, prunes trials, ranks them and is shown where
    one number is shown. Only valid_accuracy is maximized. latency_ms is the median time of a forward pass of one image,
    on the study's device and threads: other work on the machine, other workers included, disturbs it. num_parameters
    counts frozen ones, too."""
    trials: PositiveInt = 50
    """Trials in all, over all calls: complete, pruned and diverged ones count, failed ones are made up for."""
    timeout: PositiveFloat | None = None
    """Seconds after which one call ends; null: not."""
    retries: Annotated[int, Field(ge=0)] = 2
    """Times that a trial whose process died is tried again, from its last checkpoint, before it is left failed."""
    trial_timeout: PositiveFloat | None = None
    """Seconds after which a trial is pruned, at the end of its epoch, unless that is its last; if that takes half as
    long again, at once. null: never."""
    trial_memory: PositiveFloat | None = None
    """Main memory in GiB that a trial's process may take; one that takes more fails, and is not tried again. null:
    all."""
    keep_models: Annotated[int, Field(ge=0)] = 10
    """The weights of the best so many trials are kept in the workspace, for ensembles and exports; 0: none."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of the sampler. With one worker a study repeats itself, interrupted or not."""
    sampler: SamplerConfig = Tpe()
    """How configurations are drawn."""
    pruner: PrunerConfig = Median()
    """Which trials end early."""
    gradient_flow_steps: PositiveInt | None = 50
    """Optimizer steps from one measurement of gradient flow to the next; null: no measurement and no verdict."""
    baselines: Baselines = ()
    """Configurations that run first, each a mapping of parameter names to values; what it leaves out is drawn."""

    @property
    def metric(self) -> Monitor:
        """The first metric."""
        return cast(Monitor, self.metrics[0])

    @property
    def direction(self) -> Direction:
        """The way in which the first metric improves."""
        return direction(self.metric)

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The way in which each metric improves."""
        return tuple(direction(metric) for metric in self.metrics)

    @model_validator(mode="after")
    def _several_metrics_need_a_sampler_for_them(self) -> Self:
        if len(self.metrics) > 1 and isinstance(self.sampler, CmaEs):
            raise ValueError(ONE_METRIC_ONLY.format(kind=self.sampler.kind, metrics=", ".join(self.metrics)))
        return self

    @model_validator(mode="after")
    def _verdicts_need_measurements(self) -> Self:
        if self.pruner.by_verdict and self.gradient_flow_steps is None:
            raise ValueError(NEEDS_MEASUREMENTS)
        return self
