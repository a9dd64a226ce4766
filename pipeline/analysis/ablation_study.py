"""An ablation as a study: its trials run on workers, and lie under one parent run in MLflow."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.analysis.ablation import FULL, Row, ablation_csv, ablations, rows
from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.core.workspace import Workspace
from pipeline.figures.canvas import check_figure_path, png, save
from pipeline.figures.curves import draw_differences
from pipeline.study.cases import Cases, results_by_case
from pipeline.study.studies import open_study
from pipeline.study.summary import StudySummary
from pipeline.workers.run import run_study
from pipeline.workers.session import StudyObserver, attach_to_study


@dataclass(frozen=True)
class Ablation:
    """What an ablation found, so far as it has run.

    Attributes:
        rows: The full configuration and what was switched off; empty if nothing has ended.
        summary: How its study stands.
        figure: The figure's file; None if there was nothing to draw.
    """

    rows: list[Row]
    summary: StudySummary
    figure: Path | None

    def to_json(self) -> dict[str, Any]:
        """Returns plain values for another program."""
        figure = None if self.figure is None else str(self.figure)
        return {"rows": [dataclasses.asdict(row) for row in self.rows], "figure": figure, **self.summary.to_json()}


def run_ablation(
    config: TrialConfig,
    *,
    name: str,
    num_seeds: int,
    workspace: Workspace,
    compute: Compute,
    observer: StudyObserver,
    figure: Path,
) -> Ablation:
    """Trains a configuration and its ablations over seeds, or resumes that; draws the figure and logs it.

    Args:
        config: The full configuration; its seed is the first one.
        name: The study's name.
        num_seeds: Trainings of each.
        workspace: Where it is kept.
        compute: What it runs on.
        observer: Is told what happens.
        figure: File for the figure.

    Raises:
        DnntuneError: The study cannot run; see `run_study`.
    """
    check_figure_path(figure)
    cases = Cases(ablations(config), num_seeds)
    summary = run_study(cases, cases.settings(), name=name, workspace=workspace, compute=compute, observer=observer)
    if not any(summary.trials.values()):
        return Ablation([], summary, None)
    study = open_study(workspace, name)
    found = rows(results_by_case(study))
    shown = [row for row in found if row.case != FULL and row.differences]
    if shown:
        drawing = draw_differences(
            [row.case for row in shown],
            [list(row.differences.values()) for row in shown],
            [row.difference_interval for row in shown],
            f"{name}: what is lost without each technique",
            "validation accuracy minus that of the full configuration, paired by seed",
        )
        save(drawing, figure)
        if summary.tracking_error is None:
            attach_to_study(
                study, workspace, {"ablation.png": png(drawing), "ablation.csv": ablation_csv(found).encode()}
            )
    return Ablation(found, summary, figure if shown else None)
