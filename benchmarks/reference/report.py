"""docs/reference-results.md: every published figure beside ours."""

import os
import platform
import statistics
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.reference.published import SETTINGS
from benchmarks.reference.settings import Setting
from pipeline.evaluation.intervals import SHARE, mean_interval, prediction_interval

# From a field of a setting to the figure of a run, and how it is called.
MEASURES = {
    "valid": ("final_valid_accuracy", "validation"),
    "test": ("final_test_accuracy", "test"),
    "test_mc": ("final_test_accuracy_mc", "test, Monte Carlo dropout x 100"),
}
EXPLANATION = Path(__file__).parent / "explanation.md"


@dataclass(frozen=True)
class Done:
    """A run that has ended: its figures, and the word of its verdict."""

    figures: Mapping[str, float]
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """A published figure, and ours over seeds."""

    setting: Setting
    measure: str
    published: float
    values: Sequence[float]
    verdicts: Sequence[str]

    @property
    def place(self) -> str:
        """Where the published figure, which is one run, lies in the interval for one run."""
        interval = prediction_interval(self.values, SHARE)
        if interval is None:
            return ""
        if self.published < interval[0]:
            return "below"
        return "**above**" if self.published > interval[1] else "within"


def comparisons(done: Mapping[str, Sequence[Done]]) -> list[Comparison]:
    """Returns a row for every published figure whose setting has been run."""
    return [
        Comparison(
            setting, name, published, [run.figures[figure] for run in runs], sorted({run.verdict for run in runs})
        )
        for setting in SETTINGS
        for field, (figure, name) in MEASURES.items()
        if (published := getattr(setting, field)) is not None and (runs := done[setting.key])
    ]


def write_report(page: Path, done: Mapping[str, Sequence[Done]]) -> None:
    """Writes the page.

    Args:
        page: Its file.
        done: The runs of each setting, by its key.
    """
    page.write_text("\n".join(_lines(done)) + "\n")


def _lines(done: Mapping[str, Sequence[Done]]) -> Iterator[str]:
    rows = comparisons(done)
    published = [row for row in rows if not row.setting.key.startswith("control")]
    within = sum(row.place == "within" for row in published)
    below = sum(row.place == "below" for row in published)
    settings = len({row.setting.key for row in published})
    num_runs = sum(map(len, done.values()))
    above = len(published) - within - below
    yield "# Published results on Fashion-MNIST, reproduced\n"
    yield _paragraph(
        f"{settings} published settings, {len(published)} figures. The published figure lies within our 95 % interval"
        f" for one run in {within} cases, below it (ours is better) in {below} and above it in {above}. Each setting"
        " was trained as in its source (the same image preparation, epochs and moments of measurement), over several"
        " seeds (n). A published figure comes from one run, so we compare it with the interval that contains one more"
        " run of ours with a probability of 95 % (Student's t), not with the interval of the mean."
    )
    yield _paragraph(
        f"Machine: {os.cpu_count()} cores ({platform.machine()}), shared, no GPU; Python {platform.python_version()},"
        f" torch {version('torch')}; one thread a run, two runs at a time, {num_runs} runs."
        f" Written by `python -m benchmarks.reference`; every run is in the MLflow experiment"
        " `reference` of its workspace."
    )
    yield from _table(rows)
    yield EXPLANATION.read_text().rstrip()
    yield "\n## The settings\n"
    yield "| setting | source | in full | images | our choice where the source says nothing |"
    yield "| --- | --- | --- | --- | --- |"
    for setting in SETTINGS:
        split = "first 5,000 validate" if setting.split == "first" else "30 % validate"
        scaling = "pixels / 255" if setting.scaling == "unit" else "each pixel standardized"
        yield f"| {setting.key} | {setting.source} | {setting.what} | {split}; {scaling} | {setting.note} |"


def _table(rows: Sequence[Comparison]) -> Iterator[str]:
    columns = ["setting", "measured on", "published", "ours, mean (n)", "95 % of the mean", "95 % for one run"]
    columns += ["published is", "gradients"]
    yield f"| {' | '.join(columns)} |"
    yield f"|{' --- |' * len(columns)}"
    for row in rows:
        intervals = [mean_interval(row.values, SHARE), prediction_interval(row.values, SHARE)]
        words = ["" if each is None else f"{each[0]:.4f} to {each[1]:.4f}" for each in intervals]
        mean = f"{statistics.fmean(row.values):.4f} ({len(row.values)})"
        cells = [row.setting.key, row.measure, f"{row.published:.4f}", mean, *words, row.place, ", ".join(row.verdicts)]
        yield f"| {' | '.join(cells)} |"


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 120) + "\n"
