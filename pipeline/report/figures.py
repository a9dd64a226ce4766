"""The figures of a report, each where a study has something for it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.figures.curves import draw_importances
from pipeline.figures.epochs import BEST_COLORS, draw_learning_curves, draw_rates
from pipeline.figures.gradient_flow import draw_gradient_flow
from pipeline.figures.outcome import draw_confusion, draw_estimates, draw_time
from pipeline.figures.parallel import draw_parallel
from pipeline.figures.svg import Drawing, drawing
from pipeline.figures.trials import draw_front, draw_history, draw_slice
from pipeline.figures.values import PlottedTrial, focus
from pipeline.report.headline import estimates
from pipeline.report.spending import time_text, time_unit

if TYPE_CHECKING:
    from pipeline.records.final import Final
    from pipeline.report.data import ReportData

# More are too many to look at; the others have mattered less.
MOST_IMPORTANCES = 12
FAR = "Outliers are drawn on the edge."


def figures(data: "ReportData") -> dict[str, list[Drawing]]:
    """Returns the figures of each section; a section that has nothing to draw has none."""
    return {
        "final": list(_final(data.final)),
        "confusion": list(_confusion(data.final)),
        "history": list(_history(data)),
        "front": list(_front(data)),
        "parallel": list(_parallel(data)),
        "importance": list(_importance(data)),
        "slices": list(_slices(data)),
        "curves": list(_curves(data)),
        "gradients": list(_gradients(data)),
        "time": list(_time(data)),
    }


def _final(final: "Final | None") -> Iterator[Drawing]:
    if final is None:
        return
    rows = estimates(final)
    said = "; ".join(f"{label} {value:.4f}" for label, value, _, _ in rows)
    figure = draw_estimates(rows, "accuracy")
    yield drawing(figure, "estimates", f"Accuracies: {said}", "Orange: the chosen model.")


def _confusion(final: "Final | None") -> Iterator[Drawing]:
    if final is None:
        return
    wrong = [
        (count, final.class_names[true], final.class_names[predicted])
        for true, row in enumerate(final.confusion)
        for predicted, count in enumerate(row)
        if true != predicted and count
    ]
    most = ", ".join(f"{count} of {true} for {predicted}" for count, true, predicted in sorted(wrong, reverse=True)[:3])
    caption = f"Most often mistaken: {most}." if wrong else "No image was mistaken."
    figure = draw_confusion(final.confusion, final.class_names)
    yield drawing(figure, "confusion", f"Confusion matrix of {len(final.class_names)} classes. {caption}", caption)


def _history(data: "ReportData") -> Iterator[Drawing]:
    if not data.trials:
        return
    figure = draw_history(data.trials, data.metrics[0], maximize=data.maximizes[0])
    best = "no complete one" if data.best is None else f"the best is {data.best.label}"
    yield drawing(
        figure,
        "history",
        f"{data.metrics[0]} of {len(data.trials)} trials over their numbers; {best}",
        f"Each trial's {data.metrics[0]} at its best epoch; a pruned trial has its best epoch so far. {FAR}",
    )


def _front(data: "ReportData") -> Iterator[Drawing]:
    if not data.ranked:
        return
    for index, metric in list(enumerate(data.metrics))[1:]:
        figure = draw_front(data.ranked, data.pareto_front, (index, metric), (0, data.metrics[0]))
        yield drawing(
            figure,
            f"front-{metric}",
            f"{data.metrics[0]} against {metric}; {len(data.pareto_front)} trials are on the Pareto front",
            f"Orange: the Pareto front, {len(data.pareto_front)} trials that no other one beats in all metrics.",
        )


def _parallel(data: "ReportData") -> Iterator[Drawing]:
    trials = [trial for trial in data.trials if trial.settings]  # some fail before they draw anything
    if all(trial.value is None for trial in trials):
        return
    figure = draw_parallel(trials, data.axes, data.metrics[0], maximize=data.maximizes[0])
    yield drawing(
        figure,
        "parallel",
        f"{len(trials)} trials as lines through {len(data.axes)} settings to their {data.metrics[0]}",
        "Each line is a trial: the more orange, the better; thick: the best; gray: not complete. If a trial does not "
        f"have a setting, its line passes below the axis. {FAR}",
    )


def _importance(data: "ReportData") -> Iterator[Drawing]:
    if not data.importances:
        return
    largest = sorted(data.importances, key=lambda row: -max(row.ped_anova, row.fanova or 0.0))[:MOST_IMPORTANCES]
    rows = [(row.parameter, row.ped_anova, row.fanova) for row in data.importances if row in largest]
    left_out = len(data.importances) - len(rows)
    yield drawing(
        draw_importances(rows, ""),
        "importance",
        f"Importances of {len(rows)} parameters; by PED-ANOVA {rows[0][0]} has the largest",
        (f"{left_out} less important parameters are not shown. " if left_out else "")
        + "PED-ANOVA: how much a parameter's values in the best tenth of the trials differ from those in all. fANOVA: "
        "the share of the metric's variance that it explains by itself, among the trials that have it.",
    )


def _slices(data: "ReportData") -> Iterator[Drawing]:
    valued = [trial for trial in data.trials if trial.value is not None]
    for axis in data.axes:
        if having := [trial for trial in valued if axis.name in trial.settings]:
            limits = focus([trial.value for trial in valued if trial.value is not None], maximize=data.maximizes[0])
            described = f"{data.metrics[0]} of {len(having)} trials over {axis.name}"
            yield drawing(draw_slice(having, axis, limits), f"slice-{axis.name}", described, "")


def _curves(data: "ReportData") -> Iterator[Drawing]:
    trials = [trial for trial in data.trials if trial.curves]
    if not trials:
        return
    best = [trial for trial in data.ranked if trial.curves][: len(BEST_COLORS)]
    measure = data.metrics[0]
    yield drawing(
        draw_learning_curves(trials, best, measure, maximize=data.maximizes[0]),
        "curves",
        f"{measure} over the epochs of {len(trials)} trials",
        "Gray: pruned and other incomplete trials; blue: complete ones.",
    )
    if best:
        described = "Learning rates over the epochs of " + ", ".join(trial.name for trial in best)
        yield drawing(draw_rates(best), "rates", described, "The learning rate of each epoch's last step.")


def _gradients(data: "ReportData") -> Iterator[Drawing]:
    for which, trial in (("best", data.best), ("worst", data.worst)):
        if trial is not None and trial.curves.get("gradient_flow"):
            yield _gradient_flow(which, trial)


def _gradient_flow(which: str, trial: PlottedTrial) -> Drawing:
    flow = {int(epoch): gradients for epoch, gradients in trial.curves["gradient_flow"]}
    described = f"Gradient's norm by layer and epoch of the {which} trial, {trial.label}"
    figure = draw_gradient_flow(flow, f"the {which} trial: {trial.name}")
    return drawing(figure, f"gradients-{which}", described, f"{trial.verdict.capitalize()}." if trial.verdict else "")


def _time(data: "ReportData") -> Iterator[Drawing]:
    spent = data.spent
    if not spent.seconds:
        return
    scale, unit = time_unit(max(*spent.seconds.values(), spent.spared_seconds))
    rows = [(outcome, seconds / scale) for outcome, seconds in spent.seconds.items()]
    described = ", ".join(f"{outcome} {time_text(seconds)}" for outcome, seconds in spent.seconds.items())
    figure = draw_time(rows, spent.spared_seconds / scale, unit)
    yield drawing(figure, "time", f"Time of all trials together: {described}", "")
