"""How long a network takes for a prediction."""

import statistics
import time
from contextlib import AbstractContextManager

import torch
from torch import nn

from pipeline.data.image_data import Examples

# Passes that are not counted: the first ones allocate memory and choose algorithms.
WARM_UP = 3


@torch.inference_mode()
def batch_seconds(
    model: nn.Module,
    data: Examples,
    precision: AbstractContextManager[object],
    *,
    batch_size: int,
    passes: int = 20,
    most_seconds: float = 2.0,
) -> float:
    """Returns the median time in seconds of a forward pass in evaluation mode, with the images ready on the device.

    Args:
        model: From prepared images to logits; it is left in evaluation mode.
        data: Its images; they are repeated if there are fewer than a batch needs.
        precision: Context for forward passes.
        batch_size: Images in a pass.
        passes: Passes to time.
        most_seconds: After this time there are no more of them, but for a first one.
    """
    model.eval()
    rows = torch.arange(batch_size, device=data.labels.device) % len(data)
    inputs, _ = data.batch(rows)

    def forward() -> float:
        begun = time.perf_counter()
        with precision:
            model(inputs)
        if inputs.is_cuda:
            torch.cuda.synchronize(inputs.device)
        return time.perf_counter() - begun

    for _ in range(WARM_UP):
        forward()
    times: list[float] = []
    ends = time.perf_counter() + most_seconds
    while len(times) < passes and (not times or time.perf_counter() < ends):
        times.append(forward())
    return statistics.median(times)
