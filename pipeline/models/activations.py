"""Activation functions of the hidden layers: a row each."""

from collections.abc import Callable

from torch import nn

# From the slope for negative inputs (leaky ReLU; the one PReLU starts from) and ELU's alpha to a module.
ACTIVATIONS: dict[str, Callable[[float, float], nn.Module]] = {
    # max(0, z): Nair and Hinton, ICML 2010.
    "relu": lambda slope, alpha: nn.ReLU(),
    # max(slope * z, z): Maas et al., ICML 2013.
    "leaky_relu": lambda slope, alpha: nn.LeakyReLU(slope),
    # alpha * (exp(z) - 1) for z < 0, else z: Clevert et al., ICLR 2016. ELU(-1) = -0.63212 for alpha 1.
    "elu": lambda slope, alpha: nn.ELU(alpha),
    # 1.0507 * ELU(z) with alpha 1.67326: Klambauer et al., NeurIPS 2017. Keeps mean 0 and variance 1 through plain
    # layers, given LeCun initialization and standardized inputs.
    "selu": lambda slope, alpha: nn.SELU(),
    "tanh": lambda slope, alpha: nn.Tanh(),
    # 1 / (1 + exp(-z)): its derivative is at most 1/4, so deep stacks lose their gradient.
    "sigmoid": lambda slope, alpha: nn.Sigmoid(),
    # Leaky ReLU with a learned slope, one a layer: He et al., ICCV 2015.
    "prelu": lambda slope, alpha: nn.PReLU(init=slope),
    # z * Phi(z): Hendrycks and Gimpel, 2016.
    "gelu": lambda slope, alpha: nn.GELU(),
    # z * sigmoid(z): Elfwing et al., 2018.
    "silu": lambda slope, alpha: nn.SiLU(),
}


def build_activation(name: str, *, negative_slope: float = 0.01, elu_alpha: float = 1.0) -> nn.Module:
    """Returns a new activation module.

    Args:
        name: A key of `ACTIVATIONS`.
        negative_slope: Slope for negative inputs of leaky ReLU; the slope that PReLU starts from.
        elu_alpha: Minus the limit of ELU for large negative inputs.
    """
    return ACTIVATIONS[name](negative_slope, elu_alpha)
