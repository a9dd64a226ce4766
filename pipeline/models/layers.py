"""Hidden layers and an output, as a configuration describes them: a perceptron, or the head of a backbone."""

from pipeline.config.model import Dropout, HeadConfig, HiddenLayers
from pipeline.models.mlp import Mlp


def build_layers(config: HiddenLayers, *, num_inputs: int, num_classes: int) -> Mlp:
    """Builds freshly initialized layers; PyTorch's global generator decides the weights.

    Args:
        config: Their description.
        num_inputs: Values in an image, or features.
        num_classes: Number of classes.

    Returns:
        A module from (batch, ...) with ``num_inputs`` values each to logits (batch, classes).
    """
    dropout = config.dropout if isinstance(config.dropout, Dropout) else None
    input_rate = dropout.input_rate if dropout else 0.0
    if dropout and isinstance(config, HeadConfig) and dropout.last_layers > config.hidden_layers:
        input_rate = max(input_rate, dropout.rate)  # the features are the lowest hidden layer
    return Mlp(
        num_inputs,
        num_classes,
        widths=config.widths,
        activation=config.activation,
        negative_slope=config.negative_slope,
        elu_alpha=config.elu_alpha,
        initialization=config.initialization,
        initialization_gain=config.initialization_gain,
        batch_norm=config.batch_norm,
        input_batch_norm=config.input_batch_norm,
        batch_norm_alpha=config.batch_norm_alpha,
        batch_norm_epsilon=config.batch_norm_epsilon,
        dropout_rate=dropout.rate if dropout else 0.0,
        dropout_layers=dropout.last_layers if dropout else 0,
        input_dropout_rate=input_rate,
        alpha_dropout=config.uses_alpha_dropout,
        test_scaled_dropout=dropout is not None and dropout.scaling == "test",
    )
