"""What `dnntune diagnose` finds: gradient flow in the first steps, a verdict, and remedies that were tried."""

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.analysis.probe import ProbeRun, first_steps
from pipeline.analysis.remedies import Remedy, network, remedies
from pipeline.config.trial import TrialConfig
from pipeline.data.image_data import ImageData
from pipeline.records.results import LayerFlow, Verdict
from pipeline.records.verdict import judge

# Steps that are measured, spread evenly over those that are taken.
NUM_MEASURED = 10
# A weight changes by a thousandth in a usual step. Where all layers change by a tenth, each step throws away what the
# last ones found; where they change by a millionth, nothing happens in a training of usual length.
FAST, SLOW = 0.1, 1e-6
# More than half of the activations at their limits.
SATURATED = 0.5


@dataclass(frozen=True)
class TriedRemedy:
    """A remedy, and what the same steps gave with it: a verdict and the last losses' mean, in nats."""

    remedy: Remedy
    verdict: Verdict
    loss: float | None


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        network: The network in words.
        num_steps: Steps taken.
        layers: What was measured, the mean over the measured steps.
        verdict: What it means.
        first_loss: Loss of the first step, in nats; None if not finite.
        last_loss: Mean loss of the last tenth of the steps.
        findings: What else is to be seen, in sentences.
        tried: Remedies, those that help first.
    """

    network: str
    num_steps: int
    layers: tuple[LayerFlow, ...]
    verdict: Verdict
    first_loss: float | None
    last_loss: float | None
    findings: tuple[str, ...]
    tried: tuple[TriedRemedy, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns plain values for another program."""
        return dataclasses.asdict(self)


def diagnose(
    config: TrialConfig, data: ImageData, *, num_steps: int, trying: Callable[[Remedy], None] = lambda remedy: None
) -> Diagnosis:
    """Trains for some steps, measures gradient flow, and tries what might help.

    Args:
        config: What to diagnose.
        data: Its images.
        num_steps: Optimizer steps, of the network and of each remedy.
        trying: Is told which remedy is tried next.
    """
    probe_run, verdict = _measure(config, data, num_steps)
    tried = []
    for remedy in remedies(config, verdict.label):
        trying(remedy)
        outcome, found = _measure(config.replaced(remedy.settings), data, num_steps)
        tried.append(TriedRemedy(remedy, found, _last_loss(outcome)))
    return Diagnosis(
        network=network(config.model),
        num_steps=len(probe_run.losses),
        layers=probe_run.layers,
        verdict=verdict,
        first_loss=probe_run.losses[0] if probe_run.losses else None,
        last_loss=_last_loss(probe_run),
        findings=tuple(_findings(probe_run.layers)),
        tried=tuple(sorted(tried, key=_usefulness)),
    )


def _measure(config: TrialConfig, data: ImageData, num_steps: int) -> tuple[ProbeRun, Verdict]:
    every = max(1, num_steps // NUM_MEASURED)
    probe_run = first_steps(config, data, num_steps=num_steps, measure_every=every)
    verdict = judge(probe_run.layers, probe_run.diverged)
    assert verdict is not None
    return probe_run, verdict


def _usefulness(tried: TriedRemedy) -> tuple[bool, float]:
    return tried.verdict.label != "healthy", math.inf if tried.loss is None else tried.loss


def _last_loss(probe_run: ProbeRun) -> float | None:
    if probe_run.diverged is not None:
        return None
    return statistics.fmean(probe_run.losses[-max(1, len(probe_run.losses) // 10) :])


def _findings(layers: tuple[LayerFlow, ...]) -> Iterator[str]:
    ratios = [layer.update_ratio for layer in layers]
    if ratios and min(ratios) > FAST:
        yield f"every layer's weights change by more than {FAST:.0%} a step: lower optimizer.lr; dnntune lr-find helps"
    if ratios and max(ratios) < SLOW:
        yield f"no layer's weights change by more than {SLOW:.0e} a step: raise optimizer.lr; dnntune lr-find helps"
    saturated = [layer.layer for layer in layers if (layer.saturated or 0.0) > SATURATED]
    if saturated:
        where = ", ".join(map(str, saturated))
        yield f"most activations are at their limits in layers {where}: make the initial weights smaller, or take relu"
