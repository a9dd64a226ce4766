"""A prepared comparison of a study's trials on MLflow's page: sorted, its columns chosen, its charts drawn.

A trial that was tried several times appears once, with its last attempt; one that runs appears too.

MLflow keeps shared views of an experiment's runs as JSON in tags of the experiment. The format is undocumented; this is
what MLflow 3.17 reads.
"""

import hashlib
import json
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.space import flatten
from pipeline.tracking.runs import SUPERSEDED

if TYPE_CHECKING:
    from mlflow import MlflowClient

# More axes than this cannot be read, and more curves neither.
MAX_AXES = 10
MAX_CURVES = 10


def view_key(study: str) -> str:
    """Returns the key under which a study's view is kept."""
    return hashlib.sha256(study.encode()).hexdigest()[:32]


def view_path(experiment: str, study: str) -> str:
    """Returns the address of a study's view on MLflow's page, without the server."""
    query = f"workflowType=machine_learning&viewStateShareKey={view_key(study)}&compareRunsMode=CHART"
    return f"/#/experiments/{experiment}/runs?{query}"


def axes(configs: Sequence[Mapping[str, Any]], searched: Container[str], log_scaled: frozenset[str]) -> list[str]:
    """Returns the searched settings that differ and that every trial has: a chart drops the trials that lack one.

    Args:
        configs: The trials' configurations as plain values.
        searched: Paths of the settings that the study searches.
        log_scaled: Settings that are shown by their logarithm.
    """
    flats = [{path: value for path, value in flatten(config).items() if value is not None} for config in configs]
    if not flats:
        return []
    shared = [path for path in flats[0] if all(path in flat for flat in flats)]
    differing = [path for path in shared if path in searched and len({json.dumps(flat[path]) for flat in flats}) > 1]

    def axis(path: str) -> str:
        # Where a kind of block has the setting at 0, that trial has no logarithm of it.
        return f"{path}.log10" if path in log_scaled and all(flat[path] > 0 for flat in flats) else path

    return [axis(path) for path in differing]


def save_view(
    client: "MlflowClient", experiment: str, study: str, *, metric: str, maximize: bool, parameters: Sequence[str]
) -> None:
    """Saves the view of a study.

    Args:
        client: The tracking store.
        experiment: Id of the experiment.
        study: The study's name.
        metric: The measure that is optimized, valid_accuracy or valid_loss.
        maximize: Whether larger is better.
        parameters: See `axes`.
    """
    state = _state(study, metric, maximize, list(parameters))
    client.set_experiment_tag(experiment, f"mlflow.sharedViewState.{view_key(study)}", json.dumps(state))


def _state(study: str, metric: str, maximize: bool, parameters: list[str]) -> dict[str, Any]:
    best = f"best_{metric}"
    wide = {"deleted": False, "isGenerated": False, "metricSectionId": "parameters"}
    small = {**wide, "metricSectionId": "metrics"}
    section = {"display": True, "isReordered": False}
    columns = [f"metrics.`{best}`", "tags.`outcome`", *(f"params.`{name}`" for name in parameters)]
    columns += ["metrics.`best_epoch`", "metrics.`num_parameters`", "metrics.`seconds`"]
    return {
        "searchFilter": f"tags.study = '{study}' and tags.kind = 'trial' and tags.{SUPERSEDED} IS NULL",
        "orderByKey": f"metrics.`{best}`",
        "orderByAsc": not maximize,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsHiddenMode": "FIRST_20_RUNS",
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": False,
        "compareRunSections": [
            section | {"uuid": "parameters", "name": f"{study}: parameters", "columns": 1, "cardHeight": 460},
            section | {"uuid": "metrics", "name": f"{study}: {metric}", "columns": 2, "cardHeight": 400},
        ],
        "compareRunCharts": [
            wide
            | {
                "type": "PARALLEL",
                "uuid": "parallel",
                "runsCountToCompare": 100,
                "selectedParams": parameters[:MAX_AXES],
                "selectedMetrics": [best],
                "showAllRuns": True,
            },
            small
            | {
                "type": "LINE",
                "uuid": "curves",
                "runsCountToCompare": MAX_CURVES,
                "metricKey": metric,
                "selectedMetricKeys": [metric],
                "xAxisKey": "step",
                "lineSmoothness": 0,
                "scaleType": "linear",
                "xAxisScaleType": "linear",
                "displayPoints": False,
                "range": {},
                "yAxisKey": "metric",
            },
            small | {"type": "BAR", "uuid": "best", "runsCountToCompare": 20, "metricKey": best},
        ],
    }
