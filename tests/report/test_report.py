"""What a study's report says, and where it goes."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest

from pipeline.core.errors import DnntuneError, StudyError
from pipeline.core.workspace import Workspace
from pipeline.figures.values import Axis
from pipeline.finalize.final_file import save_final
from pipeline.records.classes import ClassCounts
from pipeline.records.results import DataSummary
from pipeline.report.data import report_data
from pipeline.report.figures import figures
from pipeline.report.headline import answer, estimates, final_sentences
from pipeline.report.page import report_html, study_file, write_report
from pipeline.report.spending import time_text
from pipeline.report.tables import tables
from pipeline.report.trials import axes_of, plotted_trials
from pipeline.space.files import load_space
from pipeline.study.attributes import DATA, IS_CASES, SPACE
from pipeline.tracking.store import open_client
from tests.conftest import Cli
from tests.finalize.finals import FINAL
from tests.report.studies import add, add_broken, empty_study, varied_study


@pytest.fixture(scope="module")
def study() -> optuna.Study:
    return varied_study()


def test_every_trial_that_has_ended_is_shown(study: optuna.Study) -> None:
    shown = plotted_trials(study)
    assert [trial.number for trial in shown] == list(range(20))  # the waiting one is not
    outcomes = [trial.outcome for trial in shown]
    assert outcomes == ["complete"] * 12 + ["pruned"] * 4 + ["diverged", "failed", "failed", "complete"]
    assert shown[12].value == 0.862  # what it reached before it was pruned
    assert (shown[17].value, shown[17].settings["optimizer.kind"]) == (None, "adamw")
    assert (shown[18].name, shown[18].settings) == ("t018", {})


def test_what_several_kinds_have_is_one_axis(study: optuna.Study) -> None:
    axes = {axis.name: axis for axis in axes_of(study)}
    assert list(axes) == [
        *("model.hidden_layers", "model.activation"),
        *("optimizer.kind", "optimizer.lr", "optimizer.momentum"),
    ]
    assert axes["optimizer.lr"] == Axis("optimizer.lr", 1e-4, 1.0, log=True)
    assert axes["model.hidden_layers"] == Axis("model.hidden_layers", 1, 3, whole=True)
    assert axes["model.activation"].options == ("relu", "selu")


def test_trials_that_took_over_a_result_are_not_ranked(study: optuna.Study) -> None:
    data = report_data(study, None)
    assert [trial.number for trial in data.ranked][:2] == [8, 7]
    assert len(data.ranked) == 12
    assert data.num_open == 1
    assert data.worst is not None
    assert data.worst.outcome == "diverged"


def test_pruning_spares_the_epochs_that_were_left_at_each_trials_own_pace(study: optuna.Study) -> None:
    spent = report_data(study, None).spent
    assert spent.spared_epochs == 4 * (10 - 4)
    assert spent.spared_seconds == spent.spared_epochs * 2.0
    assert spent.seconds["pruned"] == 4 * 8.0
    assert spent.wall_seconds == 10.0 * 18 + 8.0


def test_failures_have_their_reasons(study: optuna.Study) -> None:
    rows = tables(report_data(study, None))["failures"].rows
    assert [row[0] for row in rows] == ["16", "17", "18"]
    assert rows[0][2:] == ("diverged", "the training loss is not finite in epoch 3")
    assert rows[1][2:] == ("failed", "RuntimeError: out of memory")


def test_without_a_final_result_the_best_value_is_said_to_be_too_good(study: optuna.Study) -> None:
    best, mattered, waiting = answer(report_data(study, None))
    assert best.startswith("The best trial is t008 relu 3x16 sgd: valid_accuracy 0.9400.")
    assert "best of 12 complete trials" in best
    assert "dnntune finalize by_hand" in best
    assert mattered.startswith("What mattered most: by PED-ANOVA ")
    assert mattered.endswith("this is rough; 50 would be enough.")
    assert waiting.startswith("A trial runs or waits")


def test_the_classes_are_said_and_where_accuracy_misleads() -> None:
    study = empty_study()
    counts = ClassCounts(("Cat", "dog"), (90, 10), (9, 1))
    study.set_user_attr(DATA, dataclasses.asdict(DataSummary("arrays", 100, 10, 2, (1, 4, 4), "cpu", counts)))
    _, classes, warning = answer(report_data(study, None))
    assert classes == "Images to train + validate on, by class: Cat 90 + 9, dog 10 + 1."
    assert warning.startswith("Warning: 90.0% of the validation images are of class Cat")


def test_a_final_result_comes_first_with_the_optimism_of_the_study() -> None:
    sentences = " ".join(final_sentences(dataclasses.replace(FINAL, times_measured=3), 12))
    assert "Chosen: the configuration of trial 1, the best mean of 2 finalists: mean valid_accuracy 0.9450" in sentences
    assert "The study's best valid_accuracy was 0.9600 (trial 3), the best of 12, and so optimistic" in sentences
    assert "over 2 new seeds its mean is 0.9200 (0.9200 to 0.9200), 0.0400 lower." in sentences
    assert "accuracy 0.9300 on 360 test images" in sentences
    assert "used 3 times for this study: each time makes it less of a test" in sentences


def test_without_a_test_part_a_final_result_is_said_to_be_too_good() -> None:
    sentences = " ".join(final_sentences(dataclasses.replace(FINAL, split="valid"), 12))
    assert "no test set: these images chose the configuration" in sentences


def test_estimates_go_from_the_study_to_the_test_images() -> None:
    rows = estimates(FINAL)
    assert [row[0] for row in rows][:5] == [
        "validation: trial 3 in the study",
        "validation: trial 1 over 2 new seeds",
        "validation: trial 3 over 2 new seeds",
        "test: mean over 2 seeds",
        "test: the model, seed 2",
    ]
    assert [row[0] for row in rows if row[3]] == ["test: the model, seed 2"]
    # a loss is no accuracy: it is not on that axis
    assert estimates(dataclasses.replace(FINAL, metric="valid_loss"))[0][0] == "test: mean over 2 seeds"


def test_several_metrics_have_their_trade_offs() -> None:
    data = report_data(varied_study(metrics=("valid_accuracy", "num_parameters")), None)
    board = tables(data)["leaderboard"]
    assert board.head[:6] == ("trial", "valid_accuracy", "num_parameters", "best epoch", "time", "trade-off")
    assert board.rows[0][:3] == ("8", "0.9400", "2,000")
    assert {row[0] for row in board.rows if row[5]} == {"8", "7"}
    (drawn,) = figures(data)["front"]
    assert "2 trials" in drawn.caption


def test_each_section_has_a_figure_or_a_sentence(study: optuna.Study) -> None:
    found = figures(report_data(study, FINAL))
    assert {name for name, drawings in found.items() if not drawings} == {"front"}
    names = [re.findall(r' id="([^"]+)"', drawing.svg) for drawings in found.values() for drawing in drawings]
    ids = [one for figure in names for one in figure]
    assert len(ids) == len(set(ids))


def only_failures() -> optuna.Study:
    study = empty_study()
    add_broken(study, 0)
    add(study, 1, "failed", None, reason="no memory")
    return study


def one_trial() -> optuna.Study:
    study = empty_study()
    add(study, 0, "complete", 0.9)
    return study


def only_pruned() -> optuna.Study:
    study = empty_study()
    add(study, 0, "pruned", 0.5)
    add(study, 1, "pruned", None)
    return study


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (empty_study, "No trial has ended."),
        (only_failures, "No trial is complete, so there is no best one."),
        (one_trial, "It is the only complete trial."),
        (only_pruned, "No trial is complete, so there is no best one."),
    ],
)
def test_a_study_with_little_in_it_has_a_report(make: Any, said: str) -> None:
    page = report_html(make(), None)
    assert said in page
    assert "Importances need 8 complete trials" in page


def test_what_a_trial_says_is_text_and_not_markup(study: optuna.Study) -> None:
    page = report_html(study, None)
    assert "<script" not in page
    assert "&lt;script&gt;alert" in page


def test_the_same_study_has_the_same_report() -> None:
    assert report_html(varied_study(), FINAL) == report_html(varied_study(), FINAL)


def test_the_study_file_makes_the_same_study(study: optuna.Study, tmp_path: Path) -> None:
    text = study_file(study)
    assert text is not None
    (tmp_path / "study.yaml").write_text(text)
    file = load_space(str(tmp_path / "study.yaml"), [])
    assert (file.name, file.study.seed) == ("by_hand", 3)
    assert json.loads(json.dumps(file.space.definition)) == study.user_attrs[SPACE]


def test_cases_have_no_study_file() -> None:
    study = empty_study()
    study.set_user_attr(IS_CASES, True)
    assert study_file(study) is None
    page = report_html(study, None)
    assert "come from named cases" in page
    assert "dnntune finalize" not in page


def test_a_study_that_is_not_ours_is_refused() -> None:
    with pytest.raises(StudyError, match="was not made by dnntune"):
        report_html(optuna.create_study(study_name="other"), None)


@pytest.mark.parametrize(("seconds", "text"), [(32.2, "32 s"), (270.0, "4.5 min"), (11_520.0, "3.2 h")])
def test_a_time_has_the_unit_that_suits_it(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


def test_the_command_writes_the_report_and_adds_it_to_the_run(finished: dict[str, Any], cli: Cli) -> None:
    workspace = Workspace(finished["workspace"])
    done = cli("report", "small", "--workspace", workspace.root)
    assert done.returncode == 0, done.stderr
    file = workspace.report("small")
    assert done.stdout == f"report: {file}\n"
    client = open_client(workspace.tracking_url)
    experiment = client.get_experiment_by_name(workspace.experiment)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], "tags.kind = 'study'")
    attached = client.download_artifacts(run.info.run_id, "report.html")
    assert Path(attached).read_bytes() == file.read_bytes()


def test_the_final_result_is_in_it_and_the_file_can_be_chosen(finished: dict[str, Any], tmp_path: Path) -> None:
    workspace = Workspace(finished["workspace"])
    file = tmp_path / "new" / "page.html"
    assert write_report(workspace, "small", file) == file
    assert "Final result" not in file.read_text()
    save_final(workspace, dataclasses.replace(FINAL, study="small"))
    try:
        write_report(workspace, "small", file)
    finally:
        workspace.final("small").unlink()
    assert "Final result" in file.read_text()
    assert "0.9300" in file.read_text()
    assert list(file.parent.iterdir()) == [file]


def test_a_place_that_cannot_be_written_is_a_message(finished: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DnntuneError, match=r"the report cannot be written: .*Name a file with --out"):
        write_report(Workspace(finished["workspace"]), "small", tmp_path / "file" / "page.html")


def test_an_unknown_study_is_a_message_without_a_traceback(finished: dict[str, Any], cli: Cli) -> None:
    done = cli("report", "smal", "--workspace", finished["workspace"])
    assert done.returncode == 2
    assert "no study named smal in this storage" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_report_needs_no_torch() -> None:
    code = "import pipeline.report.page, pipeline.cli.report, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
