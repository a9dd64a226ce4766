"""A study's report: one HTML file that needs nothing else, and loads nothing from anywhere."""

import importlib.metadata
import platform
from pathlib import Path

import optuna

from pipeline import __version__
from pipeline.core.commands import command
from pipeline.core.errors import DnntuneError
from pipeline.core.filesystem.files import write_whole
from pipeline.core.workspace import Workspace
from pipeline.finalize.final_file import load_final
from pipeline.records.final import Final
from pipeline.report.data import ReportData, report_data
from pipeline.report.figures import figures
from pipeline.report.headline import answer, cards
from pipeline.report.spending import time_sentences
from pipeline.report.tables import tables
from pipeline.space.yaml_text import dump
from pipeline.study.attributes import IS_CASES, SETTINGS, SPACE
from pipeline.study.studies import open_study
from pipeline.study.summary import config_text
from pipeline.workers.session import attach_to_study

# Packages on which a study's figures depend.
VERSIONED = ("torch", "torchvision", "timm", "optuna", "mlflow", "numpy")
# What the report is called in the study's run.
ARTIFACT = "report.html"


def write_report(workspace: Workspace, study: str, out: Path | None) -> Path:
    """Writes a study's report.

    Args:
        workspace: Where the study and its final result are kept.
        study: Its name.
        out: The file; None for one in the workspace.

    Returns:
        The file.

    Raises:
        StudyError: There is no such study.
        DnntuneError: The file cannot be written.
    """
    content = report_html(open_study(workspace, study), load_final(workspace, study))
    file = out or workspace.report(study)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, content.encode())
    except OSError as error:
        raise DnntuneError(f"{file}: the report cannot be written: {error.strerror}. Name a file with --out") from None
    return file


def attach_report(workspace: Workspace, study: str, file: Path) -> None:
    """Adds a report to the study's run in MLflow, if it has one there.

    Raises:
        TrackingError: MLflow cannot be used.
    """
    attach_to_study(open_study(workspace, study), workspace, {ARTIFACT: file.read_bytes()})


def report_html(study: optuna.Study, final: Final | None) -> str:
    """Returns a study's report as a page, the same one for the same study.

    Args:
        study: The study.
        final: Its final result, if it has one.

    Raises:
        StudyError: It was not made by dnntune.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    data = report_data(study, final)
    environment = Environment(
        loader=PackageLoader("pipeline", "report/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        command=command,
        data=data,
        final=final,
        figures=figures(data),
        cards=list(cards(data)),
        answer=list(answer(data)),
        tables=tables(data),
        time=list(time_sentences(data.spent)),
        study_file=study_file(study),
        best_file=best_file(data),
        versions=versions(),
        seed=study.user_attrs[SETTINGS]["seed"],
    )


def study_file(study: optuna.Study) -> str | None:
    """Returns the file that makes the same study; None if its configurations are not drawn from a space."""
    attrs = study.user_attrs
    if attrs[SPACE] is None or attrs[IS_CASES]:
        return None
    return dump({"study": {**attrs[SETTINGS], "name": study.study_name}, "space": attrs[SPACE]})


def best_file(data: ReportData) -> str | None:
    """Returns the configuration that was chosen, or else the best trial's, as a file; None if there is none."""
    if data.final is not None:
        return config_text(data.final.chosen.config)
    return config_text(data.leaders[0].config) if data.leaders else None


def versions() -> dict[str, str]:
    """Returns the versions of Python and the packages, here and now."""
    packages = {name: importlib.metadata.version(name) for name in VERSIONED}
    return {"dnntune": __version__, "Python": platform.python_version(), **packages}
