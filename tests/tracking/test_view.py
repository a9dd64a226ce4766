"""Prepared views: what they select, and which of MLflow's runs that is."""

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from pipeline.errors import PortError, TrackingError
from pipeline.events import EpochEnded, TrialEnded, TrialStarted
from pipeline.places import Places
from pipeline.records import TrialResult
from pipeline.tracking.charts import MAX_AXES
from pipeline.tracking.comparison import save_comparison
from pipeline.tracking.page import serve, study_views
from pipeline.tracking.study_log import StudyLog
from pipeline.tracking.view import view_path, view_state, view_tag
from tests.servers import free_port
from tests.tracking.logs import CONFIG, DATA, SPACE, close, epoch, finish, running, start


def view_of(log: StudyLog, *studies: str) -> dict[str, Any]:
    tags = log.client.get_experiment(log.experiment).tags
    return dict(json.loads(tags[view_tag(*studies)]))


def axes_in(view: dict[str, Any]) -> list[list[str]]:
    """The settings of each parallel plot."""
    return [chart["selectedParams"] for chart in view["compareRunCharts"] if chart["type"] == "PARALLEL"]


def log_trials(log: StudyLog, *rates: float) -> None:
    for number, rate in enumerate(rates):
        config = {**CONFIG, "optimizer": {**CONFIG["optimizer"], "lr": rate}}
        log.event(TrialStarted(number, {}, config, started=1000.0 + number))
        log.event(EpochEnded(number, epoch(1)))
        log.event(TrialEnded(number, TrialResult("complete", 0.6, 1, 1, 0.6, 0.4, 99)))


def test_a_study_has_a_view_from_its_beginning(log: StudyLog) -> None:
    start(log)
    view = view_of(log, "s")
    assert view["searchFilter"] == "tags.study = \"s\" and tags.kind = 'trial' and tags.superseded_by IS NULL"
    assert axes_in(view) == [["optimizer.lr.log10"]]
    assert log.view == view_path(log.experiment, "s")


def test_at_the_end_the_view_has_what_differs(log: StudyLog) -> None:
    start(log)
    log_trials(log, 0.01, 0.02)
    assert finish(log) is None
    assert axes_in(view_of(log, "s")) == []


def test_a_study_that_goes_on_keeps_its_view(log: StudyLog, beside: StudyLog) -> None:
    parent = start(log)
    assert finish(log) is None
    start(beside, parent)
    assert axes_in(view_of(log, "s")) == []


def test_several_metrics_are_columns_and_are_plotted_against_each_other() -> None:
    view = view_state(title="s", condition="x", metrics=("valid_loss", "num_parameters"), axes=[("a", "a")])
    assert view["selectedColumns"][:2] == ["metrics.`best_valid_loss`", "metrics.`num_parameters`"]
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`best_valid_loss`", True)
    (scatter,) = [chart for chart in view["compareRunCharts"] if chart["type"] == "SCATTER"]
    assert (scatter["xaxis"]["key"], scatter["yaxis"]["key"]) == ("num_parameters", "best_valid_loss")


def test_of_equal_trials_mlflows_table_has_the_latest_first_and_cannot_have_another(log: StudyLog) -> None:
    """Everywhere else the earliest is the best; docs/conventions.md says so. If this fails, mend the view."""
    start(log)
    log_trials(log, 0.01, 0.02)
    assert finish(log) is None
    view = view_of(log, "s")
    order = f"{view['orderByKey']} {'ASC' if view['orderByAsc'] else 'DESC'}"  # as the page asks
    rows = log.client.search_runs([log.experiment], view["searchFilter"], order_by=[order])
    assert [row.info.start_time for row in rows] == [1_001_000, 1_000_000]
    with pytest.raises(MlflowException, match="Invalid order_by clause"):
        log.client.search_runs([log.experiment], order_by=[f"{order}, attributes.start_time ASC"])


def test_settings_that_some_trials_lack_have_a_plot_of_their_own() -> None:
    every, some = [(f"a{n}", f"a{n}") for n in range(20)], [(f"b{n}", f"b{n}.level") for n in range(3)]
    view = view_state(title="s", condition="x", metrics=("valid_accuracy",), axes=[*every, *some])
    assert axes_in(view) == [[f"a{n}" for n in range(MAX_AXES)], ["b0.level", "b1.level", "b2.level"]]
    assert {"params.`a19`", "params.`b0`"} <= set(view["selectedColumns"])


def test_studies_are_compared_by_what_differs_between_their_trials(log: StudyLog, workspace: Path) -> None:
    other = StudyLog(Places(workspace), "other")
    for each, rates in ((log, (0.01, 0.02)), (other, (0.01,))):
        start(each)
        log_trials(each, *rates)
        close(each)
    path = save_comparison(log.client, log.experiment, ["s", "other", "s"])
    assert path == view_path(log.experiment, "other", "s")
    view = view_of(log, "other", "s")
    assert axes_in(view) == [["study", "optimizer.lr.log10"]]
    found = log.client.search_runs([log.experiment], view["searchFilter"])
    assert sorted(run.data.tags["study"] for run in found) == ["other", "s", "s"]
    assert save_comparison(log.client, log.experiment, ["other", "s"]) == path


def test_studies_of_different_aims_are_not_compared(log: StudyLog, workspace: Path) -> None:
    other = StudyLog(Places(workspace), "other")
    start(log)
    other.begin(DATA, parent=None, space=SPACE, metrics=("valid_loss",), fate=running)
    with pytest.raises(TrackingError, match="other optimizes valid_loss and s optimizes valid_accuracy"):
        save_comparison(log.client, log.experiment, ["s", "other"])
    with pytest.raises(TrackingError, match=r"no study x is logged here\. There are other, s"):
        save_comparison(log.client, log.experiment, ["s", "x"])
    with pytest.raises(TrackingError, match="a comparison needs two studies; got s"):
        save_comparison(log.client, log.experiment, ["s", "s"])
    assert not any(
        name.startswith("compared") for run in log.client.search_runs([log.experiment]) for name in run.data.tags
    )


def test_a_page_that_cannot_be_served_says_why(log: StudyLog, workspace: Path, tmp_path: Path, taken_port: int) -> None:
    start(log)
    with pytest.raises(TrackingError, match="nothing is logged in the workspace"):
        serve(Places(tmp_path / "nothing"), 5000, studies=(), say=print)
    with pytest.raises(PortError, match=f"port {taken_port} cannot be used: Address already in use"):
        serve(Places(workspace), taken_port, studies=(), say=print)
    with pytest.raises(TrackingError, match=r"no study x is logged here\. There are s"):
        serve(Places(workspace), free_port(), studies=["x"], say=print)
    assert study_views(Places(workspace)) == [("s", log.view)]
