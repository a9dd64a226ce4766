"""Studies whose trials have made-up values."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import optuna

from pipeline.config.metrics import Direction
from pipeline.records.results import RESULT_TYPE, TrialResult, at_best_epoch
from pipeline.study.attributes import METRICS
from pipeline.study.trials import finish

if TYPE_CHECKING:
    from pipeline.config.metrics import Direction


def made(points: Sequence[Sequence[float]], metrics: Sequence[str] = ("valid_accuracy", "latency_ms")) -> optuna.Study:
    """A study with a complete trial for each point, and one that was pruned."""
    directions: list[Direction] = ["maximize" if metric == "valid_accuracy" else "minimize" for metric in metrics]
    study = optuna.create_study(study_name="made", directions=directions)
    study.set_user_attr(METRICS, metrics)
    for point in points:
        figures = dict(zip([at_best_epoch(metric) for metric in metrics], point, strict=True))
        fields = {"value": point[0], "epochs": 3, "best_epoch": 2, "num_parameters": 10, **figures}
        result = RESULT_TYPE.validate_python({"outcome": "complete", **fields})
        finish(study, study.ask(), {"seed": 0}, result, further_metrics=metrics[1:])
    finish(study, study.ask(), {}, TrialResult("pruned", 0.99), further_metrics=metrics[1:])
    return study
