"""A final result in sentences."""

from collections.abc import Iterable, Iterator, Sequence

from pipeline.records.final import Final, ModelMetrics

# What the members of an ensemble are, after their number.
ENSEMBLES = {
    "seeds": "of the chosen configuration, averaged",
    "top": "of the finalists, one each, averaged",
    "greedy": "selected by validation, averaged",
}


def final_lines(final: Final) -> Iterator[str]:
    """Writes what the chosen model is worth, and what may be made of it."""
    best, chosen = final.study_best, final.chosen
    yield f"chosen by validation mean: trial {chosen.trial}; its model is that of seed {final.seed}"
    yield f"optimism: the study's best value was {best.study_value:.4f} (trial {best.trial}); " + (
        f"with new seeds that configuration has {best.mean:.4f}"
        if best.mean is not None
        else "with new seeds it diverged"
    )
    times = "once" if final.times_measured == 1 else f"{final.times_measured} times, which makes it optimistic"
    yield f"on the {final.num_images:,} {final.split} images, measured {times}:"
    yield f"{'':44}  accuracy  95 % interval     log-likelihood  calibration error  parameters"
    yield measured_line("the model", final.model_metrics, final.num_parameters)
    if final.monte_carlo is not None:
        label = f"the same with Monte Carlo dropout x {final.monte_carlo_samples}"
        yield measured_line(label, final.monte_carlo, final.num_parameters)
    if final.refit is not None:
        yield measured_line("refitted, validation images included", final.refit, final.num_parameters)
    for ensemble in final.ensembles:
        label = f"{len(set(ensemble.members))} {ENSEMBLES[ensemble.name]}"
        yield measured_line(label, ensemble.metrics, ensemble.num_parameters)
    if final.left_out:
        yield left_out_text(final)
    if len(final.by_seed) > 1:
        spread = values_text(final.by_seed.values())
        if final.seeds_interval is not None:
            spread = f"95 % interval of the mean {interval_text(final.seeds_interval)}"
        mean = f"{final.seeds_mean:.4f} ({spread})"
        yield f"{final.split} accuracy of the configuration over {len(final.by_seed)} seeds: {mean}"
    weakest = sorted(final.classes, key=lambda c: c.recall if c.recall is not None else 1.0)[:3]
    yield "hardest classes: " + ", ".join(
        f"{c.name} (recall {share(c.recall)}, precision {share(c.precision)})" for c in weakest
    )
    for speed in final.speed:
        amount = f"{speed.latency_ms:.3g} ms, {speed.images_per_second:,.0f} images/s"
        yield f"batch of {speed.batch_size}: {amount} on {final.device}, {final.threads} threads"
    yield f"{final.num_parameters:,} parameters, {final.size_bytes / 2**20:.2f} MiB"


def left_out_text(final: Final) -> str:
    """Says which models are in no ensemble, and why; for a result that has any."""
    return f"not in the ensembles, because validated on other images than the chosen model: {', '.join(final.left_out)}"


def measured_line(label: str, metrics: ModelMetrics, num_parameters: int) -> str:
    """Writes a row under the heading of `final_lines`."""
    cells = f"{metrics.accuracy:8.4f}  {interval_text(metrics.interval):16}  {metrics.log_likelihood:14.4f}"
    return f"  {label:42}  {cells}  {metrics.calibration_error:17.4f}  {num_parameters:10,}"


def interval_text(interval: Sequence[float] | None) -> str:
    """Writes an interval; nothing if there is none."""
    return "" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"


def values_text(values: Iterable[float]) -> str:
    """Writes what single seeds have: where they are too few for an interval."""
    return ", ".join(f"{value:.4f}" for value in values)


def share(value: float | None) -> str:
    """Writes a share; a dash if there is none."""
    return "-" if value is None else f"{value:.3f}"
