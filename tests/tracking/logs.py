"""What the tests of a study's log share: records of a study and its trials, and their runs in a real store."""

from typing import Any

from pipeline.config.data import Digits
from pipeline.config.training import NAdam
from pipeline.config.trial import TrialConfig
from pipeline.core.workspace import Workspace
from pipeline.records.results import CURVE_NAMES, DataSummary, Outcome, TrialResult
from pipeline.space.files import read_space
from pipeline.space.yaml_text import parse
from pipeline.tracking.axes import axes_of
from pipeline.tracking.expected_run import StudyRecord, TrialRecord
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.store import experiment_id, find_runs, open_store

SPACE = read_space(
    parse("space: {data: {kind: digits}, optimizer: {kind: nadam, lr: {float: [1e-3, 0.1], log: true}}}", "s.yaml"), "s"
).space
CONFIG = TrialConfig(data=Digits(), optimizer=NAdam(lr=0.01)).to_dict()
DATA = DataSummary("digits", 1000, 200, 10, (1, 8, 8), "cpu")
FIGURES = {"seconds": 3.0, "trials_complete": 1.0, "best_valid_accuracy": 0.6}


def curves(epochs: int) -> dict[str, Any]:
    """Curves of a trial with two layers, whose accuracy is 0.1, 0.2, ..."""
    values = [round(0.1 * epoch, 6) for epoch in range(1, epochs + 1)]
    flow = [[epoch, [0.5, 4.0, 2.0]] for epoch in range(1, epochs + 1)]
    times = [1000.0 + epoch for epoch in range(1, epochs + 1)]
    return {**dict.fromkeys(CURVE_NAMES, values), "gradient_flow": flow, "ended": times}


def record(number: int, outcome: Outcome | None = "complete", *, epochs: int = 2, **changes: Any) -> TrialRecord:
    """A trial that began at 1000 and ended, if it has, at 1005."""
    has_ended = outcome not in (None, "interrupted")
    result = TrialResult(outcome, 0.6, epochs, epochs, 0.6, 0.4, 99, 9.0, 5.0) if has_ended and outcome else None
    fields = {"params": {"optimizer.lr": 0.01}, "config": CONFIG, "started": 1000.0, "outcome": outcome}
    ended = {"ended": 1005.0, "result": result, "curves": curves(epochs)} if has_ended else {}
    return TrialRecord(number, **{**fields, **ended, **changes})


def study(name: str = "s", outcome: Outcome | None = "complete", **changes: Any) -> StudyRecord:
    fields = {
        "metrics": ("valid_accuracy",),
        "space": SPACE,
        "data": DATA,
        "started": 1000.0,
        "ended": 2000.0,
        "totals": FIGURES,
        "best": record(0),
        "best_config": "x: 1",
        "chosen": None,
        "configs": [CONFIG],
        "searched_paths": [],
    }
    return StudyRecord(name=name, outcome=outcome, **{**fields, **changes})


def mirror_of(workspace: Workspace, name: str = "s") -> Mirror:
    """A study's mirror, its own run made."""
    client = open_store(workspace)
    experiment = experiment_id(client, workspace.experiment, workspace.artifacts)
    mirror = Mirror(client, experiment, name, tags={"device": "cpu"}, axes=axes_of(SPACE))
    mirror.adopt(None, 1000.0)
    mirror.look()
    return mirror


def runs_of(mirror: Mirror) -> dict[int, Any]:
    """All runs of trials, by number; none has two."""
    runs = find_runs(mirror.client, mirror.experiment, "tags.kind = 'trial'", f'tags.study = "{mirror.study}"')
    assert len({run.data.tags["trial"] for run in runs}) == len(runs)
    return {int(run.data.tags["trial"]): run for run in runs}
