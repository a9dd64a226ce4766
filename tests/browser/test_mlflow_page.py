"""MLflow's page on what a study has logged, in a real browser: the prepared views, the images, the description."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from playwright.sync_api import Locator, Page, expect

from pipeline.core.workspace import Workspace
from pipeline.tracking.store import find_runs, open_client
from pipeline.tracking.ui.comparison import save_comparison
from tests.conftest import Cli
from tests.pages import served
from tests.servers import free_port

pytestmark = pytest.mark.slow

# Kinds with settings of their own: a plot of all settings would drop most of the trials.
CONDITIONAL_SPACE = """
study: {trials: 6, seed: 1, pruner: none, sampler: {kind: random}}
space:
  data: {kind: digits, max_train_images: 300}
  model:
    hidden_layers: {int: [1, 2]}
    width: 16
    dropout:
      choice:
        - {kind: none}
        - {kind: dropout, rate: {float: [0.1, 0.5]}}
  optimizer:
    choice:
      - {kind: sgd, lr: {float: [1e-2, 0.3], log: true}, momentum: {float: [0.0, 0.9]}}
      - {kind: adamw, lr: {float: [1e-3, 2e-2], log: true}, weight_decay: {float: [1e-4, 0.1], log: true}}
  epochs: 2
"""
NUM_TRIALS = 6
# Counts what is drawn on each canvas since it was cleared: a line of a parallel plot is one stroke.
COUNT_STROKES = """
  const strokes = new WeakMap();
  const { stroke, clearRect } = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.stroke = function (...given) {
    strokes.set(this.canvas, (strokes.get(this.canvas) ?? 0) + 1);
    return stroke.apply(this, given);
  };
  CanvasRenderingContext2D.prototype.clearRect = function (...given) {
    strokes.set(this.canvas, 0);
    return clearRect.apply(this, given);
  };
  window.strokesOn = canvas => strokes.get(canvas) ?? 0;
"""


@dataclass(frozen=True)
class Server:
    """MLflow's page: where it is, what was printed, and the store that it shows."""

    address: str
    printed: str
    client: MlflowClient
    experiment: str

    def run(self, name: str) -> Any:
        (run,) = find_runs(self.client, self.experiment, f"attributes.run_name = '{name}'")
        return run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, mlflow_tables: Path, cli: Cli) -> Iterator[Server]:
    """The page on two studies of one space."""
    folder = tmp_path_factory.mktemp("page")
    workspace = Workspace(folder / "runs")
    workspace.root.mkdir()
    shutil.copy(mlflow_tables, workspace.root / "mlflow.db")
    (folder / "kinds.yaml").write_text(CONDITIONAL_SPACE)
    for options in ((), ("--study", "again", "--seed", 2)):
        done = cli("run", folder / "kinds.yaml", "--threads", 1, "--workspace", workspace.root, *options)
        assert done.returncode == 0, done.stderr
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with served(folder, f"{address}/health", "ui", "--workspace", workspace.root, "--port", port) as printed:
        client = open_client(workspace.tracking_url)
        experiment = client.get_experiment_by_name(workspace.experiment)
        assert experiment is not None
        yield Server(address, printed, client, experiment.experiment_id)


@pytest.fixture
def wide(page: Page) -> Page:
    """A page on which all columns of a table and all charts have room: MLflow makes those that are seen."""
    page.set_viewport_size({"width": 2400, "height": 2200})
    page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    page.add_init_script(COUNT_STROKES)
    return page


def trials(page: Page) -> Locator:
    return page.get_by_role("link", name=re.compile(r"^t\d{3} "))


def num_lines(page: Page, chart: int) -> int:
    """How many lines a parallel plot has."""
    canvas = page.locator(".parcoords").nth(chart).locator("canvas.foreground")
    return int(canvas.evaluate("canvas => window.strokesOn(canvas)"))


def address_of(server: Server, study: str) -> str:
    (line,) = [line for line in server.printed.splitlines() if line.startswith(f"{study}: ")]
    return line.removeprefix(f"{study}: ")


def test_the_table_has_a_studys_trials_and_the_chosen_columns(server: Server, wide: Page) -> None:
    wide.set_viewport_size({"width": 3200, "height": 1000})
    wide.goto(address_of(server, "kinds").replace("compareRunsMode=CHART", "compareRunsMode=TABLE"))
    expect(trials(wide)).to_have_count(NUM_TRIALS)
    for column in ("best_valid_accuracy", "optimizer.lr", "optimizer.momentum", "outcome", "num_parameters"):
        expect(wide.get_by_role("columnheader").filter(has_text=column).first).to_be_visible()
    expect(wide.get_by_role("columnheader").filter(has_text="log10")).to_have_count(0)
    best = max(
        find_runs(server.client, server.experiment, "tags.study = 'kinds'", "tags.kind = 'trial'"),
        key=lambda run: run.data.metrics["best_valid_accuracy"],
    )
    expect(trials(wide).first).to_have_text(str(best.info.run_name))


def test_no_trial_is_dropped_from_the_plots_of_a_conditional_space(server: Server, wide: Page) -> None:
    wide.goto(address_of(server, "kinds"))
    expect(wide.locator(".parcoords canvas.foreground")).to_have_count(2)
    wide.wait_for_timeout(1000)  # a plot is drawn again when its place is known
    assert [num_lines(wide, chart) for chart in (0, 1)] == [NUM_TRIALS, NUM_TRIALS]
    some = wide.locator(".parcoords").nth(1)
    expect(some.get_by_text("not used").first).to_be_visible()
    expect(some.get_by_text("1 low").first).to_be_visible()
    expect(wide.get_by_text("num_parameters vs. best_valid_accuracy")).to_be_visible()


def test_the_gradient_flow_of_the_best_trial_is_in_the_image_grid(server: Server, wide: Page) -> None:
    wide.goto(address_of(server, "kinds"))
    images = wide.locator("img[src*='gradient_flow']")
    expect(images).to_have_count(1)
    images.first.scroll_into_view_if_needed()
    expect(images.first).to_have_js_property("complete", True)
    assert images.first.evaluate("image => image.naturalWidth") > 100


def test_two_studies_are_in_one_view(server: Server, wide: Page) -> None:
    path = save_comparison(server.client, server.experiment, ["kinds", "again"])
    wide.goto(f"{server.address}{path}")
    expect(trials(wide)).to_have_count(2 * NUM_TRIALS)
    expect(wide.locator(".parcoords canvas.foreground")).to_have_count(2)
    wide.wait_for_timeout(1000)
    assert [num_lines(wide, chart) for chart in (0, 1)] == [2 * NUM_TRIALS, 2 * NUM_TRIALS]
    for study in ("kinds", "again"):
        expect(wide.locator(".parcoords").first.get_by_text(study, exact=True)).to_be_visible()


def follow(page: Page, link: str) -> Page:
    """Clicks a link of a description, which opens a page of its own."""
    with page.context.expect_page() as opened:
        page.get_by_role("link", name=link).click()
    return opened.value


def test_the_description_leads_to_the_comparison_and_to_the_best_configuration(server: Server, wide: Page) -> None:
    wide.goto(f"{server.address}/#/experiments/{server.experiment}/runs/{server.run('kinds').info.run_id}")
    expect(wide.get_by_text(re.compile(r"^Best: trial \d"))).to_be_visible()
    expect(trials(follow(wide, "Compare the trials"))).to_have_count(NUM_TRIALS)
    expect(follow(wide, "best configuration").get_by_text("hidden_layers:").first).to_be_visible()
