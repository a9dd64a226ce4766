"""What runs, parameters and metrics are called in MLflow."""

import re
from collections.abc import Mapping
from typing import Any

from pipeline.records.phases import phases_text
from pipeline.records.results import TrialResult, at_best_epoch
from pipeline.space.distributions import format_value
from pipeline.tracking.axes import Axes, set_values

# MLflow's limit for a value.
MAX_VALUE_LENGTH = 6000
MAX_REASON_LENGTH = 500
# What may not stand in the name of a metric, or would be taken for a path.
_NO_KEY = re.compile(r"[^\w.\- ]")
# The tag that MLflow shows as a run's description, in Markdown.
NOTE = "mlflow.note.content"


def run_name(number: int, config: Mapping[str, Any], params: Mapping[str, Any], retry: int = 0) -> str:
    """Returns a trial's name: its number and its network first, since MLflow cuts names at about 15 characters.

    Args:
        number: The trial's.
        config: Its configuration as plain values.
        params: Its drawn parameters: in a study that compares cases, the case says more than the network.
        retry: How many times it has been tried before.
    """
    again = f" retry {retry}" if retry else ""
    if "case" in params:
        return f"t{number:03d} {params['case']} seed {config['seed']}{again}"
    return f"t{number:03d} {_network_name(config)} {config['optimizer']['kind']}{again}"


def _network_name(config: Mapping[str, Any]) -> str:
    model, transfer = config["model"], config["transfer"]
    if model["kind"] == "backbone":
        what = {"none": "all", "unfreeze": f"top {transfer.get('unfreeze_top_stages')}"}
        return f"{what.get(transfer['kind'], transfer['kind'])} {model['name'].removeprefix('tf_')}"
    if model["kind"] == "mlp":
        return f"{model['activation']} {_shape(model['width'], model['hidden_layers'])}"
    if model["kind"] == "cnn":
        return f"{model['activation']} {model['block']} {_shape(model['channels'], model['stages'], model['blocks'])}"
    return str(model["kind"])


def _shape(width: Any, *depths: int) -> str:
    """Writes how deep and wide layers are: 3x100 or, with a width for each, 300-100."""
    if isinstance(width, int):
        return "x".join(map(str, (*depths, width)))
    return "x".join(map(str, (*depths[1:], "-".join(map(str, width)))))


def params_of(config: Mapping[str, Any], axes: Axes) -> dict[str, str]:
    """Returns a configuration's settings under their paths, unset ones left out, and what charts need beside them.

    Args:
        config: A configuration as plain values.
        axes: What charts must know of its space.
    """
    params = {path: format_value(value)[:MAX_VALUE_LENGTH] for path, value in set_values(config).items()}
    return params | axes.further_params(config)


def metrics_of(result: TrialResult) -> dict[str, float]:
    """Returns a trial's final figures, those that it has."""
    names = (
        *("best_valid_accuracy", "best_valid_loss", "best_epoch", "epochs", "num_parameters", "samples_per_second"),
        *("latency_ms", "backbone_images", "cached_images"),
    )
    values = {name: getattr(result, name) for name in names} | {
        **{metric_key(at_best_epoch(metric)): value for metric, value in result.best_metrics.items()},
        "seconds": round(result.seconds, 2),
        "objective": result.value,
        "objective_std": result.value_std,
    }
    return {name: float(value) for name, value in values.items() if value is not None}


def metric_key(name: str) -> str:
    """Returns what a metric is called in MLflow, which does not take all characters that a class's name may have."""
    metric, colon, argument = name.partition(":")
    return f"{metric}{colon and '/'}{_NO_KEY.sub('_', argument)}"


def note_of(result: TrialResult) -> str:
    """Returns a line that describes a trial on its run's page, and in the column of descriptions: how it went."""
    said = [result.outcome if result.reason is None else f"{result.outcome}: {result.reason[:MAX_REASON_LENGTH]}"]
    if result.duplicate_of is not None:
        said.append(f"a duplicate of trial {result.duplicate_of}, whose result it reuses")
    if result.verdict is not None:
        said.append(f"{result.verdict.label}: {result.verdict.text}")
    return "; ".join(said)


def tags_of(result: TrialResult) -> dict[str, str]:
    """Returns what a trial's end is filtered by."""
    tags: dict[str, str] = {"outcome": result.outcome, NOTE: note_of(result)}
    if result.reason is not None:
        tags["reason"] = result.reason[:MAX_REASON_LENGTH]
    if result.verdict is not None:
        tags |= {"verdict": result.verdict.label, "gradient_flow": result.verdict.text}
    if (phases := phases_text(result.phases)) is not None:
        tags["phases"] = phases[:MAX_VALUE_LENGTH]
    if result.duplicate_of is not None:
        tags["duplicate_of"] = str(result.duplicate_of)
    return tags
