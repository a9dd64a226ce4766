"""A study begins with what the last ones have found, as far as its space still has it."""

from collections.abc import Sequence
from typing import Any

import optuna

from pipeline.space.tree import SearchSpace
from pipeline.space.validation import baseline_error
from pipeline.study.trials import best_trials


def warm_start(space: SearchSpace, studies: Sequence[optuna.Study], most: int) -> tuple[list[dict[str, Any]], int]:
    """Returns the best configurations of earlier studies that a space allows: each study's best first, then the second.

    Args:
        space: What is to be searched.
        studies: Earlier studies, the last one first.
        most: Configurations at most.

    Returns:
        Parameters by name for each configuration, no two the same; and how many were left out, as the space has not
        got them any more.
    """
    ranked = [[trial.params for trial in best_trials(study)[:most]] for study in studies]
    in_turn = [params for rank in range(most) for trials in ranked if rank < len(trials) for params in [trials[rank]]]
    different: list[dict[str, Any]] = []
    for params in in_turn:
        if params and params not in different:
            different.append(params)
    allowed = [params for params in different if allows(space, params)]
    return allowed[:most], len(different) - len(allowed)


def allows(space: SearchSpace, params: dict[str, Any]) -> bool:
    """Returns whether a space has a configuration with these parameters; what they leave out is drawn."""
    parameters = {parameter.name: parameter for parameter in space.parameters()}
    return all(baseline_error(name, value, parameters, params) is None for name, value in params.items())
