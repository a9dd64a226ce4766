"""Optimizers: a row each, fused where PyTorch has it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from pipeline import config as configs


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Splits the trainable parameters into those that decay and those that do not: biases and normalization.

    Returns:
        Parameter groups for an optimizer, without empty ones.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trainable if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trainable if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _betas(config: configs.AdamBlock) -> tuple[float, float]:
    return config.beta1, config.beta2


OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]], Any], torch.optim.Optimizer]] = {
    "sgd": lambda groups, c: torch.optim.SGD(groups, lr=c.lr, momentum=c.momentum, nesterov=c.nesterov, fused=True),
    "rmsprop": lambda groups, c: torch.optim.RMSprop(groups, lr=c.lr, alpha=c.alpha, momentum=c.momentum, foreach=True),
    "adam": lambda groups, c: torch.optim.Adam(groups, lr=c.lr, betas=_betas(c), fused=True),
    "adamw": lambda groups, c: torch.optim.AdamW(groups, lr=c.lr, betas=_betas(c), fused=True),
    "nadam": lambda groups, c: torch.optim.NAdam(groups, lr=c.lr, betas=_betas(c), foreach=True),
}


def build_optimizer(config: configs.OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """Builds the optimizer that a configuration describes, for a model's trainable parameters."""
    return OPTIMIZERS[config.kind](parameter_groups(model, config.weight_decay), config)
