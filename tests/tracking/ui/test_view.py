"""Prepared views: what they select, and which of MLflow's runs that is."""

import json
import re
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from pipeline.core.errors import PortError, TrackingError
from pipeline.core.workspace import Workspace
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.ui.charts import MAX_AXES
from pipeline.tracking.ui.comparison import save_comparison
from pipeline.tracking.ui.page import serve, study_views
from pipeline.tracking.ui.view import TRIED_ON, view_path, view_state, view_tag
from tests.servers import free_port
from tests.tracking.logs import CONFIG, mirror_of, record, study


def view_of(mirror: Mirror, *studies: str) -> dict[str, Any]:
    tags = mirror.client.get_experiment(mirror.experiment).tags
    return dict(json.loads(tags[view_tag(*studies)]))


def axes_in(view: dict[str, Any]) -> list[list[str]]:
    """The settings of each parallel plot."""
    return [chart["selectedParams"] for chart in view["compareRunCharts"] if chart["type"] == "PARALLEL"]


def log_trials(mirror: Mirror, *rates: float) -> None:
    for number, rate in enumerate(rates):
        mirror.write(record(number, config={**CONFIG, "optimizer": {**CONFIG["optimizer"], "lr": rate}}))


def test_a_study_has_a_view_from_its_beginning_and_keeps_it(mirror: Mirror, beside: Mirror) -> None:
    mirror.begin_study(study(outcome=None))
    view = view_of(mirror, "s")
    assert view["searchFilter"] == "tags.study = \"s\" and tags.kind = 'trial' and tags.superseded_by IS NULL"
    assert axes_in(view) == [["optimizer.lr.log10"]]
    mirror.write_study(study())
    assert axes_in(view_of(mirror, "s")) == []
    beside.begin_study(study(outcome=None))
    assert axes_in(view_of(mirror, "s")) == []


def test_several_metrics_are_columns_and_are_plotted_against_each_other() -> None:
    view = view_state(title="s", condition="x", metrics=("valid_loss", "num_parameters"), axes=[("a", "a")])
    assert view["selectedColumns"][:2] == ["metrics.`best_valid_loss`", "metrics.`num_parameters`"]
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`best_valid_loss`", True)
    (scatter,) = [chart for chart in view["compareRunCharts"] if chart["type"] == "SCATTER"]
    assert (scatter["xaxis"]["key"], scatter["yaxis"]["key"]) == ("num_parameters", "best_valid_loss")


def test_of_equal_trials_mlflows_table_has_the_latest_first_and_cannot_have_another(mirror: Mirror) -> None:
    """Everywhere else the earliest is the best; docs/conventions.md says so. If this fails, mend the view."""
    for number in (0, 1):
        mirror.write(record(number, started=1000.0 + number))
    mirror.write_study(study())
    view = view_of(mirror, "s")
    order = f"{view['orderByKey']} {'ASC' if view['orderByAsc'] else 'DESC'}"  # as the page asks
    rows = mirror.client.search_runs([mirror.experiment], view["searchFilter"], order_by=[order])
    assert [row.info.start_time for row in rows] == [1_001_000, 1_000_000]
    with pytest.raises(MlflowException, match="Invalid order_by clause"):
        mirror.client.search_runs([mirror.experiment], order_by=[f"{order}, attributes.start_time ASC"])


def test_settings_that_some_trials_lack_have_a_plot_of_their_own() -> None:
    every, some = [(f"a{n}", f"a{n}") for n in range(20)], [(f"b{n}", f"b{n}.level") for n in range(3)]
    view = view_state(title="s", condition="x", metrics=("valid_accuracy",), axes=[*every, *some])
    assert axes_in(view) == [[f"a{n}" for n in range(MAX_AXES)], ["b0.level", "b1.level", "b2.level"]]
    assert {"params.`a19`", "params.`b0`"} <= set(view["selectedColumns"])


def test_studies_are_compared_by_what_differs_between_their_trials(mirror: Mirror, workspace: Path) -> None:
    other = mirror_of(Workspace(workspace), "other")
    for each, rates in ((mirror, (0.01, 0.02)), (other, (0.01,))):
        each.begin_study(study(each.study, None))
        log_trials(each, *rates)
    path = save_comparison(mirror.client, mirror.experiment, ["s", "other", "s"])
    assert path == view_path(mirror.experiment, "other", "s")
    view = view_of(mirror, "other", "s")
    assert axes_in(view) == [["study", "optimizer.lr.log10"]]
    found = mirror.client.search_runs([mirror.experiment], view["searchFilter"])
    assert sorted(run.data.tags["study"] for run in found) == ["other", "s", "s"]
    assert save_comparison(mirror.client, mirror.experiment, ["other", "s"]) == path


def test_studies_of_different_aims_are_not_compared(mirror: Mirror, workspace: Path) -> None:
    other = mirror_of(Workspace(workspace), "other")
    mirror.begin_study(study(outcome=None))
    other.begin_study(study("other", None, metrics=("valid_loss",)))
    with pytest.raises(TrackingError, match="other optimizes valid_loss and s optimizes valid_accuracy"):
        save_comparison(mirror.client, mirror.experiment, ["s", "other"])
    with pytest.raises(TrackingError, match=r"no study x is logged here\. There are other, s"):
        save_comparison(mirror.client, mirror.experiment, ["s", "x"])
    with pytest.raises(TrackingError, match="a comparison needs two studies; got s"):
        save_comparison(mirror.client, mirror.experiment, ["s", "s"])
    assert not any(
        name.startswith("compared") for run in mirror.client.search_runs([mirror.experiment]) for name in run.data.tags
    )


def test_a_page_that_cannot_be_served_says_why(
    mirror: Mirror, workspace: Path, tmp_path: Path, taken_port: int
) -> None:
    with pytest.raises(TrackingError, match="nothing is logged in the workspace"):
        serve(Workspace(tmp_path / "nothing"), 5000, studies=(), notify=print)
    with pytest.raises(PortError, match=f"port {taken_port} cannot be used: Address already in use"):
        serve(Workspace(workspace), taken_port, studies=(), notify=print)
    with pytest.raises(TrackingError, match=r"no study x is logged here\. There are s"):
        serve(Workspace(workspace), free_port(), studies=["x"], notify=print)
    assert study_views(Workspace(workspace)) == [("s", view_path(mirror.experiment, "s"))]


def test_mlflow_is_the_one_that_the_format_was_tried_on() -> None:
    """If this fails, run tests/browser/test_mlflow_page.py, look at the page, and raise `TRIED_ON`."""
    assert mlflow.__version__.startswith(f"{TRIED_ON}.")


def test_the_undocumented_format_is_known_to_the_page_alone() -> None:
    root = Path(__file__).parents[3] / "pipeline"
    words = re.compile(r"compareRunCharts|sharedViewState|selectedParams")
    users = {str(file.relative_to(root)) for file in root.rglob("*.py") if words.search(file.read_text())}
    assert users == {"tracking/ui/charts.py", "tracking/ui/view.py"}
