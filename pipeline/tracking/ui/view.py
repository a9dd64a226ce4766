"""Prepared comparisons of trials on MLflow's page: sorted, their columns chosen, their charts drawn.

A trial that was tried several times appears once, with its last attempt; one that runs appears too.

MLflow keeps shared views of an experiment's runs as JSON in tags of the experiment. The format is undocumented; this is
what the version that was tried reads.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.config.metrics import Metric, direction
from pipeline.records.results import at_best_epoch
from pipeline.tracking.axes import is_partial
from pipeline.tracking.expected_run import SUPERSEDED
from pipeline.tracking.naming import metric_key
from pipeline.tracking.ui.charts import curves, images, parallel, scatter, section

if TYPE_CHECKING:
    from mlflow import MlflowClient

# The MLflow on whose page the format was tried, in a browser (tests/browser). A new one is tried, and then named here.
TRIED_ON = "3.17"
# Runs whose curves and points are drawn at first: the best ones. The parallel plot has them all.
VISIBLE = "FIRST_20_RUNS"
# Sections of the page.
ALL, SOME, REACHED, FLOW = "all", "some", "reached", "flow"


def view_key(*studies: str) -> str:
    """Returns the key under which the view of a study, or of several, is kept."""
    return hashlib.sha256("\n".join(studies).encode()).hexdigest()[:32]


def view_tag(*studies: str) -> str:
    """Returns the experiment's tag in which it is kept."""
    return f"mlflow.sharedViewState.{view_key(*studies)}"


def view_path(experiment: str, *studies: str) -> str:
    """Returns the address of a view on MLflow's page, without the server."""
    query = f"workflowType=machine_learning&viewStateShareKey={view_key(*studies)}&compareRunsMode=CHART"
    return f"/#/experiments/{experiment}/runs?{query}"


def save_view(
    client: "MlflowClient",
    experiment: str,
    study: str,
    *,
    metrics: Sequence[Metric],
    axes: Sequence[tuple[str, str]],
    anew: bool,
) -> None:
    """Saves the view of a study, if it is not there as it is.

    Args:
        client: The tracking store.
        experiment: Id of the experiment.
        study: The study's name.
        metrics: What is optimized.
        axes: The settings that differ, each with the parameter that makes its axis, see `Axes.differing`.
        anew: Whether it replaces another one.
    """
    state = view_state(title=study, condition=f'tags.study = "{study}"', metrics=metrics, axes=axes)
    view, saved = json.dumps(state), client.get_experiment(experiment).tags.get(view_tag(study))
    if saved is None or (anew and saved != view):
        client.set_experiment_tag(experiment, view_tag(study), view)


def view_state(
    *, title: str, condition: str, metrics: Sequence[Metric], axes: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """Returns a view as MLflow keeps it.

    Args:
        title: What stands above its charts.
        condition: Which trials it shows, in MLflow's filter language.
        metrics: What is optimized; the runs are sorted by the first one.
        axes: The settings that differ, each with the parameter that makes its axis.
    """
    metric_names = [metric_key(at_best_epoch(metric)) for metric in metrics]
    best, *others = dict.fromkeys([*metric_names, "num_parameters"])
    sections, charts = _settings(title, [axis for _, axis in axes], best)
    sections += [
        section(REACHED, f"{title}: what was reached", columns=2, height=400),
        section(FLOW, f"{title}: gradient flow", columns=1, height=460),
    ]
    charts += [curves(REACHED, metric_key(metrics[0])), *(scatter(REACHED, other, best) for other in others)]
    charts += [images(FLOW, "gradient_flow")]
    final = [f"metrics.`{name}`" for name in ("best_epoch", "num_parameters", "seconds") if name not in metric_names]
    return {
        "searchFilter": f"{condition} and tags.kind = 'trial' and tags.{SUPERSEDED} IS NULL",
        "orderByKey": f"metrics.`{best}`",
        "orderByAsc": direction(metrics[0]) == "minimize",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [
            *(f"metrics.`{metric}`" for metric in metric_names),
            "tags.`outcome`",
            *(f"params.`{path}`" for path, _ in axes),
            *final,
            "tags.`verdict`",
            "attributes.`Description`",
        ],
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsHiddenMode": VISIBLE,
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,  # else sections are sorted by their names
        "compareRunSections": sections,
        "compareRunCharts": charts,
    }


def _settings(title: str, axes: Sequence[str], metric: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns sections and charts: one for what every trial has, one for what hangs on a kind; none without axes."""
    groups = {
        ALL: ("settings of every trial", [axis for axis in axes if not is_partial(axis)]),
        SOME: ("settings of some trials, by thirds of their ranges", [axis for axis in axes if is_partial(axis)]),
    }
    drawn = {name: group for name, group in groups.items() if group[1]}
    sections = [section(name, f"{title}: {what}", columns=1, height=460) for name, (what, _) in drawn.items()]
    return sections, [parallel(name, group, metric) for name, (_, group) in drawn.items()]
