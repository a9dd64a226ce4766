"""Optimizers: a row each, fused where PyTorch has it."""

import copy
from collections.abc import Callable
from typing import Any

import torch

from pipeline.config import training as configs
from pipeline.config.kinds import built
from pipeline.optim.parameters import FlatParameters


def parameter_groups(parameters: FlatParameters, *, lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Returns an optimizer's parameter groups, each with its learning rate and weight decay, largest rate first."""
    return [
        {"params": [group.values], "lr": lr * group.lr_factor, "weight_decay": weight_decay if group.decays else 0.0}
        for group in parameters.groups
    ]


def _betas(config: configs.AdamBlock) -> tuple[float, float]:
    return config.beta1, config.beta2


# From its settings and its parameter groups.
OPTIMIZERS: dict[str, Callable[[Any, list[dict[str, Any]]], torch.optim.Optimizer]] = {
    "sgd": lambda c, groups: torch.optim.SGD(groups, lr=c.lr, momentum=c.momentum, nesterov=c.nesterov, fused=True),
    "rmsprop": lambda c, groups: torch.optim.RMSprop(groups, lr=c.lr, alpha=c.alpha, momentum=c.momentum, foreach=True),
    "adam": lambda c, groups: torch.optim.Adam(groups, lr=c.lr, betas=_betas(c), fused=True),
    "adamw": lambda c, groups: torch.optim.AdamW(groups, lr=c.lr, betas=_betas(c), fused=True),
    "nadam": lambda c, groups: torch.optim.NAdam(groups, lr=c.lr, betas=_betas(c), foreach=True),
}


def build_optimizer(config: configs.OptimizerConfig, parameters: FlatParameters) -> torch.optim.Optimizer:
    """Builds the optimizer that a configuration describes."""
    groups = parameter_groups(parameters, lr=config.lr, weight_decay=config.weight_decay)
    optimizer: torch.optim.Optimizer = built(config, groups, returns=torch.optim.Optimizer)
    return optimizer


def load_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Puts in place what the ``state_dict()`` of such an optimizer was; that one is left as it is."""
    optimizer.load_state_dict(copy.deepcopy(state))
    for values in optimizer.state.values():
        if "mu_product" in values:  # NAdam's; where PyTorch has moved it to a GPU, every step would wait for that
            values["mu_product"] = values["mu_product"].cpu()
