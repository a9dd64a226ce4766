"""What commands print: tables, lines, and what to type next."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.commands import command
from pipeline.core.printing import print_line
from pipeline.core.workspace import Workspace
from pipeline.plugins.loading import plugin_names
from pipeline.records.phases import images_text
from pipeline.records.results import EpochResult

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.study.summary import StudySummary

# Columns for a table that goes to a file or another program.
WIDE = 180
# The options that say where a study is, what is written about it, and where its data are.
OPTIONS = ("workspace", "storage", "tracking_uri", "experiment", "data_dir")
EPOCH_HEAD = "epoch  train loss  train acc  valid loss  valid acc        lr  grad norm  clipped  images/s"


def line_printer(*, err: bool) -> Callable[[str], None]:
    """Returns what prints a line, to standard error or to standard output."""
    return lambda line: print_line(line, err=err)


def wide_console(*, err: bool = False) -> "Console":
    """Returns a console as wide as the terminal, or wide enough for any table where there is none."""
    from pipeline.display.rich_console import PlainConsole

    console = PlainConsole(stderr=err)
    return console if console.is_terminal else PlainConsole(stderr=err, width=WIDE)


def figure_path(chosen: Path | None, workspace: Path, name: str) -> Path:
    """Returns the file for a figure: the chosen one, or one under the workspace.

    Raises:
        DnntuneError: Its ending is of no known format.
    """
    from pipeline.figures.canvas import check_figure_path

    path = chosen or workspace / "figures" / f"{name}.png"
    check_figure_path(path)
    return path


def print_leaderboard(study: str, workspace: Workspace, *, top: int, err: bool) -> None:
    """Prints the best trials of a study."""
    from pipeline.display.tables import leaderboard_table
    from pipeline.study.leaderboard import leaderboard
    from pipeline.study.studies import metrics_of, open_study

    loaded = open_study(workspace, study)
    entries = leaderboard(loaded, top)
    if entries:
        wide_console(err=err).print(leaderboard_table(study, metrics_of(loaded), entries))
    else:
        print_line(f"study {study} has no complete trial yet", err=err)


def outlook(summary: "StudySummary", workspace: Workspace, again: str) -> Iterator[str]:
    """Says how long a study took, and what can be done next.

    Args:
        summary: How it stands.
        workspace: Where it is kept.
        again: The command that goes on with it.
    """
    plugins = {"plugin": plugin_names()}
    kept = {**workspace.options("workspace", "storage"), **plugins}
    study = summary.study
    if summary.backbone_images or summary.cached_images:
        yield images_text(summary.backbone_images, summary.cached_images)
    yield _next(workspace, f"{summary.seconds:.0f} s. ")
    if summary.num_left:
        yield f"  {again}    # resume: {summary.num_left} trials are left"
    where = workspace.options("workspace", "tracking_uri", "experiment")
    yield f"  {command('ui', **where)}    # compare the trials in MLflow"
    if summary.best is not None:
        yield f"  {command('best', study, **kept)} > best.yaml    # the best configuration"
        finalize = command("finalize", study, **workspace.options(*OPTIONS), **plugins)
        yield f"  {finalize}    # train the best again with new seeds; test the winner, once"
    if summary.pareto_front:
        *_, last = summary.pareto_front[0].values
        nearly = command("best", study, within=0.005, prefer=last, **kept)
        yield f"  {nearly}    # nearly as good, with the lowest {last}"


def final_outlook(study: str, workspace: Workspace) -> Iterator[str]:
    """Says what can be done with a final result."""
    kept = {**workspace.options("workspace", "storage"), "plugin": plugin_names()}
    data = workspace.options("data_dir")
    logged = workspace.options("tracking_uri")
    yield _next(workspace, "")
    yield f"  {command('report', study, **kept, **logged)}    # everything on one page"
    yield f"  {command('export', study, out='model', **kept, **data)}    # ONNX, torch.export and safetensors"
    register = command("register", study, name=study.lstrip("_") or "model", **kept, **logged, **data)
    yield f"  {register}    # MLflow's registry"


def _next(workspace: Workspace, begin: str) -> str:
    known = ", ".join(workspace.from_environment())
    return f"{begin}Next steps{f' ({known})' if known else ''}:"


def epoch_line(epoch: EpochResult) -> str:
    """Writes an epoch under `EPOCH_HEAD`."""
    train = f"{epoch.epoch:5d}  {epoch.train_loss:10.4f}  {epoch.train_accuracy:9.4f}"
    valid = f"  {epoch.valid_loss:10.4f}  {epoch.valid_accuracy:9.4f}"
    steps = f"  {epoch.lr:8.2e}  {epoch.gradient_norm:9.3g}  {epoch.clipped:7.0%}  {epoch.samples_per_second:8,.0f}"
    further = "".join(f"  {name.removeprefix('valid_')} {value:.4f}" for name, value in epoch.metrics.items())
    best, phase = "  best" if epoch.is_best else "", f"  {epoch.phase}" if epoch.phase else ""
    return train + valid + steps + further + best + phase


def metric_lines(metrics: dict[str, Any]) -> Iterator[str]:
    """Writes what `train_and_test` has found."""
    valid = f"best epoch {metrics['best_epoch']}: validation accuracy {metrics['best_valid_accuracy']:.4f}"
    if "folds" in metrics:
        yield from _fold_lines(metrics)
        valid = f"{len(metrics['folds'])} models"
    yield f"{valid}, {metrics['num_parameters']:,} parameters, {metrics['seconds']:.1f} s"
    if "phases" in metrics:
        yield metrics["phases"]
        yield images_text(metrics["backbone_images"], metrics["cached_images"])
    if metrics["test_accuracy"] is None:
        yield "the data have no test set"
    else:
        low, high = metrics["test_accuracy_interval"]
        accuracy = f"test accuracy {metrics['test_accuracy']:.4f} (95 % interval {low:.4f} to {high:.4f})"
        averaged = ", of the folds' models averaged" if "folds" in metrics else ""
        yield f"{accuracy}, test loss {metrics['test_loss']:.4f}{averaged}"
    evaluation = metrics["evaluation"]
    yield f"on the {evaluation['split']} images:  accuracy  log-likelihood  calibration error  entropy"
    yield f"  plain                {_assessed(evaluation['deterministic'])}"
    if (monte_carlo := evaluation["monte_carlo"]) is not None:
        label = f"dropout x {monte_carlo['samples']}"
        yield f"  {label:19}  {_assessed(monte_carlo)}"
    if evaluation["metrics"]:
        yield f"  {', '.join(f'{name} {value:.4f}' for name, value in evaluation['metrics'].items())}"
    if metrics["verdict"] is not None:
        yield f"gradients: {metrics['verdict']['label']}, {metrics['verdict']['text']}"
    if "export" in metrics:
        yield from exported_lines(metrics["export"])


def _fold_lines(metrics: dict[str, Any]) -> Iterator[str]:
    yield "fold  valid acc  valid loss  best epoch"
    for number, fold in enumerate(metrics["folds"], 1):
        values = f"{fold['best_valid_accuracy']:9.4f}  {fold['best_valid_loss']:10.4f}"
        yield f"{number:4d}  {values}  {fold['best_epoch']:2d} of {fold['epochs']}"
    accuracy = f"{metrics['best_valid_accuracy']:.4f} ± {metrics['best_valid_accuracy_std']:.4f} over folds"
    if (interval := metrics["best_valid_accuracy_interval"]) is not None:
        accuracy += f" (95 % interval {interval[0]:.4f} to {interval[1]:.4f})"
    yield f"validation accuracy {accuracy}, validation loss {metrics['best_valid_loss']:.4f}"


def exported_lines(exported: dict[str, Any]) -> Iterator[str]:
    """Writes what `pipeline.export.writing.Exported.to_json` says."""
    differences = ", ".join(f"{file} {value:.1e}" for file, value in exported["differences"].items())
    yield (
        f"exported to {exported['folder']}; compared on {exported['num_checked']:,} images: the same labels, largest "
        f"difference of a probability: {differences}"
    )
    yield from exported["notes"]
    yield f"  {command('predict', exported['folder'])} IMAGE..."


def _assessed(metrics: dict[str, float]) -> str:
    shares = f"{metrics['accuracy']:8.4f}  {metrics['log_likelihood']:14.4f}"
    return f"{shares}  {metrics['calibration_error']:17.4f}  {metrics['entropy']:7.4f}"
