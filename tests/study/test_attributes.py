"""What somebody has written into a study's storage is an error with its place, wherever it is read."""

from pathlib import Path
from typing import Any

import optuna
import pytest

from pipeline.cli.app import app
from pipeline.core.errors import DnntuneError, StudyError
from pipeline.core.workspace import Workspace
from pipeline.records.results import TrialResult
from pipeline.space.files import read_space
from pipeline.space.yaml_text import parse
from pipeline.storage.internals import storage_of, trial_id
from pipeline.storage.open import open_storage, quiet_optuna
from pipeline.study import attributes
from pipeline.study.attributes import (
    CHOSEN,
    CONFIG,
    CURVES,
    DATA,
    FIRST_ATTEMPT,
    METRICS,
    MLFLOW_RUNS,
    RESULT,
    RETRY,
    SETTINGS,
    SPACE,
    TOTAL,
    StudyAttributes,
    TrialAttributes,
)
from pipeline.study.creation import create_or_resume
from pipeline.study.studies import open_study, stored_definition
from pipeline.study.trials import finish

SPACE_TEXT = "study: {trials: 3}\nspace: {data: {kind: digits}, epochs: {int: [1, 3]}}\n"
TAMPERED: dict[str, tuple[str, Any]] = {
    "settings.trials": (SETTINGS, {"trials": "many"}),
    "settings.sampler": (SETTINGS, {"sampler": {"kind": "exec"}}),
    "settings": (SETTINGS, 7),
    "metrics": (METRICS, ["__import__"]),
    "total": (TOTAL, "3"),
    "space": (SPACE, "rm -rf"),
    "chosen": (CHOSEN, 3),
    "data": (DATA, "digits"),
    "mlflow_runs.s": (MLFLOW_RUNS, {"s": 1}),
}
TAMPERED_TRIALS: dict[str, tuple[str, Any]] = {
    "config": (CONFIG, ["x"]),
    "config.epochs": (CONFIG, {"data": {"kind": "digits"}, "epochs": -1}),
    "result": (RESULT, 3),
    "result.outcome": (RESULT, {"outcome": "great"}),
    "result.value": (RESULT, {"outcome": "complete", "value": "high"}),
    "curves": (CURVES, "x"),
    "retry": (RETRY, "x"),
    "first_attempt": (FIRST_ATTEMPT, "x"),
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    quiet_optuna()
    workspace = Workspace(tmp_path)
    file = read_space(parse(SPACE_TEXT, "s"), "s")
    study = create_or_resume(open_storage(workspace.storage_url), "s", file.study, file.space)
    trial = study.ask()
    config = file.space.sample(trial)
    finish(study, trial, config.to_dict(), TrialResult("complete", value=0.5, best_epoch=1, epochs=1))
    return workspace


def study_of(workspace: Workspace) -> optuna.Study:
    return optuna.load_study(study_name="s", storage=open_storage(workspace.storage_url))


def test_no_two_attributes_have_one_name() -> None:
    names = [value for name, value in vars(attributes).items() if name.isupper() and isinstance(value, str)]
    assert sorted(names) == sorted([*StudyAttributes.__annotations__, *TrialAttributes.__annotations__])


def test_what_dnntune_writes_is_taken(workspace: Workspace) -> None:
    assert stored_definition(open_study(workspace, "s"))[1].trials == 3


@pytest.mark.parametrize("where", TAMPERED)
def test_a_changed_study(where: str, workspace: Workspace) -> None:
    name, value = TAMPERED[where]
    study_of(workspace).set_user_attr(name, value)
    for command in ("worker", "best", "leaderboard", "report", "importance", "finalize"):
        with pytest.raises(StudyError, match=rf"study s: what the storage has as {where}.* is not what dnntune writes"):
            app([command, "s", "--workspace", str(workspace.root)], standalone_mode=False)
    file = read_space(parse(SPACE_TEXT, "s"), "s")
    with pytest.raises(StudyError, match="study s"):
        create_or_resume(open_storage(workspace.storage_url), "s", file.study, file.space)


@pytest.mark.parametrize("where", TAMPERED_TRIALS)
def test_a_changed_trial(where: str, workspace: Workspace) -> None:
    name, value = TAMPERED_TRIALS[where]
    study = study_of(workspace)
    study.ask()
    storage_of(study).set_trial_user_attr(trial_id(study.trials[1]), name, value)
    with pytest.raises(StudyError, match=rf"trial 1 of study s: what the storage has as {where}"):
        open_study(workspace, "s")


def test_a_space_that_is_none_names_its_mistakes(workspace: Workspace) -> None:
    study_of(workspace).set_user_attr(SPACE, {"data": {"kind": "digits"}, "epochs": {"int": [3, 1]}})
    with pytest.raises(DnntuneError, match="study s: epochs: low must not be above high"):
        stored_definition(open_study(workspace, "s"))


def test_an_attribute_that_is_gone(workspace: Workspace) -> None:
    other = optuna.create_study(study_name="t", storage=open_storage(workspace.storage_url))
    other.set_user_attr(METRICS, ["valid_accuracy"])
    with pytest.raises(StudyError, match="study t has no space in its storage"):
        stored_definition(open_study(workspace, "t"))
