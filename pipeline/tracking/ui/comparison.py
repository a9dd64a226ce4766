"""Several studies in one view of MLflow's page."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.config.metrics import Metric
from pipeline.core.errors import TrackingError
from pipeline.tracking.axes import LEVEL, LOGARITHM, STAND_INS
from pipeline.tracking.expected_run import SUPERSEDED
from pipeline.tracking.store import METRICS, find_runs
from pipeline.tracking.ui.view import view_key, view_path, view_state, view_tag

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Settings that differ between studies can be more than a table can show.
MAX_COLUMNS = 24


def save_comparison(client: "MlflowClient", experiment: str, studies: Sequence[str]) -> str:
    """Saves a view with the trials that several studies have so far; returns its address, without the server.

    Args:
        client: The tracking store.
        experiment: Id of the experiment.
        studies: The studies' names.

    Raises:
        TrackingError: There are fewer than two, one is not in the experiment, or they do not optimize the same.
    """
    names = sorted(set(studies))
    metrics = _shared_metrics(client, experiment, names)
    # MLflow's filters know no "or": the view asks for a mark that the trials get here.
    mark, marked = f"compared.{view_key(*names)}", ", ".join(names)
    trials = ("tags.kind = 'trial'", f"tags.{SUPERSEDED} IS NULL")
    runs = [run for name in names for run in find_runs(client, experiment, f'tags.study = "{name}"', *trials)]
    for run in runs:
        if mark not in run.data.tags:
            client.set_tag(run.info.run_id, mark, marked)
    axes = _differing([run.data.params for run in runs])
    state = view_state(title=marked, condition=f'tags.`{mark}` = "{marked}"', metrics=metrics, axes=axes)
    client.set_experiment_tag(experiment, view_tag(*names), json.dumps(state))
    return view_path(experiment, *names)


def _shared_metrics(client: "MlflowClient", experiment: str, names: Sequence[str]) -> tuple[Metric, ...]:
    runs = find_runs(client, experiment, "tags.kind = 'study'")
    known = {run.data.tags["study"]: run.data.tags.get(METRICS, "") for run in runs}
    if len(names) < 2:
        raise TrackingError(f"a comparison needs two studies; got {', '.join(names)}. There are {', '.join(known)}")
    for name in names:
        if name not in known:
            raise TrackingError(f"no study {name} is logged here. There are {', '.join(sorted(known))}")
    if len({known[name] for name in names}) > 1:
        said = " and ".join(f"{name} optimizes {known[name]}" for name in names)
        raise TrackingError(f"studies can be compared that optimize the same; {said}. Compare others")
    return tuple(known[names[0]].split(", "))


def _differing(params: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    """Returns the parameters that differ between runs, the study first, each with the one that makes its axis.

    Args:
        params: Each run's parameters.
    """
    paths = dict.fromkeys(["study", *(path for each in params for path in sorted(each))])
    settings = [path for path in paths if not path.endswith(STAND_INS)]
    differing = [path for path in settings if len({each.get(path) for each in params}) > 1]
    axes = [(path, axis) for path in differing if (axis := _axis(path, params)) is not None]
    return axes[:MAX_COLUMNS]


def _axis(path: str, params: Sequence[Mapping[str, str]]) -> str | None:
    """Returns which of the parameters for a setting all runs have, and all in numbers or all in words."""
    has_logarithm = any(f"{path}{LOGARITHM}" in each for each in params)
    for name in (f"{path}{LOGARITHM}" if has_logarithm else path, f"{path}{LEVEL}"):
        values = [each.get(name) for each in params]
        if None not in values and len({_is_number(value) for value in values if value is not None}) == 1:
            return name
    return None


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
