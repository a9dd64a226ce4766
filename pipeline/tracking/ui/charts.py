"""The charts of a prepared comparison, as MLflow's page keeps them; see `pipeline.tracking.ui.view.TRIED_ON`."""

from collections.abc import Sequence
from typing import Any

# More axes than this cannot be read, and more curves neither.
MAX_AXES = 12
MAX_CURVES = 10
MAX_RUNS = 100

Chart = dict[str, Any]


def section(name: str, title: str, *, columns: int, height: int) -> dict[str, Any]:
    """Returns a part of the page.

    Args:
        name: What its charts call it.
        title: What stands above it.
        columns: Charts beside each other.
        height: Of a chart, in pixels.
    """
    layout = {"columns": columns, "cardHeight": height}
    return {"uuid": name, "name": title, "display": True, "isReordered": False, **layout}


def parallel(section_name: str, axes: Sequence[str], metric: str) -> Chart:
    """Returns a plot with a line for each trial across its settings, colored by what it reached.

    Args:
        section_name: The section.
        axes: Parameters: each run lacks none, or is not drawn.
        metric: The metric of the last axis.
    """
    what = {"selectedParams": list(axes[:MAX_AXES]), "selectedMetrics": [metric]}
    return _chart(section_name, "PARALLEL", section_name, MAX_RUNS) | what | {"showAllRuns": True}


def curves(section_name: str, measure: str) -> Chart:
    """Returns a plot of a measure over epochs, of the runs at the top of the table."""
    scales = {"scaleType": "linear", "xAxisScaleType": "linear", "lineSmoothness": 0, "range": {}}
    axes = {"xAxisKey": "step", "yAxisKey": "metric", "displayPoints": False}
    what = {"metricKey": measure, "selectedMetricKeys": [measure]}
    return _chart(section_name, "LINE", f"curves {measure}", MAX_CURVES) | what | axes | scales


def scatter(section_name: str, x: str, y: str) -> Chart:
    """Returns a plot of one final figure over another one, a point for each run."""
    axes = {"xaxis": {"key": x, "type": "METRIC"}, "yaxis": {"key": y, "type": "METRIC"}}
    return _chart(section_name, "SCATTER", f"{y} over {x}", MAX_RUNS) | axes


def images(section_name: str, name: str) -> Chart:
    """Returns the images of a name side by side, of the runs at the top of the table."""
    what = {"imageKeys": [name], "step": 0, "showRunParams": False}
    return _chart(section_name, "IMAGE", f"images {name}", MAX_CURVES) | what


def _chart(section_name: str, kind: str, name: str, num_runs: int) -> Chart:
    flags = {"deleted": False, "isGenerated": False, "metricSectionId": section_name}
    return {"type": kind, "uuid": name, "runsCountToCompare": num_runs, **flags}
