"""What a report says first: the best that a study has found, what it is worth, and what mattered."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.analysis.importance import ENOUGH_TRIALS, Importance
from pipeline.core.commands import command
from pipeline.records.final import Final, ModelMetrics
from pipeline.report.final_text import ENSEMBLES, interval_text, left_out_text, values_text
from pipeline.report.spending import time_text

if TYPE_CHECKING:
    from pipeline.report.data import ReportData

# Parameters that are named in words.
NAMED = 3
Interval = tuple[float, float]


@dataclass(frozen=True)
class Card:
    """A figure that stands out: what it is, the figure, and what else must be known."""

    label: str
    value: str
    note: str


@dataclass(frozen=True)
class MetricsRow:
    """A way to classify the measured images: by the model, or by several of them together.

    Attributes:
        label: Which.
        metrics: What it is worth.
        num_parameters: That it needs; None where they are the model's.
    """

    label: str
    metrics: ModelMetrics
    num_parameters: int | None = None


def format_number(value: float) -> str:
    """Writes a share or a loss."""
    return f"{value:.4f}"


def answer(data: "ReportData") -> Iterator[str]:
    """Says what the study has found, in sentences."""
    if data.final is None:
        yield best_text(data)
    else:
        yield from final_sentences(data.final, len(data.ranked))
    if data.importances:
        yield importance_text(data.importances)
    for text in (data.classes.text, data.classes.warning):
        if text:
            yield f"{text[0].upper()}{text[1:]}."
    if data.num_open:
        which = "A trial runs or waits" if data.num_open == 1 else f"{data.num_open} trials run or wait"
        yield f"{which}: the report shows the study as it was when the report was written."


def cards(data: "ReportData") -> Iterator[Card]:
    """Returns the figures that stand out."""
    final, best, spent = data.final, data.best, data.spent
    if final is not None:
        interval = f"95 % interval {interval_text(final.model_metrics.interval)}, {final.num_images:,} images"
        yield Card(f"{final.split} accuracy", format_number(final.model_metrics.accuracy), interval)
        if len(final.by_seed) > 1:
            spread = values_text(final.by_seed.values())
            if final.seeds_interval is not None:
                spread = f"95 % interval {interval_text(final.seeds_interval)}"
            yield Card(f"mean over {len(final.by_seed)} seeds", format_number(final.seeds_mean), spread)
        latency = next((f", {speed.latency_ms:.2g} ms an image" for speed in final.speed if speed.batch_size == 1), "")
        yield Card("parameters", f"{final.num_parameters:,}", f"{final.size_bytes / 1e6:.2f} MB{latency}")
    elif best is not None:
        yield Card(data.metrics[0], format_number(best.values[0]), best.name)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in data.outcomes.items() if count)
    yield Card("trials", str(len(data.trials)), counts or "none has ended")
    spared = f"pruning saved up to {time_text(spent.spared_seconds)}" if spent.spared_epochs else "none was pruned"
    yield Card("training", time_text(spent.total_seconds), spared)


def best_text(data: "ReportData") -> str:
    """Says which trial is the best, where the study has no final result."""
    if data.best is None:
        return "No trial is complete, so there is no best one. The reasons are below."
    value = f"The best trial is {data.best.name}: {data.metrics[0]} {format_number(data.best.values[0])}."
    count = len(data.ranked)
    if data.compares_cases:
        return f"{value} The study compares named cases, each over seeds: a single trial says little."
    if count == 1:
        return f"{value} It is the only complete trial."
    return (
        f"{value} As the best of {count} complete trials, measured on the images that chose it, this is optimistic. "
        f"Run {command('finalize', data.study)}: it trains the best configurations again with new seeds, and measures "
        "one of them on the test set."
    )


def final_sentences(final: Final, num_complete: int) -> Iterator[str]:
    """Says what the final result is, and how much too good the study's own best value was.

    Args:
        final: The final result.
        num_complete: Complete trials of the study.
    """
    others = f", the best mean of {len(final.finalists)} finalists" if len(final.finalists) > 1 else ""
    yield f"Chosen: the configuration of trial {final.chosen.trial}{others}: {format_chosen(final)}."
    best = final.study_best
    if best.mean is None:
        value = format_number(best.study_value)
        yield f"The study's best one, trial {best.trial} with {value}, diverged with new seeds."
    else:
        spread = interval_text(best.interval) or values_text(best.values.values())
        yield (
            f"The study's best {final.metric} was {format_number(best.study_value)} (trial {best.trial}), the best of "
            f"{num_complete}, and so optimistic: over {len(best.values)} new seeds its mean is "
            f"{format_number(best.mean)} ({spread}), {abs(best.study_value - best.mean):.4f} "
            f"{'higher' if best.mean > best.study_value else 'lower'}."
        )
    images = f"on {final.num_images:,} {final.split} images"
    yield f"The model of seed {final.seed} has accuracy {format_number(final.model_metrics.accuracy)} {images}."
    if final.left_out:
        text = left_out_text(final)
        yield f"{text[0].upper()}{text[1:]}."
    if final.split != "test":
        yield "The data have no test set: these images chose the configuration, so this value is optimistic."
    elif final.times_measured > 1:
        times = f"The test set was used {final.times_measured} times for this study"
        yield f"{times}: each time makes it less of a test."


def format_chosen(final: Final) -> str:
    """Says what the chosen configuration's mean is."""
    chosen = final.chosen
    assert chosen.mean is not None
    spread = values_text(chosen.values.values())
    if chosen.interval is not None:
        spread = f"95 % interval {interval_text(chosen.interval)}"
    return f"mean {final.metric} {format_number(chosen.mean)} over {len(chosen.values)} new seeds ({spread})"


def metrics_rows(final: Final) -> list[MetricsRow]:
    """Returns all ways of classification that were measured, the plain model first."""
    found = [MetricsRow(f"the model, seed {final.seed}", final.model_metrics)]
    if final.monte_carlo is not None:
        found.append(
            MetricsRow(f"the model by Monte Carlo dropout, {final.monte_carlo_samples} passes", final.monte_carlo)
        )
    for ensemble in final.ensembles:
        label = f"{len(set(ensemble.members))} {ENSEMBLES[ensemble.name]}"
        found.append(MetricsRow(label, ensemble.metrics, ensemble.num_parameters))
    if final.refit is not None:
        label = f"trained on the validation images, too, {final.refit_epochs}"
        found.append(MetricsRow(label, final.refit))
    return found


def estimates(final: Final) -> list[tuple[str, float, Interval | None, bool]]:
    """Returns accuracies with intervals: from the study's own one to those on the measured part; the model's counts."""
    rows: list[tuple[str, float, Interval | None, bool]] = []
    best = final.study_best
    if final.metric == "valid_accuracy":
        rows.append((f"validation: trial {best.trial} in the study", best.study_value, None, False))
        rows += [
            (f"validation: trial {one.trial} over {len(one.values)} new seeds", one.mean, one.interval, False)
            for one in final.finalists
            if one in (best, final.chosen) and one.mean is not None
        ]
    if len(final.by_seed) > 1:
        label = f"{final.split}: mean over {len(final.by_seed)} seeds"
        rows.append((label, final.seeds_mean, final.seeds_interval, False))
    for row in metrics_rows(final):
        label, metrics = f"{final.split}: {row.label}", row.metrics
        rows.append((label, metrics.accuracy, metrics.interval, metrics is final.model_metrics))
    return rows


def importance_text(rows: Sequence[Importance]) -> str:
    """Says what mattered most, and how far that can be trusted."""
    named = [f"{row.parameter} ({row.ped_anova:.0%})" for row in rows[:NAMED]]
    explained = max(rows, key=lambda row: row.fanova or 0.0)
    by_variance = "" if explained.fanova is None else f"; by fANOVA {explained.parameter} ({explained.fanova:.0%})"
    count = max(row.trials for row in rows)
    said = f"What mattered most: by PED-ANOVA {', '.join(named)}{by_variance}."
    if count >= ENOUGH_TRIALS:
        return said
    return f"{said} With {count} complete trials this is rough; {ENOUGH_TRIALS} would be enough."
