"""What can be optimized, and which way is better."""

from typing import Literal

Metric = Literal["valid_accuracy", "valid_loss", "latency_ms", "num_parameters"]
Direction = Literal["maximize", "minimize"]


def direction(metric: Metric) -> Direction:
    """Returns the way in which a metric improves."""
    return "maximize" if metric == "valid_accuracy" else "minimize"
