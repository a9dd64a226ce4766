"""The multilayer perceptron."""

from collections.abc import Iterator, Sequence
from typing import Literal

from torch import Tensor, nn

from pipeline.models.activations import build_activation
from pipeline.models.dropout import TestScaledDropout
from pipeline.models.initialization import initialize


class Mlp(nn.Module):
    """Hidden layers of linear, batch normalization, activation and dropout, and a linear output.

    Args:
        num_inputs: Values in an image: channels * height * width.
        num_classes: Number of outputs.
        widths: Units of each hidden layer, first to last.
        activation: A key of `ACTIVATIONS`.
        negative_slope: For leaky ReLU and PReLU.
        elu_alpha: For ELU.
        initialization: A key of `INITIALIZATIONS`, or ``auto``.
        initialization_gain: Its gain; None for its own.
        batch_norm: Where hidden layers are normalized: not, before the activation, or after it.
        input_batch_norm: Whether the input is normalized.
        batch_norm_alpha: Weight of the newest batch in the moving mean and variance, alpha of eq. (19). PyTorch keeps
            the unbiased variance there.
        batch_norm_epsilon: Added to the variance.
        dropout_rate: Probability of dropping a hidden unit.
        dropout_layers: How many of the last hidden layers drop units; all of them if there are fewer.
        input_dropout_rate: Probability of dropping an input value.
        alpha_dropout: Use alpha dropout, which goes with SELU.
        test_scaled_dropout: Scale at test time instead of in training; not with alpha dropout.
    """

    def __init__(
        self,
        num_inputs: int,
        num_classes: int,
        *,
        widths: Sequence[int],
        activation: str,
        negative_slope: float = 0.01,
        elu_alpha: float = 1.0,
        initialization: str = "auto",
        initialization_gain: float | None = None,
        batch_norm: Literal["none", "before", "after"] = "none",
        input_batch_norm: bool = False,
        batch_norm_alpha: float = 0.1,
        batch_norm_epsilon: float = 1e-5,
        dropout_rate: float = 0.0,
        dropout_layers: int = 0,
        input_dropout_rate: float = 0.0,
        alpha_dropout: bool = False,
        test_scaled_dropout: bool = False,
    ) -> None:
        super().__init__()
        standard = TestScaledDropout if test_scaled_dropout else nn.Dropout
        dropout = nn.AlphaDropout if alpha_dropout else standard

        def normalization(units: int) -> nn.Module:
            return nn.BatchNorm1d(units, eps=batch_norm_epsilon, momentum=batch_norm_alpha)

        def hidden_layer(inputs: int, units: int, drops: bool) -> Iterator[nn.Module]:
            # Normalization before the activation subtracts the mean: a bias there would be redundant.
            linear = nn.Linear(inputs, units, bias=batch_norm != "before")
            slope = negative_slope if activation in ("leaky_relu", "prelu") else 0.0
            initialize(linear, initialization, activation=activation, negative_slope=slope, gain=initialization_gain)
            yield linear
            if batch_norm == "before":
                yield normalization(units)
            yield build_activation(activation, negative_slope=negative_slope, elu_alpha=elu_alpha)
            if batch_norm == "after":
                yield normalization(units)
            if drops and dropout_rate > 0.0:
                yield dropout(dropout_rate)

        layers: list[nn.Module] = [nn.Flatten()]
        if input_batch_norm:
            layers.append(normalization(num_inputs))
        if input_dropout_rate > 0.0:
            layers.append(dropout(input_dropout_rate))
        inputs = num_inputs
        for index, units in enumerate(widths):
            layers += hidden_layer(inputs, units, drops=index >= len(widths) - dropout_layers)
            inputs = units
        output = nn.Linear(inputs, num_classes)
        # The output feeds a softmax, for which the lecture's table has Glorot's initialization.
        initialize(output, "torch" if initialization == "torch" else "glorot", activation="softmax")
        self.layers = nn.Sequential(*layers, output)

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits.

        Args:
            images: Standardized images, (batch, channels, height, width).

        Returns:
            Logits, (batch, classes).
        """
        logits: Tensor = self.layers(images)
        return logits
