"""Dropout: its scaling in training or at test time, and Monte Carlo dropout's mode."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.dropout import _DropoutNd


class TestScaledDropout(_DropoutNd):
    """Dropout as it was first described: Srivastava et al., JMLR 2014, section 4.

    In training a value is kept or set to zero, and nothing is scaled. At test time every value is multiplied by the
    probability of keeping it, which is the same as scaling the outgoing weights. What the next layer gets is equal in
    expectation; `torch.nn.Dropout` divides by that probability in training instead (inverted dropout).
    """

    __test__ = False  # pytest takes it for a test otherwise

    def forward(self, values: Tensor) -> Tensor:
        """Returns values of the same shape."""
        keep = 1.0 - self.p
        if not self.training:
            return values * keep
        return functional.dropout(values, self.p, training=True) * keep


def has_dropout(model: nn.Module) -> bool:
    """Returns whether any module of a model drops something."""
    return any(module.p > 0.0 for module in _dropouts(model))


@contextmanager
def only_dropout_trains(model: nn.Module) -> Iterator[None]:
    """Puts a model in evaluation mode, and its dropout in training mode; afterwards all of it is in evaluation mode."""
    model.eval()
    for module in _dropouts(model):
        module.train()
    try:
        yield
    finally:
        model.eval()


def _dropouts(model: nn.Module) -> Iterator[_DropoutNd]:
    return (module for module in model.modules() if isinstance(module, _DropoutNd))
