"""What a study's run says of itself."""

import dataclasses
from pathlib import Path

import optuna

from pipeline.core.workspace import Workspace
from pipeline.records.classes import ClassCounts
from pipeline.study.attributes import MLFLOW_RUNS
from pipeline.study.summary import Chosen
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.naming import NOTE
from pipeline.tracking.note import chosen_text, study_note, with_chosen
from pipeline.tracking.store import experiment_id, identity, open_store
from pipeline.workers.session import describe_chosen
from tests.tracking.logs import DATA, SPACE, study

FIGURES = {"trials_complete": 7.0, "trials_pruned": 2.0, "trials_failed": 0.0, "best_valid_accuracy": 0.91234}


def note(**changes: object) -> str:
    given = {
        "space": SPACE,
        "metrics": ("valid_accuracy",),
        "data": DATA,
        "totals": FIGURES,
        "best_trial": 3,
        "view": "/#/view",
        "run": "/#/run",
    }
    return study_note("s", **{**given, **changes})  # type: ignore[arg-type]


def test_a_note_says_what_was_found_and_where_to_look() -> None:
    text = note()
    first = text.splitlines()[0]
    assert first.startswith("Best: **trial 3**, `valid_accuracy` **0.9123**. Trials: 7 complete, 2 pruned.")
    for link in ("(#/view)", "(#/run/artifacts/report.html)", "(#/run/artifacts/best_config.yaml)"):
        assert link in first
    assert (
        "for the highest `valid_accuracy` on digits (1,000 images to train on, 200 to validate on, 10 classes)" in text
    )
    assert "dnntune best s > best.yaml" in text
    assert "| optimizer.lr | float 0.001 to 0.1, log |" in text


def test_a_note_has_the_images_of_each_class() -> None:
    assert "train + validate" not in note()  # a study of before they were counted
    counts = ClassCounts(("a<b", "c"), (900, 100), (150, 50))
    text = note(data=dataclasses.replace(DATA, classes=counts))
    assert "Images to train + validate on, by class: a&lt;b 900 + 150, c 100 + 50" in text


def test_a_study_without_a_complete_trial_has_no_best() -> None:
    text = note(best_trial=None, totals={"trials_failed": 2.0})
    assert text.startswith("Trials: 2 failed.")
    assert "best" not in text
    assert note(best_trial=None, totals={}).startswith("Trials: none has ended yet.")


def test_a_function_has_no_table_and_several_metrics_are_named() -> None:
    text = note(space=None, metrics=("valid_accuracy", "num_parameters"))
    assert "the highest `valid_accuracy` and the lowest `num_parameters`" in text
    assert "| searched" not in text


def test_the_studys_run_has_its_note(mirror: Mirror) -> None:
    mirror.write_study(study())
    text = mirror.client.get_run(mirror.parent).data.tags[NOTE]
    assert text.startswith("Best: **trial 0**, `valid_accuracy` **0.6000**. Trials: 1 complete.")
    assert f"(#/experiments/{mirror.experiment}/runs/{mirror.parent}/artifacts/report.html)" in text


def test_a_note_takes_no_markup_from_names() -> None:
    text = study_note(
        "a`b|<i>$(x)",
        space=None,
        metrics=("valid_accuracy",),
        data=dataclasses.replace(DATA, name="<img src=x>\x1b[31m"),
        totals=FIGURES,
        best_trial=3,
        view="/#/view",
        run="/#/run",
    )
    assert r"on &lt;img src=x&gt;\\x1b\[31m (" in text
    assert "after ``dnntune report 'a`b|<i>$(x)'``" in text
    assert "\ndnntune best 'a`b|<i>$(x)' > best.yaml\n" in text


def test_what_was_chosen_stands_above_the_best_trial() -> None:
    note = "Best: **trial 3**, `valid_accuracy` **0.9123**. Trials: 7 complete.\n\nIt searches."
    first = with_chosen(note, chosen_text(5, "mean valid_accuracy 0.9000 over 2 fresh seeds (0.8900, 0.9100)"))
    paragraphs = first.split("\n\n")
    assert paragraphs[0].startswith("Chosen by `dnntune finalize`: **trial 5**, mean valid_accuracy 0.9000")
    assert paragraphs[1].startswith("Best single trial: **trial 3**, `valid_accuracy` **0.9123**.")
    again = with_chosen(first, chosen_text(6, "mean valid_accuracy 0.9100"))
    assert again.split("\n\n")[1:] == paragraphs[1:]
    assert "trial 5" not in again


def test_the_studys_run_says_what_was_chosen(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "runs")
    workspace.root.mkdir()
    client = open_store(workspace)
    experiment = experiment_id(client, "dnntune", workspace.artifacts)
    run = client.create_run(experiment).info.run_id
    client.set_tag(run, NOTE, "Best: **trial 3**, `valid_accuracy` **0.9123**.")
    study = optuna.create_study()
    study.set_user_attr(MLFLOW_RUNS, {identity(client, experiment): run})
    describe_chosen(study, workspace, Chosen(5, "valid_accuracy", {1: 0.89, 2: 0.91}, {"data": {"kind": "digits"}}))
    paragraphs = client.get_run(run).data.tags[NOTE].split("\n\n")
    assert paragraphs[0].startswith(
        "Chosen by `dnntune finalize`: **trial 5**, mean valid_accuracy 0.9000 over 2 fresh"
    )
    assert paragraphs[1].startswith("Best single trial: **trial 3**")
    assert [file.path for file in client.list_artifacts(run)] == ["best_config.yaml"]
    describe_chosen(optuna.create_study(), workspace, Chosen(5, "valid_accuracy", {1: 0.9}, {}))  # it has no run there
