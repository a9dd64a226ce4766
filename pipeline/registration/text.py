"""A registered version in words: its description on MLflow's page, and the command that serves it."""

from collections.abc import Mapping
from typing import Any

from pipeline.core.commands import join, quote
from pipeline.core.printing import markdown
from pipeline.core.stores.urls import StoreUrl
from pipeline.registration.champion import Decision, Interface

MOST_CLASSES = 20


def serving_command(model: str, tracking_uri: StoreUrl) -> str:
    """Returns the shell command that serves a registered model's champion over HTTP.

    Args:
        model: The registered model.
        tracking_uri: Where the registry is.
    """
    serve = ["mlflow", "models", "serve", "--model-uri", f"models:/{model}@champion"]
    text = join([*serve, "--env-manager", "local", "--port", "5001"])
    if tracking_uri.has_secret:  # it is in the environment, see `pipeline.display.console.from_environment`
        return f'MLFLOW_TRACKING_URI="$DNNTUNE_TRACKING_URI" {text}'
    return f"MLFLOW_TRACKING_URI={quote(tracking_uri)} {text}"


def description(
    metrics: Mapping[str, Any], *, address: str, interface: Interface, decision: Decision, against: int | None
) -> str:
    """Writes a version's description in Markdown.

    Args:
        metrics: What is known of the model, plain values.
        address: The version's in MLflow.
        interface: What it takes and tells apart.
        decision: Whether it is the champion.
        against: The version that was the champion before; None if there was none.
    """
    low, high = metrics["test_interval"]
    shape = ", ".join(map(str, interface.image_shape))
    more = ", ..." if len(interface.class_names) > MOST_CLASSES else ""
    names = ", ".join(map(markdown, interface.class_names[:MOST_CLASSES])) + more
    became = "Became the champion" if decision.is_champion else "Stays the challenger"
    versus = "" if against is None else f" (the champion was version {against})"
    paragraphs = (
        f"Test accuracy **{metrics['test_accuracy']:.4f}** (95 % interval {low:.4f} to {high:.4f}, "
        f"{metrics['test_images']:,} images): study {markdown(metrics['study'])}, trial {metrics['trial']}, seed "
        f"{metrics['seed']}.",
        f"**{became}**{versus}: {decision.reason}.",
        f'It takes `{{"inputs": ...}}`: {interface.dtype}, (batch, {shape}), as the data set holds images; it gives '
        f"`labels`, and `probabilities` in this order of the classes: {names}.",
        f"`mlflow models serve --model-uri {address} --env-manager local` serves it, with mlflow, numpy and "
        "onnxruntime; `dnntune train config.yaml`, with the file from its artifact `export`, trains it again.",
    )
    return "\n\n".join(paragraphs)
