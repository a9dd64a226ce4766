"""PyTorch's global generators: what a training draws from, but for the order of its batches."""

import torch
from torch import Tensor

# The state of each, by the type of its device.
GeneratorStates = dict[str, Tensor]


def generator_states(device: torch.device) -> GeneratorStates:
    """Returns the states of the processor's generator and, if that is another one, of a device's."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_generator_states(states: GeneratorStates, device: torch.device) -> None:
    """Lets the generators draw again what they have drawn since `generator_states`.

    Args:
        states: What that returned. Where it was asked for another type of device, this one's generator stays as it is.
        device: The device.
    """
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
