"""The settings of a study: what it optimizes, for how long, and how it searches.

The table rows that turn `SamplerConfig` and `PrunerConfig` into Optuna's objects are in `pipeline.study`.
"""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from pipeline.config.kinds import Block, KindBlock, KindOf, register_built_ins
from pipeline.config.metrics import Direction, Metric, Monitor, direction, metric_names, metric_row
from pipeline.config.training import tuple_from_list
from pipeline.core.names import Name

# A grid's combinations: queued one by one before the first trial runs, in minutes at most.
MAX_GRID = 5_000


class SamplerBlock(KindBlock):
    group: ClassVar[str] = "sampler"


class StartupBlock(SamplerBlock):
    startup_trials: Annotated[int, Field(ge=0)] = 10
    """Number of random trials, baselines included, before the model is used."""


class Tpe(StartupBlock):
    """Tree-structured Parzen estimator, over all parameters jointly, conditional ones in their groups: Bergstra et
    al., NeurIPS 2011; Watanabe, 2023.
    """

    kind: Literal["tpe"] = "tpe"
    candidates: PositiveInt = 24
    """Number of candidates drawn from the model for each trial; the best one is tried."""


class Gp(StartupBlock):
    """Gaussian process with expected improvement. It learns from complete trials only: use it with `pruner: none`."""

    kind: Literal["gp"] = "gp"


class CmaEs(StartupBlock):
    """CMA-ES (Hansen, 2016), for numeric parameters and one metric; categorical and conditional ones are random."""

    kind: Literal["cmaes"] = "cmaes"
    startup_trials: Annotated[int, Field(ge=0)] = 1
    """Number of random trials at the beginning."""
    sigma0: PositiveFloat | None = None
    """Initial standard deviation; null: a sixth of the smallest range."""


class Qmc(SamplerBlock):
    """A low-discrepancy sequence; categorical and conditional parameters are random."""

    kind: Literal["qmc"] = "qmc"
    sequence: Literal["sobol", "halton"] = "sobol"
    """Which sequence."""


class Random(SamplerBlock):
    """Independent draws: Bergstra and Bengio, JMLR 2012."""

    kind: Literal["random"] = "random"


class Grid(SamplerBlock):
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


class AnyPruner(KindBlock):
    group: ClassVar[str] = "pruner"
    by_verdict: bool = False
    """Also prune a trial after its first epoch if its gradients vanish or explode, or its units are dead: see
    docs/techniques.md for the thresholds. Off by default: some slow starters recover."""


class PrunerBlock(AnyPruner):
    patience: PositiveInt | None = None
    """Prune a trial only if it has not improved for this many epochs (not counting the warm-up); null: do not wait."""


class NoPruning(AnyPruner):
    kind: Literal["none"] = "none"


class Patient(AnyPruner):
    """Prunes a trial that has stopped improving, whatever the other trials did."""

    kind: Literal["patient"] = "patient"
    patience: PositiveInt = 5
    """Epochs without improvement, as early stopping counts them (Optuna's PatientPruner ends one later)."""
    min_delta: NonNegativeFloat = 0.0
    """The smallest change that counts as an improvement, in the unit of the metric."""


class MedianBlock(PrunerBlock):
    startup_trials: Annotated[int, Field(ge=0)] = 5
    """Number of trials that must be complete before any is pruned."""
    warmup_epochs: Annotated[int, Field(ge=0)] = 3
    """Epochs at the beginning of each trial without pruning. Use more for schedules that pay off late (one_cycle,
    cosine)."""


class Median(MedianBlock):
    """Prunes a trial whose best value so far is worse than the median of the others' at the same epoch."""

    kind: Literal["median"] = "median"


class Percentile(MedianBlock):
    """Like median, but keeps another share of the trials."""

    kind: Literal["percentile"] = "percentile"
    percentile: Annotated[float, Field(gt=0.0, lt=100.0)] = 25.0
    """The share of trials kept, in percent."""


class HalvingBlock(PrunerBlock):
    min_epochs: PositiveInt = 2
    """Epochs that every trial gets; it may be pruned at the end of the last of them."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """One of this many trials is promoted to this many times the epochs."""


class SuccessiveHalving(HalvingBlock):
    """Asynchronous successive halving: Li et al., MLSys 2020."""

    kind: Literal["successive_halving"] = "successive_halving"


class Hyperband(HalvingBlock):
    """Several successive halvings that prune from early to hardly ever: Li et al., JMLR 2018."""

    kind: Literal["hyperband"] = "hyperband"


SamplerConfig = Annotated[SamplerBlock, KindOf("sampler")]
PrunerConfig = Annotated[AnyPruner, KindOf("pruner")]
register_built_ins("pipeline.search.samplers:SAMPLERS", Tpe, Gp, CmaEs, Qmc, Random, Grid)
register_built_ins(
    "pipeline.search.pruners:PRUNERS", NoPruning, Patient, Median, Percentile, SuccessiveHalving, Hyperband
)
Baselines = Annotated[tuple[dict[str, Any], ...], tuple_from_list]


def _one_or_more(value: object) -> object:
    """Returns a list as a tuple, and a single word as a tuple of one."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _refuse_unusable(metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
    """Refuses no metrics, metrics that repeat themselves, and a first one that is not known after every epoch."""
    if not metrics:
        raise ValueError(f"must name at least one of {', '.join(metric_names())}")
    if repeated := [metric for metric in dict.fromkeys(metrics) if metrics.count(metric) > 1]:
        raise ValueError(f"may have each metric once. Drop the second {repeated[0]}")
    if not metric_row(metrics[0]).is_per_epoch:
        raise ValueError(
            "must begin with a metric that is known after every epoch, for pruning. Put one of the valid_ metrics first"
        )
    return metrics


Metrics = Annotated[tuple[Metric, ...], BeforeValidator(_one_or_more), AfterValidator(_refuse_unusable)]


class StudyConfig(Block):
    """How a study searches its space."""

    name: Name | None = None
    """The study's name; null: the file's name without its ending."""
    metrics: Metrics = ("valid_accuracy",)
    """The metric to optimize, measured with the weights of the best epoch, or a list of metrics; several metrics give a
    Pareto front. docs/imbalance.md lists all, and which are maximized. Trials are pruned and ranked by the first one,
    which must be known after every epoch: neither latency_ms nor num_parameters. Which epoch is the best is
    early_stopping.monitor's to say. latency_ms is the median time of a forward pass of one image, on the study's
    device and number of threads; other work on the machine, such as other workers, disturbs it. num_parameters includes
    frozen parameters."""
    trials: PositiveInt = 50
    """Total number of trials, over all runs. Complete, pruned and diverged trials count; failed ones are replaced."""
    timeout: PositiveFloat | None = None
    """Seconds after which a run of the study stops; null: no limit."""
    retries: Annotated[int, Field(ge=0)] = 2
    """How often a trial whose process died is retried from its last checkpoint, before it stays failed."""
    trial_timeout: PositiveFloat | None = None
    """Seconds after which a trial is pruned, at the end of its epoch unless that is its last; after half as long again,
    immediately. null: no limit."""
    trial_memory: PositiveFloat | None = None
    """Main memory in GiB that a trial's process may use; a trial that uses more fails, and is not retried. null: no
    limit."""
    keep_models: Annotated[int, Field(ge=0)] = 10
    """Save the weights of this many of the best trials in the workspace, for ensembles and exports."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of the sampler. With one worker, a study is reproducible, even if it is interrupted and resumed."""
    sampler: SamplerConfig = Tpe()
    """How configurations are drawn."""
    pruner: PrunerConfig = Median()
    """Which trials to stop early."""
    gradient_flow_steps: PositiveInt | None = 50
    """Optimizer steps from one measurement of gradient flow to the next; null: no measurement and no verdict."""
    baselines: Baselines = ()
    """Configurations to run first: mappings of parameter names to values. Parameters that are left out are drawn."""

    @property
    def metric(self) -> Monitor:
        """The first metric."""
        return self.metrics[0]

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
